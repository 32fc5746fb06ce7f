/*
 * Reads or writes blocks with liburing. This is the baseline that bun-uring is compared with.
 *
 *     transfer PATH THREADS DEPTH BLOCK_BYTES FILE_BYTES direct|cached read|write random|sequential
 *
 * Prints "ready". Each line of standard input is a number of operations. For each, prints one line of JSON: operations,
 * wall-clock nanoseconds, processor nanoseconds.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "program.h"

enum { CLONE_BUFFERS = 30, HUGE_PAGE = 1 << 21 };

struct lane_thread {
	pthread_t id;
	struct io_uring uring;
	char *memory;
	uint32_t random;
	uint64_t next_block;
};

static int file_fd, pool_fd;
static unsigned depth, block_bytes, thread_count;
static uint64_t blocks;
static int is_write, is_sequential;
static long operations_each;
static pthread_barrier_t begin, end;

/* xorshift32, like the other contenders. */
static uint64_t position(struct lane_thread *thread)
{
	uint32_t x = thread->random;

	if (is_sequential) {
		if (thread->next_block == blocks)
			thread->next_block = 0;
		return thread->next_block++ * block_bytes;
	}
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	thread->random = x;
	return (x >> 1) % blocks * (uint64_t)block_bytes;
}

static void prepare(struct lane_thread *thread, uint64_t lane)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&thread->uring);
	char *bytes = thread->memory + lane * block_bytes;

	if (is_write)
		io_uring_prep_write_fixed(sqe, 0, bytes, block_bytes, position(thread), 0);
	else
		io_uring_prep_read_fixed(sqe, 0, bytes, block_bytes, position(thread), 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, lane);
}

static void run(struct lane_thread *thread, long operations)
{
	long started = 0, done = 0;

	for (; started < depth && started < operations; started++)
		prepare(thread, started);
	while (done < operations) {
		struct io_uring_cqe *cqe;
		unsigned head, count = 0;

		check(io_uring_submit_and_wait(&thread->uring, 1), "submit_and_wait");
		io_uring_for_each_cqe(&thread->uring, head, cqe) {
			count++;
			if (cqe->res != (int)block_bytes) {
				fprintf(stderr, "result %d\n", cqe->res);
				exit(1);
			}
			if (started < operations) {
				prepare(thread, io_uring_cqe_get_data64(cqe));
				started++;
			}
		}
		io_uring_cq_advance(&thread->uring, count);
		done += count;
	}
}

static void set_up(struct lane_thread *thread)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
		.cq_entries = 4096,
	};
	struct { uint32_t src_fd, flags, src_off, dst_off, nr, pad[3]; } clone = { pool_fd, 0, 0, 0, 0, { 0 } };

	check(io_uring_queue_init_params(256, &thread->uring, &params), "queue_init");
	check(io_uring_register_files(&thread->uring, &file_fd, 1), "register_files");
	check(syscall(__NR_io_uring_register, thread->uring.ring_fd, CLONE_BUFFERS, &clone, 1) < 0 ? -1 : 0,
	      "clone_buffers");
}

static void *serve(void *argument)
{
	struct lane_thread *thread = argument;

	set_up(thread);
	for (;;) {
		pthread_barrier_wait(&begin);
		run(thread, operations_each);
		pthread_barrier_wait(&end);
	}
	return NULL;
}

int main(int count, char **arguments)
{
	struct lane_thread *threads;
	struct io_uring pool;
	struct iovec buffer;
	char *memory, line[64];

	if (count != 9)
		return 2;
	thread_count = atoi(arguments[2]);
	depth = atoi(arguments[3]);
	block_bytes = atoi(arguments[4]);
	blocks = strtoull(arguments[5], NULL, 10) / block_bytes;
	is_write = !strcmp(arguments[7], "write");
	is_sequential = !strcmp(arguments[8], "sequential");
	file_fd = open(arguments[1], (is_write ? O_RDWR : O_RDONLY) | (strcmp(arguments[6], "direct") ? 0 : O_DIRECT));
	check(file_fd, "open");

	buffer.iov_len = (size_t)thread_count * depth * block_bytes;
	memory = mmap(NULL, buffer.iov_len + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	memory += HUGE_PAGE - (uintptr_t)memory % HUGE_PAGE;
	madvise(memory, buffer.iov_len, MADV_HUGEPAGE);
	memset(memory, 0x5a, buffer.iov_len);
	buffer.iov_base = memory;
	check(io_uring_queue_init(1, &pool, 0), "queue_init");
	check(io_uring_register_buffers(&pool, &buffer, 1), "register_buffers");
	pool_fd = pool.ring_fd;

	threads = calloc(thread_count, sizeof(*threads));
	pthread_barrier_init(&begin, NULL, thread_count);
	pthread_barrier_init(&end, NULL, thread_count);
	for (unsigned i = 0; i < thread_count; i++) {
		threads[i].memory = memory + (size_t)i * depth * block_bytes;
		threads[i].random = 2463534242u + i;
		threads[i].next_block = i * (blocks / thread_count);
		if (i > 0)
			pthread_create(&threads[i].id, NULL, serve, &threads[i]);
	}
	set_up(&threads[0]);
	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		uint64_t wall, processor;

		operations_each = atol(line) / thread_count;
		wall = now(CLOCK_MONOTONIC);
		processor = now(CLOCK_PROCESS_CPUTIME_ID);
		pthread_barrier_wait(&begin);
		run(&threads[0], operations_each);
		pthread_barrier_wait(&end);
		processor = now(CLOCK_PROCESS_CPUTIME_ID) - processor;
		wall = now(CLOCK_MONOTONIC) - wall;
		printf("{\"operations\":%ld,\"wallNs\":%" PRIu64 ",\"processorNs\":%" PRIu64 "}\n",
		       operations_each * thread_count, wall, processor);
		fflush(stdout);
	}
	return 0;
}
