/* One thin function for each thing that JavaScript cannot do itself. Each returns liburing's value or -errno; policy is TypeScript's. */
#include "abi.h"
#include "reflink.c"
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
	source.int_flags = 0; /* of the source the call reads this and the descriptors */
	source.ring_fd = source.enter_ring_fd = source_fd;
	return io_uring_clone_buffers_offset(destination, &source, dst_off, src_off, nr, flags);
}

static int ring_clone(struct ring *destination, int source_fd, u32 dst_off, u32 src_off, u32 nr, u32 flags)
{
	return clone(&destination->uring, source_fd, dst_off, src_off, nr, flags);
}

static int thread_id(void)
{
	return gettid();
}

static int descriptor_flags(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 ? -*__errno_location() : flags;
}

static long long file_seek(int fd, long long offset, int whence)
{
	long long position = lseek(fd, offset, whence);

	return position < 0 ? -*__errno_location() : position;
}

/* statx(2) of an open file with what the kernel has: a file system's server is not asked, which might not answer. */
static int file_status(int fd, u32 mask, void *out)
{
	return syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, out) < 0 ? -*__errno_location() : 0;
}

/* The file system's magic number of a mount, by its unique id; statfs(2) might ask the file system's server. */
static long long mount_magic(u64 mnt_id)
{
	struct mnt_id_req request = { sizeof(request), 0, mnt_id, STATMOUNT_SB_BASIC };
	struct statmount found;

	fill(&found, sizeof(found));
	return syscall(SYS_statmount, &request, &found, sizeof(found), 0) < 0 ? -*__errno_location() : (long long)found.sb_magic;
}

static int advise(void *address, u64 length, int advice)
{
	return madvise(address, length, advice) < 0 ? -*__errno_location() : 0;
}

/* Whether entry 1 of the ring holds `page`: a read of an eventfd that has something to read completes at once. -errno where it can't be tried. */
static int holds(struct io_uring *uring, void *page)
{
	struct io_uring_sqe *sqe = uring->sq.sqes;
	struct io_uring_cqe *cqe;
	int file = eventfd(1, EFD_FLAGS), result = 0;

	if (file < 0)
		return -*__errno_location();
	fill(sqe, sizeof(*sqe));
	sqe->opcode = IORING_OP_READ_FIXED;
	sqe->fd = file;
	sqe->off = -1;
	sqe->addr = (u64)page;
	sqe->len = 8;
	((u16 *)sqe->rest)[0] = 1; /* buf_index */
	uring->sq.sqe_tail++;
	do {
		result = io_uring_submit_and_wait(uring, 1);
	} while (result == -EINTR);
	if (result >= 0)
		result = io_uring_peek_batch_cqe(uring, &cqe, 1) && cqe->res > 0;
	close(file);
	return result;
}

/* Whether a clone with IORING_REGISTER_DST_REPLACE leaves the entries behind its range alone. -errno where it can't be tried, for want of descriptors or memory. */
static int replace_keeps_tail(int source)
{
	struct io_uring_params params;
	struct io_uring destination;
	void *page = calloc(1, 4096);
	struct iovec entries[2] = { { page, 4096 }, { page, 4096 } };
	int keeps = -ENOMEM;

	fill(&params, sizeof(params));
	if (page)
		keeps = io_uring_queue_init_params(1, &destination, &params);
	if (keeps < 0) {
		free(page);
		return keeps;
	}
	keeps = io_uring_register(destination.ring_fd, IORING_REGISTER_BUFFERS, entries, 2);
	if (keeps >= 0)
		keeps = clone(&destination, source, 0, 0, 1, IORING_REGISTER_DST_REPLACE);
	if (keeps >= 0)
		keeps = holds(&destination, page);
	io_uring_register(destination.ring_fd, IORING_UNREGISTER_BUFFERS, 0, 0); /* before Linux 6.13 closing unpins late */
	io_uring_queue_exit(&destination);
	free(page);
	return keeps;
}

/* What this kernel can clone, or what kept it from saying. It says EINVAL to what it does not know, and so to an empty source: that has dummies. */
static int clone_ability(int source)
{
	struct iovec dummies[2] = { { 0, 0 }, { 0, 0 } }; /* two: with one, Linux 6.18.5 keeps the tail of two by accident */
	struct io_uring_params params;
	struct io_uring destination;
	int result, ability = 0;

	fill(&params, sizeof(params));
	fill(&destination, sizeof(destination));
	destination.ring_fd = destination.enter_ring_fd = io_uring_setup(1, &params);
	if (destination.ring_fd < 0)
		return destination.ring_fd;
	result = io_uring_register(source, IORING_REGISTER_BUFFERS, dummies, 2);
	if (result >= 0)
		result = clone(&destination, source, 0, 0, 0, 0);
	if (result >= 0) {
		ability = CLONES_WHOLE;
		result = clone(&destination, source, 1, 0, 1, IORING_REGISTER_DST_REPLACE);
	}
	close(destination.ring_fd);
	if (result == -EINVAL || result == -EBUSY) /* what it does not know; Linux 6.12 looks at the destination's table first */
		return ability;
	if (result < 0)
		return result;
	result = replace_keeps_tail(source);
	return ability | CLONES_RANGES | (result < 0 ? REPLACE_UNTRIED : result ? REPLACE_KEEPS_TAIL : 0);
}

/* What this kernel and this liburing have; returns 0 or -errno. */
static int probe(struct probed *out)
{
	struct io_uring_params params;
	struct dl_info library = { 0 };
	int ring, result;

	fill(&params, sizeof(params));
	ring = io_uring_setup(1, &params);
	if (ring < 0)
		return ring;
	out->features = params.features;
	result = io_uring_register(ring, IORING_REGISTER_PROBE, out->opcodes, 256);
	/* A filter may let one of the three system calls pass and not the others. */
	if (result >= 0)
		result = syscall(SYS_io_uring_enter, ring, 0, 0, 0, 0, 0) < 0 ? -*__errno_location() : clone_ability(ring);
	close(ring);
	if (result < 0)
		return result;
	out->clone_ability = result;
	if (dladdr(io_uring_setup, &library))
		out->liburing_path = library.dli_fname;
	if (io_uring_major_version && io_uring_minor_version) {
		out->liburing_major = io_uring_major_version();
		out->liburing_minor = io_uring_minor_version();
	}
	return 0;
}

/*
 * ---- what JavaScript reads ----
 *
 * Each list is a macro that applies X to the name and the value of every entry. lib/uring/native.ts finds an entry
 * by its name, so the order of the entries is free.
 */

/* The functions that JavaScript calls, each with its name in JavaScript. native.ts has the signatures. */
#define FUNCTIONS(X) \
	X("ringInit", ring_init) \
	X("ringClose", ring_close) \
	X("ringFinish", ring_finish) \
	X("ringSubmit", ring_submit) \
	X("ringSubmitAndWait", ring_submit_and_wait) \
	X("ringGetEvents", ring_get_events) \
	X("ringRegister", ring_register) \
	X("ringRegisterRingFd", ring_register_ring_fd) \
	X("ringUnregisterRingFd", ring_unregister_ring_fd) \
	X("ringClone", ring_clone) \
	X("ringEventfd", ring_eventfd) \
	X("ringFiles", ring_files) \
	X("poolCreate", pool_create) \
	X("poolAttach", pool_attach) \
	X("poolClose", pool_close) \
	X("poolLeave", pool_leave) \
	X("poolLock", pool_lock) \
	X("poolUnlock", pool_unlock) \
	X("poolWake", pool_wake) \
	X("poolEventfd", pool_eventfd) \
	X("threadId", thread_id) \
	X("descriptorFlags", descriptor_flags) \
	X("fileSeek", file_seek) \
	X("fileStatus", file_status) \
	X("mountMagic", mount_magic) \
	X("advise", advise) \
	X("reflinkStart", reflink_start) \
	X("reflinkResult", reflink_result) \
	X("probe", probe)

#define SIZE(X, type) X("sizeof " #type, sizeof(struct type))
#define MEMBER(X, type, member) X(#type "." #member, OFFSET(struct type, member))

/* Sizes, offsets and constants that this file is compiled with, for test/native/abi.test.ts. */
#define ABI(X) \
	SIZE(X, io_uring) \
	MEMBER(X, io_uring, sq.sqes) \
	MEMBER(X, io_uring, sq.sqe_tail) \
	MEMBER(X, io_uring, sq.ring_entries) \
	MEMBER(X, io_uring, cq.khead) \
	MEMBER(X, io_uring, cq.cqes) \
	MEMBER(X, io_uring, cq.ring_entries) \
	MEMBER(X, io_uring, flags) \
	MEMBER(X, io_uring, ring_fd) \
	MEMBER(X, io_uring, features) \
	MEMBER(X, io_uring, enter_ring_fd) \
	MEMBER(X, io_uring, int_flags) \
	SIZE(X, io_uring_sqe) \
	MEMBER(X, io_uring_sqe, user_data) \
	SIZE(X, io_uring_cqe) \
	SIZE(X, io_uring_params) \
	MEMBER(X, io_uring_params, features) \
	SIZE(X, io_uring_clone_buffers) \
	SIZE(X, io_uring_sync_cancel_reg) \
	MEMBER(X, control, participants) \
	MEMBER(X, control, words) \
	X("participants", PARTICIPANTS) \
	X("slots a block", SLOTS_A_BLOCK) \
	X("user_data kind shift", KIND_SHIFT) \
	X("user_data operation mask", OPERATION_MASK)

#define NAME(name, value) name "\n"
#define VALUE(name, value) value,

static void *functions[] = { FUNCTIONS(VALUE) };
static u64 abi[] = { ABI(VALUE) };

/* What bun_uring_start() returns. native.ts reads these pointers by their offsets. */
static struct {
	const char *unloaded; /* null, or why liburing could not be loaded */
	const char *missing; /* null, or a function that was not found */
	const char *function_names; /* each name ends with a newline */
	void **functions; /* addresses, in the order of the names */
	const char *abi_names; /* the same for ABI */
	u64 *abi;
} table = { 0, 0, FUNCTIONS(NAME), functions, ABI(NAME), abi };

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
	io_uring_major_version = resolve(library, "io_uring_major_version");
	io_uring_minor_version = resolve(library, "io_uring_minor_version");
	if (!table.missing && (create_reference(env, root, 1, &reference) || add_cleanup_hook(env, thread_ends, 0)))
		table.missing = "Node-API's environment";
	return &table;
}
