/* One thin function for each thing that JavaScript cannot do itself. Each returns liburing's value or -errno; policy is TypeScript's. */
#include "abi.h"
#include "teardown.c"

/* Publishes the SQ up to `tail`, submits, and runs what has completed. */
static int ring_submit(struct ring *ring, u32 tail)
{
	ring->uring.sq.sqe_tail = tail;
	return io_uring_submit_and_get_events(&ring->uring);
}

static int ring_submit_and_wait(struct ring *ring, u32 tail, u32 count)
{
	ring->uring.sq.sqe_tail = tail;
	return io_uring_submit_and_wait(&ring->uring, count);
}

static int ring_get_events(struct ring *ring)
{
	return io_uring_get_events(&ring->uring);
}

static int ring_register(struct ring *ring, u32 opcode, void *argument, u32 count)
{
	return io_uring_register(ring->uring.ring_fd, opcode, argument, count);
}

static int ring_register_ring_fd(struct ring *ring)
{
	return io_uring_register_ring_fd(&ring->uring);
}

static int ring_unregister_ring_fd(struct ring *ring)
{
	return io_uring_unregister_ring_fd(&ring->uring);
}

static int clone(struct io_uring *destination, int source_fd, u32 dst_off, u32 src_off, u32 nr, u32 flags)
{
	struct io_uring source;
	struct io_uring_clone_buffers argument = { source_fd, flags, src_off, dst_off, nr, { 0, 0, 0 } };

	if (!io_uring_clone_buffers_offset)
		return io_uring_register(destination->ring_fd, IORING_REGISTER_CLONE_BUFFERS, &argument, 1);
	fill(&source, sizeof(source)); /* the call reads the source's descriptors only */
	source.ring_fd = source.enter_ring_fd = source_fd;
	return io_uring_clone_buffers_offset(destination, &source, dst_off, src_off, nr, flags);
}

static int ring_clone(struct ring *destination, int source_fd, u32 dst_off, u32 src_off, u32 nr, u32 flags)
{
	return clone(&destination->uring, source_fd, dst_off, src_off, nr, flags);
}

static int advise(void *address, u64 length, int advice)
{
	return madvise(address, length, advice) < 0 ? -*__errno_location() : 0;
}

/* What this kernel can clone: 1 whole tables, 2 also ranges into a table that exists. An empty source would answer like "unsupported". */
static int probe_clone(void)
{
	struct iovec dummy = { 0, 0 };
	struct io_uring_params params;
	struct io_uring destination;
	int source, result = 0;

	fill(&params, sizeof(params));
	source = io_uring_setup(1, &params);
	if (source < 0)
		return source;
	fill(&params, sizeof(params));
	fill(&destination, sizeof(destination));
	destination.ring_fd = destination.enter_ring_fd = io_uring_setup(1, &params);
	if (destination.ring_fd < 0) {
		result = destination.ring_fd;
	} else {
		if (io_uring_register(source, IORING_REGISTER_BUFFERS, &dummy, 1) >= 0 && clone(&destination, source, 0, 0, 0, 0) >= 0)
			result = clone(&destination, source, 1, 0, 1, IORING_REGISTER_DST_REPLACE) >= 0 ? 3 : 1;
		close(destination.ring_fd);
	}
	close(source);
	return result;
}

/* ---- what JavaScript binds: the order is that of lib/native.ts ---- */

static u64 abi[] = {
	sizeof(struct io_uring), OFFSET(struct io_uring, sq.sqes), OFFSET(struct io_uring, sq.sqe_tail),
	OFFSET(struct io_uring, sq.ring_entries), OFFSET(struct io_uring, cq.khead), OFFSET(struct io_uring, cq.cqes),
	OFFSET(struct io_uring, cq.ring_entries), OFFSET(struct io_uring, flags), OFFSET(struct io_uring, ring_fd),
	OFFSET(struct io_uring, features), OFFSET(struct io_uring, enter_ring_fd), OFFSET(struct io_uring, int_flags),
	sizeof(struct io_uring_sqe), OFFSET(struct io_uring_sqe, user_data), sizeof(struct io_uring_cqe),
	sizeof(struct io_uring_params), OFFSET(struct io_uring_params, features), sizeof(struct io_uring_clone_buffers),
	sizeof(struct io_uring_sync_cancel_reg), PARTICIPANTS, SLOTS_A_BLOCK, OFFSET(struct control, participants),
	OFFSET(struct control, words), KIND_SHIFT, OPERATION_MASK,
};

static struct {
	const char *unloaded; /* null, or why liburing could not be loaded */
	const char *missing; /* null, or a function that was not found */
	void *functions[24];
} table = { 0, 0, {
	ring_init, ring_close, ring_submit, ring_submit_and_wait, ring_get_events, ring_register, ring_register_ring_fd,
	ring_unregister_ring_fd, ring_clone, ring_eventfd, ring_files, pool_create, pool_attach, pool_close, pool_leave,
	pool_lock, pool_unlock, pool_wake, pool_eventfd, advise, probe_clone, abi,
} };

#define IMPORT(type, name, arguments) \
	if (!(name = resolve(library, #name))) \
		table.missing = #name;

/*
 * Resolves what the shim calls, keeps `root` from the garbage collector for as long as the thread lives
 * (it holds this code, and the memory that rings can reach), and has the thread's end tear down what is left.
 */
void *bun_uring_start(void *env, void *root, void *(*resolve)(void *, const char *))
{
	void *(*open_library)(const char *, int) = resolve(0, "dlopen");
	char *(*last_error)(void) = resolve(0, "dlerror");
	int (*create_reference)(void *, void *, u32, void **) = resolve(0, "napi_create_reference");
	int (*add_cleanup_hook)(void *, void (*)(void *), void *) = resolve(0, "napi_add_env_cleanup_hook");
	void *library = 0, *reference;

	LIBC_IMPORTS(IMPORT)
	library = open_library("liburing.so.2", RTLD_NOW);
	if (!library) {
		table.unloaded = last_error();
		return &table;
	}
	LIBURING_IMPORTS(IMPORT)
	io_uring_clone_buffers_offset = resolve(library, "io_uring_clone_buffers_offset");
	if (!table.missing && (create_reference(env, root, 1, &reference) || add_cleanup_hook(env, thread_ends, 0)))
		table.missing = "Node-API's environment";
	return &table;
}
