/*
 * Reads or writes whole files with liburing, each by one chain: open into the ring's own table, transfer, close.
 *
 *     files read|rewrite LIST PART PARTS CHAINS BUFFER_BYTES
 *     files create LIST PART PARTS CHAINS BUFFER_BYTES FOLDER
 *
 * LIST has a line of size and path for each file. "read" reads each file and asks for its end, "rewrite" writes
 * BUFFER_BYTES to it, and "create" writes new files in FOLDER instead. CHAINS are in flight at once.
 *
 * Prints "ready". Each line of standard input is a number of files. For each, prints one line of JSON: operations,
 * wall-clock nanoseconds, processor nanoseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <liburing.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "program.h"

enum { FILES_A_FOLDER = 200, OPEN = 0, TRANSFER, END, CLOSE };

static struct io_uring uring;
static char **paths;
static long *sizes, path_count;
static unsigned chain_count, buffer_bytes;
static char *memory;
static int is_read;
static const char *folder;

/* What each chain works on. */
static long *expected;
static unsigned *left;

static void read_list(const char *list, long part, long parts)
{
	FILE *file = fopen(list, "r");
	char line[4200];
	long count = 0, first, end;

	if (file == NULL)
		exit(1);
	while (fgets(line, sizeof(line), file))
		count++;
	first = count * part / parts;
	end = count * (part + 1) / parts;
	paths = calloc(end - first, sizeof(*paths));
	sizes = calloc(end - first, sizeof(*sizes));
	rewind(file);
	for (long i = 0; fgets(line, sizeof(line), file); i++) {
		char *path;

		if (i < first || i >= end)
			continue;
		line[strcspn(line, "\n")] = 0;
		sizes[path_count] = strtol(line, &path, 10);
		paths[path_count++] = strdup(path + 1);
	}
	fclose(file);
}

/* Makes a folder with subfolders, and returns as many paths in it. */
static char **new_paths(long count)
{
	static long folders;
	char **made = calloc(count, sizeof(*made)), path[4200];
	long number = folders++;

	snprintf(path, sizeof(path), "%s/c-%d-%ld", folder, getpid(), number);
	mkdir(path, 0777);
	for (long i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/c-%d-%ld/%ld", folder, getpid(), number, i / FILES_A_FOLDER);
		if (i % FILES_A_FOLDER == 0 && mkdir(path, 0777) < 0)
			exit(1);
		if (asprintf(&made[i], "%s/%ld", path, i) < 0)
			exit(1);
	}
	return made;
}

static void label(struct io_uring_sqe *sqe, unsigned chain, unsigned step, unsigned flags)
{
	sqe->flags = flags;
	io_uring_sqe_set_data64(sqe, chain * 4 + step);
}

/* IO_HARDLINK after the open: a short read breaks an IO_LINK, and the file has to be closed nevertheless. */
static void prepare(unsigned chain, char **targets, long index)
{
	char *bytes = memory + (size_t)chain * buffer_bytes, *path = targets[folder ? index : index % path_count];
	int flags = is_read ? O_RDONLY : folder ? O_WRONLY | O_CREAT : O_WRONLY;
	struct io_uring_sqe *sqe;

	expected[chain] = is_read ? sizes[index % path_count] : buffer_bytes;
	left[chain] = is_read ? 4 : 3;
	sqe = io_uring_get_sqe(&uring);
	io_uring_prep_openat_direct(sqe, AT_FDCWD, path, flags, 0666, chain);
	label(sqe, chain, OPEN, IOSQE_IO_LINK);
	sqe = io_uring_get_sqe(&uring);
	if (is_read)
		io_uring_prep_read_fixed(sqe, chain, bytes, buffer_bytes, -1, 0);
	else
		io_uring_prep_write_fixed(sqe, chain, bytes, buffer_bytes, -1, 0);
	label(sqe, chain, TRANSFER, IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK);
	if (is_read) {
		sqe = io_uring_get_sqe(&uring);
		io_uring_prep_read_fixed(sqe, chain, bytes, 1, -1, 0);
		label(sqe, chain, END, IOSQE_FIXED_FILE | IOSQE_IO_HARDLINK);
	}
	sqe = io_uring_get_sqe(&uring);
	io_uring_prep_close_direct(sqe, chain);
	label(sqe, chain, CLOSE, 0);
}

static void complete(unsigned chain, unsigned step, int result)
{
	long wanted = step == TRANSFER ? expected[chain] : 0;

	left[chain]--;
	if (result == wanted)
		return;
	fprintf(stderr, "step %u: result %d, not %ld\n", step, result, wanted);
	exit(1);
}

static void run(char **targets, long operations)
{
	long started = 0, done = 0;

	for (; started < chain_count && started < operations; started++)
		prepare(started, targets, started);
	while (done < operations) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;

		check(io_uring_submit_and_wait(&uring, 1), "submit_and_wait");
		io_uring_for_each_cqe(&uring, head, cqe) {
			uint64_t data = io_uring_cqe_get_data64(cqe);
			unsigned chain = data / 4;

			count++;
			complete(chain, data % 4, cqe->res);
			if (left[chain] > 0)
				continue;
			done++;
			if (started < operations)
				prepare(chain, targets, started++);
		}
		io_uring_cq_advance(&uring, count);
	}
}

int main(int count, char **arguments)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };
	struct iovec buffer;
	char line[64];

	if (count < 7)
		return 2;
	is_read = !strcmp(arguments[1], "read");
	read_list(arguments[2], atol(arguments[3]), atol(arguments[4]));
	chain_count = atoi(arguments[5]);
	buffer_bytes = atoi(arguments[6]);
	folder = arguments[7];
	expected = calloc(chain_count, sizeof(*expected));
	left = calloc(chain_count, sizeof(*left));
	buffer.iov_len = (size_t)chain_count * buffer_bytes;
	memory = mmap(NULL, buffer.iov_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	memset(memory, 0xa5, buffer.iov_len);
	buffer.iov_base = memory;
	check(io_uring_queue_init_params(4 * chain_count, &uring, &params), "queue_init");
	check(io_uring_register_files_sparse(&uring, chain_count), "register_files");
	check(io_uring_register_buffers(&uring, &buffer, 1), "register_buffers");
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		long operations = atol(line);
		uint64_t wall = now(CLOCK_MONOTONIC), processor = now(CLOCK_PROCESS_CPUTIME_ID);

		run(folder ? new_paths(operations) : paths, operations);
		processor = now(CLOCK_PROCESS_CPUTIME_ID) - processor;
		wall = now(CLOCK_MONOTONIC) - wall;
		printf("{\"operations\":%ld,\"wallNs\":%" PRIu64 ",\"processorNs\":%" PRIu64 "}\n", operations, wall, processor);
		fflush(stdout);
	}
	return 0;
}
