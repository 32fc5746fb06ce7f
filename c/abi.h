/*
 * Declarations of everything that the shim uses from the kernel, liburing, libc and Node-API. They are here because a
 * machine with only the runtime libraries has no headers to include. The layouts are the stable ABI of
 * <linux/io_uring.h> and of liburing.so.2; the assertions below and test/native/abi.test.ts check them.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

struct io_uring_sqe {
	u8 opcode, flags;
	u16 ioprio;
	int fd;
	u64 off, addr;
	u32 len, op_flags;
	u64 user_data;
	u64 rest[3];
};

struct io_uring_cqe {
	u64 user_data;
	int res;
	u32 flags;
};

struct io_uring_params {
	u32 sq_entries, cq_entries, flags, sq_thread_cpu, sq_thread_idle, features, wq_fd, resv[3];
	u64 sq_off[5], cq_off[5];
};

struct io_uring_sq {
	u32 *khead, *ktail, *kring_mask, *kring_entries, *kflags, *kdropped, *array;
	struct io_uring_sqe *sqes;
	u32 sqe_head, sqe_tail;
	u64 ring_sz;
	void *ring_ptr;
	u32 ring_mask, ring_entries, pad[2];
};

struct io_uring_cq {
	u32 *khead, *ktail, *kring_mask, *kring_entries, *kflags, *koverflow;
	struct io_uring_cqe *cqes;
	u64 ring_sz;
	void *ring_ptr;
	u32 ring_mask, ring_entries, pad[2];
};

struct io_uring {
	struct io_uring_sq sq;
	struct io_uring_cq cq;
	u32 flags;
	int ring_fd;
	u32 features;
	int enter_ring_fd;
	u8 int_flags, pad[3];
	u32 pad2;
};

struct io_uring_clone_buffers {
	u32 src_fd, flags, src_off, dst_off, nr, pad[3];
};

struct timespec64 {
	long long tv_sec, tv_nsec;
};

struct io_uring_sync_cancel_reg {
	u64 addr;
	int fd;
	u32 flags;
	struct timespec64 timeout;
	u64 pad[4];
};

struct iovec {
	void *iov_base;
	u64 iov_len;
};

/* The first version of the structs of statmount(2). */
struct mnt_id_req {
	u32 size, spare;
	u64 mnt_id, param;
};

struct statmount {
	u32 size, mnt_opts;
	u64 mask;
	u32 sb_dev_major, sb_dev_minor;
	u64 sb_magic;
	u64 rest[60];
};

struct dl_info {
	const char *dli_fname;
	void *rest[3];
};

enum { CLONES_WHOLE = 1, CLONES_RANGES = 2, REPLACE_KEEPS_TAIL = 4, REPLACE_UNTRIED = 8 };

/* The result of probe(), which lib/uring/kernel.ts reads. */
struct probed {
	u32 features, clone_ability;
	const char *liburing_path;
	u32 liburing_major, liburing_minor; /* 0 if liburing is older than 2.4 */
	u8 opcodes[16 + 8 * 256]; /* struct io_uring_probe */
};

#define OFFSET(type, member) ((u64) & ((type *)0)->member)

_Static_assert(sizeof(struct io_uring_sqe) == 64, "io_uring_sqe");
_Static_assert(sizeof(struct io_uring_cqe) == 16, "io_uring_cqe");
_Static_assert(sizeof(struct io_uring_params) == 120, "io_uring_params");
_Static_assert(sizeof(struct io_uring_sq) == 104, "io_uring_sq");
_Static_assert(sizeof(struct io_uring_cq) == 88, "io_uring_cq");
_Static_assert(sizeof(struct io_uring) == 216, "io_uring");
_Static_assert(sizeof(struct io_uring_clone_buffers) == 32, "io_uring_clone_buffers");
_Static_assert(sizeof(struct io_uring_sync_cancel_reg) == 64, "io_uring_sync_cancel_reg");
_Static_assert(sizeof(struct mnt_id_req) == 24, "mnt_id_req");
_Static_assert(sizeof(struct statmount) == 512 && OFFSET(struct statmount, sb_magic) == 24, "statmount");
_Static_assert(OFFSET(struct probed, liburing_path) == 8 && OFFSET(struct probed, opcodes) == 24, "probed");

enum {
	EINTR = 4, EAGAIN = 11, ENOMEM = 12, EBUSY = 16, EINVAL = 22, EUSERS = 87, ETIME = 62,
	EBADF = 9, ECANCELED = 125,

	EFD_FLAGS = 02000000 | 04000, /* EFD_CLOEXEC | EFD_NONBLOCK */
	F_GETFL = 3, F_DUPFD_CLOEXEC = 1030,
	FICLONE = 0x40049409,
	RTLD_NOW = 2,
	CLOCK_MONOTONIC = 1,
	AT_EMPTY_PATH = 0x1000, AT_STATX_DONT_SYNC = 0x4000,
	STATMOUNT_SB_BASIC = 1,

	FUTEX_WAIT_PRIVATE = 0 | 128, FUTEX_WAKE_PRIVATE = 1 | 128, FUTEX_LOCK_PI_PRIVATE = 6 | 128, FUTEX_UNLOCK_PI_PRIVATE = 7 | 128, FUTEX_TID_MASK = 0x3fffffff,

	IOSQE_IO_DRAIN = 2,
	IORING_SETUP_CQSIZE = 8, IORING_SETUP_SQE128 = 1 << 10,
	IORING_OP_READ_FIXED = 4,
	IORING_REGISTER_BUFFERS = 0, IORING_UNREGISTER_BUFFERS = 1, IORING_UNREGISTER_FILES = 3, IORING_REGISTER_PROBE = 8, IORING_REGISTER_SYNC_CANCEL = 24,
	IORING_REGISTER_CLONE_BUFFERS = 30, IORING_REGISTER_DST_REPLACE = 2, IORING_REGISTER_RESIZE_RINGS = 33,
	IORING_ASYNC_CANCEL_ALL = 1, IORING_ASYNC_CANCEL_ANY = 4,
};

enum { SYS_io_uring_enter = 426, SYS_statmount = 457 };

#if defined(__x86_64__)
enum { SYS_futex = 202, SYS_statx = 332 };
#elif defined(__aarch64__)
enum { SYS_futex = 98, SYS_statx = 291 };
#else
#error "bun-uring runs on x86-64 and arm64"
#endif

/*
 * Functions resolved at run time. The shim is compiled with -nostdlib and links no library, so the development files
 * libc.so and liburing.so need not exist.
 */
#define LIBC_IMPORTS(X) \
	X(void *, calloc, (u64, u64)) \
	X(void, free, (void *)) \
	X(int, close, (int)) \
	X(long, write, (int, const void *, u64)) \
	X(int, fcntl, (int, int, ...)) \
	X(int, ioctl, (int, u64, ...)) \
	X(int, fchmod, (int, u32)) \
	X(int, unlinkat, (int, const char *, int)) \
	X(int, pthread_create, (u64 *, const void *, void *(*)(void *), void *)) \
	X(int, pthread_join, (u64, void **)) \
	X(long long, lseek, (int, long long, int)) \
	X(int, eventfd, (u32, int)) \
	X(int, madvise, (void *, u64, int)) \
	X(int, getpid, (void)) \
	X(int, gettid, (void)) \
	X(u32, sleep, (u32)) \
	X(int, dladdr, (const void *, struct dl_info *)) \
	X(int, clock_gettime, (int, struct timespec64 *)) \
	X(long, syscall, (long, ...)) \
	X(int *, __errno_location, (void))

#define LIBURING_IMPORTS(X) \
	X(int, io_uring_queue_init_params, (u32, struct io_uring *, struct io_uring_params *)) \
	X(void, io_uring_queue_exit, (struct io_uring *)) \
	X(int, io_uring_submit_and_get_events, (struct io_uring *)) \
	X(int, io_uring_submit_and_wait, (struct io_uring *, u32)) \
	X(int, io_uring_submit_and_wait_timeout, (struct io_uring *, struct io_uring_cqe **, u32, struct timespec64 *, void *)) \
	X(int, io_uring_get_events, (struct io_uring *)) \
	X(u32, io_uring_peek_batch_cqe, (struct io_uring *, struct io_uring_cqe **, u32)) \
	X(int, io_uring_register_eventfd, (struct io_uring *, int)) \
	X(int, io_uring_register_ring_fd, (struct io_uring *)) \
	X(int, io_uring_unregister_ring_fd, (struct io_uring *)) \
	X(int, io_uring_setup, (u32, struct io_uring_params *)) \
	X(int, io_uring_register, (u32, u32, const void *, u32))

#define DECLARE(type, name, arguments) static type(*name) arguments;
LIBC_IMPORTS(DECLARE)
LIBURING_IMPORTS(DECLARE)

/* Null if liburing is older: the first needs 2.9, the other two 2.4. */
static int (*io_uring_clone_buffers_offset)(struct io_uring *, struct io_uring *, u32, u32, u32, u32);
static int (*io_uring_major_version)(void);
static int (*io_uring_minor_version)(void);
