/*
 * Appends records durably to one file with liburing. Each writer links an fdatasync to its write.
 *
 *     records PATH WRITERS RECORD_BYTES
 *
 * Prints "ready". Each line of standard input is a number of records. For each, prints one line of JSON: operations,
 * wall-clock nanoseconds, processor nanoseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <liburing.h>

#include "program.h"

enum { WRITE, SYNC };

static struct io_uring uring;
static unsigned record_bytes;
static char *record;

static void prepare(void)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring);

	io_uring_prep_write(sqe, 0, record, record_bytes, -1);
	sqe->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
	io_uring_sqe_set_data64(sqe, WRITE);
	sqe = io_uring_get_sqe(&uring);
	io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
	sqe->flags = IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, SYNC);
}

static void run(long writers, long operations)
{
	long started = 0, done = 0;

	for (; started < writers && started < operations; started++)
		prepare();
	while (done < operations) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;

		check(io_uring_submit_and_wait(&uring, 1), "submit_and_wait");
		io_uring_for_each_cqe(&uring, head, cqe) {
			int is_sync = io_uring_cqe_get_data64(cqe) == SYNC;

			count++;
			if (cqe->res != (is_sync ? 0 : (int)record_bytes)) {
				fprintf(stderr, "result %d\n", cqe->res);
				exit(1);
			}
			if (!is_sync)
				continue;
			done++;
			if (started < operations) {
				prepare();
				started++;
			}
		}
		io_uring_cq_advance(&uring, count);
	}
}

int main(int count, char **arguments)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
	char line[64];
	long writers;
	int fd;

	if (count != 4)
		return 2;
	fd = open(arguments[1], O_WRONLY | O_CREAT | O_APPEND, 0666);
	check(fd, "open");
	writers = atol(arguments[2]);
	record_bytes = atoi(arguments[3]);
	record = malloc(record_bytes);
	memset(record, 'r', record_bytes);
	check(io_uring_queue_init_params(2 * writers, &uring, &params), "queue_init");
	check(io_uring_register_files(&uring, &fd, 1), "register_files");
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		long operations = atol(line);
		uint64_t wall = now(CLOCK_MONOTONIC), processor = now(CLOCK_PROCESS_CPUTIME_ID);

		run(writers, operations);
		processor = now(CLOCK_PROCESS_CPUTIME_ID) - processor;
		wall = now(CLOCK_MONOTONIC) - wall;
		printf("{\"operations\":%ld,\"wallNs\":%" PRIu64 ",\"processorNs\":%" PRIu64 "}\n", operations, wall, processor);
		fflush(stdout);
	}
	return 0;
}
