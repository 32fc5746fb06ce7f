/*
 * Measures the cost of cloning a table of registered buffers in C.
 *
 *     join ENTRIES BUFFER_BYTES
 *
 * Prints "ready". Each line of standard input is a number of clones. For each, prints one line of JSON: the number of
 * clones and their wall-clock nanoseconds, without the unregistering in between.
 */
#define _GNU_SOURCE
#include <liburing.h>
#include <sys/mman.h>

#include "program.h"

enum { CLONE_BUFFERS = 30 };

/* liburing 2.3 exports this function, but does not declare it. */
int io_uring_register(unsigned int fd, unsigned int opcode, const void *argument, unsigned int count);

int main(int count, char **arguments)
{
	struct io_uring source, destination;
	struct { uint32_t src_fd, flags, src_off, dst_off, nr, pad[3]; } clone = { 0 };
	struct iovec *buffers;
	size_t entries, bytes;
	char *memory, line[64];

	if (count != 3)
		return 2;
	entries = strtoul(arguments[1], NULL, 10);
	bytes = strtoul(arguments[2], NULL, 10);
	memory = mmap(NULL, entries * bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	buffers = calloc(entries, sizeof(*buffers));
	for (size_t i = 0; i < entries; i++)
		buffers[i] = (struct iovec) { memory + i * bytes, bytes };
	if (io_uring_queue_init(1, &source, 0) < 0 || io_uring_queue_init(1, &destination, 0) < 0 ||
	    io_uring_register_buffers(&source, buffers, entries) < 0)
		return 1;
	clone.src_fd = source.ring_fd;
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		long operations = atol(line);
		uint64_t wall = 0;

		for (long i = 0; i < operations; i++) {
			uint64_t started = now(CLOCK_MONOTONIC);

			if (io_uring_register(destination.ring_fd, CLONE_BUFFERS, &clone, 1) < 0)
				return 1;
			wall += now(CLOCK_MONOTONIC) - started;
			io_uring_unregister_buffers(&destination);
		}
		printf("{\"operations\":%ld,\"wallNs\":%" PRIu64 "}\n", operations, wall);
		fflush(stdout);
	}
	return 0;
}
