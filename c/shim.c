/*
 * One thin function for each thing that JavaScript cannot do itself. Each returns liburing's value or -errno. Policy is
 * in TypeScript.
 */
#include "abi.h"
#include "reflink.c"
#include "teardown.c"

/*
 * Publishes the submission queue up to `tail`, submits the new entries, and lets the kernel run the ring's deferred
 * work, which posts completions.
 */
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

/* liburing before 2.9 has no clone function with offsets, so this falls back to the system call. */
static int clone(struct io_uring *destination, int source_fd, u32 dst_off, u32 src_off, u32 nr, u32 flags)
{
	struct io_uring source;
	struct io_uring_clone_buffers argument = { source_fd, flags, src_off, dst_off, nr, { 0, 0, 0 } };

	if (!io_uring_clone_buffers_offset)
		return io_uring_register(destination->ring_fd, IORING_REGISTER_CLONE_BUFFERS, &argument, 1);
	/* The source is known only by its descriptor. The function reads nothing else of its struct than these fields. */
	source.int_flags = 0;
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

/*
 * statx(2) of an open file, with what the kernel has cached. It does not ask the server of a network or FUSE file
 * system, which might never answer.
 */
static int file_status(int fd, u32 mask, void *out)
{
	return syscall(SYS_statx, fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, mask, out) < 0 ? -*__errno_location() : 0;
}

static int file_mode(int fd, u32 mode)
{
	return fchmod(fd, mode) < 0 ? -*__errno_location() : 0;
}

static int remove_at(int folder, const char *name, int flags)
{
	return unlinkat(folder, name, flags) < 0 ? -*__errno_location() : 0;
}

/*
 * The file system's magic number of a mount, given the mount's unique id. statfs(2) is not used, because it might ask
 * the file system's server.
 */
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

/*
 * Returns whether entry 1 of the ring's buffer table holds `page`, by a fixed read into it; -errno if that cannot be
 * tried. The read is of an eventfd with a non-zero counter, so it completes at once.
 */
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

/*
 * Returns whether a clone with IORING_REGISTER_DST_REPLACE keeps the entries after its range; -errno if that cannot be
 * tried, because descriptors or memory are short.
 */
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
	io_uring_register(destination.ring_fd, IORING_UNREGISTER_BUFFERS, 0, 0); /* before Linux 6.13, closing alone unpins late */
	io_uring_queue_exit(&destination);
	free(page);
	return keeps;
}

/*
 * Returns what this kernel can clone, as CLONES_* and REPLACE_* bits, or -errno if that cannot be found out. The kernel
 * returns EINVAL for what it does not know. It does so for a source without buffers too, so the source gets two dummy
 * buffers.
 */
static int clone_ability(int source)
{
	struct iovec dummies[2] = { { 0, 0 }, { 0, 0 } }; /* two: from a source with one, Linux 6.18.5 keeps the tail of two entries by accident */
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
	if (result == -EINVAL || result == -EBUSY) /* unknown to this kernel; Linux 6.12 returns EBUSY, because it checks the destination's table first */
		return ability;
	if (result < 0)
		return result;
	result = replace_keeps_tail(source);
	return ability | CLONES_RANGES | (result < 0 ? REPLACE_UNTRIED : result ? REPLACE_KEEPS_TAIL : 0);
}

/* Finds out what this kernel and this liburing support. Returns 0 or -errno. */
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
	/* Try all three system calls: a seccomp filter may allow one and refuse another. */
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
 * ---- tables for JavaScript ----
 *
 * Each list is a macro that applies X to the name and the value of every entry. lib/uring/native.ts finds an entry by
 * its name, so the entries can be in any order.
 */

/* The functions that JavaScript calls, each with its name there. native.ts has the signatures. */
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
	X("fileMode", file_mode) \
	X("removeAt", remove_at) \
	X("mountMagic", mount_magic) \
	X("advise", advise) \
	X("reflinkStart", reflink_start) \
	X("reflinkResult", reflink_result) \
	X("probe", probe)

#define SIZE(X, type) X("sizeof " #type, sizeof(struct type))
#define MEMBER(X, type, member) X(#type "." #member, OFFSET(struct type, member))

/* The sizes, offsets and constants that the shim was compiled with, for test/native/abi.test.ts. */
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

/* The table that bun_uring_start() returns. native.ts reads these pointers by their offsets. */
static struct {
	const char *unloaded; /* null, or the reason that liburing could not be loaded */
	const char *missing; /* null, or the name of a function that was not found */
	const char *function_names; /* each name ends with a newline */
	void **functions; /* their addresses, in the same order */
	const char *abi_names; /* the same for ABI */
	u64 *abi;
} table = { 0, 0, FUNCTIONS(NAME), functions, ABI(NAME), abi };

#define IMPORT(type, name, arguments) \
	if (!(name = resolve(library, #name))) \
		table.missing = #name;

/*
 * Called once in each JavaScript thread, before any other function: each thread compiles a shim of its own, so the
 * static variables belong to one thread. Resolves the functions that the shim calls; references `root` for as long as
 * the thread lives, because it holds this code and all memory that the kernel may write; and registers thread_ends,
 * which tears down what is left when the thread ends.
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
