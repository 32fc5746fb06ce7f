/**
 * The constants of `<linux/io_uring.h>` under their own names, as of Linux 7.1.
 * A constant says nothing about the running kernel: ask before relying on a recent one.
 *
 * @see io_uring_setup(2), io_uring_enter(2), io_uring_register(2)
 * @module constants
 */

// Request flags (`sqe.flags`)
/** The bit of IOSQE_FIXED_FILE. */
export const IOSQE_FIXED_FILE_BIT = 0;
/** The bit of IOSQE_IO_DRAIN. */
export const IOSQE_IO_DRAIN_BIT = 1;
/** The bit of IOSQE_IO_LINK. */
export const IOSQE_IO_LINK_BIT = 2;
/** The bit of IOSQE_IO_HARDLINK. */
export const IOSQE_IO_HARDLINK_BIT = 3;
/** The bit of IOSQE_ASYNC. */
export const IOSQE_ASYNC_BIT = 4;
/** The bit of IOSQE_BUFFER_SELECT. */
export const IOSQE_BUFFER_SELECT_BIT = 5;
/** The bit of IOSQE_CQE_SKIP_SUCCESS. */
export const IOSQE_CQE_SKIP_SUCCESS_BIT = 6;
/** The descriptor is an index of the ring's file table. */
export const IOSQE_FIXED_FILE = 1;
/** Begins when all requests submitted before have completed; those submitted after it wait for it. */
export const IOSQE_IO_DRAIN = 2;
/** The next request begins when this one has succeeded, and is cancelled where this one fails or is short. */
export const IOSQE_IO_LINK = 4;
/** As IOSQE_IO_LINK, but a failure of this one does not end the chain. */
export const IOSQE_IO_HARDLINK = 8;
/** Goes to the kernel's workers at once, without an attempt that does not block. */
export const IOSQE_ASYNC = 16;
/** The kernel takes a buffer of the request's buffer group. */
export const IOSQE_BUFFER_SELECT = 32;
/** Posts no completion where it succeeds. RawRing refuses it: nothing would say that the kernel is done with the memory. */
export const IOSQE_CQE_SKIP_SUCCESS = 64;

// Ring set-up flags
/** Completions are polled for rather than signalled by interrupts: for O_DIRECT on devices that can be polled. */
export const IORING_SETUP_IOPOLL = 1;
/** A thread of the kernel takes submissions: while it is awake they need no system call. */
export const IORING_SETUP_SQPOLL = 2;
/** Binds the thread of IORING_SETUP_SQPOLL to one processor. RawRing refuses it. */
export const IORING_SETUP_SQ_AFF = 4;
/** The completion queue's size is given: RawRing sets it where there is `cqEntries`. */
export const IORING_SETUP_CQSIZE = 8;
/** Too many entries become as many as there may be, instead of an error. */
export const IORING_SETUP_CLAMP = 16;
/** Shares the workers of another ring. RawRing refuses it. */
export const IORING_SETUP_ATTACH_WQ = 32;
/** The ring begins disabled, for restrictions to be registered. RawRing refuses it. */
export const IORING_SETUP_R_DISABLED = 64;
/** A request that is wrong does not end the submission of those after it. */
export const IORING_SETUP_SUBMIT_ALL = 128;
/** Completion work waits for the thread's next system call, instead of interrupting it. */
export const IORING_SETUP_COOP_TASKRUN = 256;
/** IORING_SQ_TASKRUN shows that completion work waits. */
export const IORING_SETUP_TASKRUN_FLAG = 512;
/** Submission queue entries are 128 bytes long. */
export const IORING_SETUP_SQE128 = 1024;
/** Completion queue entries are 32 bytes long. */
export const IORING_SETUP_CQE32 = 2048;
/** One thread submits, which the kernel relies on. Such a ring can be cloned from by its own thread only. */
export const IORING_SETUP_SINGLE_ISSUER = 4096;
/** Completion work runs only where the thread asks for completions. Needs IORING_SETUP_SINGLE_ISSUER. */
export const IORING_SETUP_DEFER_TASKRUN = 8192;
/** The program gives the queues' memory. RawRing refuses it. Since Linux 6.5. */
export const IORING_SETUP_NO_MMAP = 16384;
/** The ring gets a registered descriptor only. RawRing refuses it. Since Linux 6.5. */
export const IORING_SETUP_REGISTERED_FD_ONLY = 32768;
/** No array of indices between the submission queue and its entries. RawRing refuses it. Since Linux 6.6. */
export const IORING_SETUP_NO_SQARRAY = 65536;
/** With IORING_SETUP_IOPOLL: sleeps for a part of the expected time before it polls. Since Linux 6.13. */
export const IORING_SETUP_HYBRID_IOPOLL = 131072;
/** Completion queue entries of 16 and of 32 bytes. RawRing refuses it. Since Linux 6.18. */
export const IORING_SETUP_CQE_MIXED = 262144;
/** Submission queue entries of 64 and of 128 bytes. RawRing refuses it. Since Linux 6.19. */
export const IORING_SETUP_SQE_MIXED = 524288;
/** Each submission begins at the submission queue's first entry. RawRing refuses it. Since Linux 7.0. */
export const IORING_SETUP_SQ_REWIND = 1048576;

// Request opcodes
/** Does nothing but complete. */
export const IORING_OP_NOP = 0;
/** Reads into several pieces of memory, as preadv2(2). */
export const IORING_OP_READV = 1;
/** Writes several pieces of memory, as pwritev2(2). */
export const IORING_OP_WRITEV = 2;
/** Puts a file on stable storage, as fsync(2). */
export const IORING_OP_FSYNC = 3;
/** Reads into a registered buffer. */
export const IORING_OP_READ_FIXED = 4;
/** Writes from a registered buffer. */
export const IORING_OP_WRITE_FIXED = 5;
/** Waits until a descriptor is ready, as poll(2). */
export const IORING_OP_POLL_ADD = 6;
/** Ends or changes an IORING_OP_POLL_ADD. */
export const IORING_OP_POLL_REMOVE = 7;
/** Writes a part of a file back, as sync_file_range(2). */
export const IORING_OP_SYNC_FILE_RANGE = 8;
/** Sends a message, as sendmsg(2). */
export const IORING_OP_SENDMSG = 9;
/** Receives a message, as recvmsg(2). */
export const IORING_OP_RECVMSG = 10;
/** Completes after a time, or after a number of other completions. */
export const IORING_OP_TIMEOUT = 11;
/** Ends or changes an IORING_OP_TIMEOUT. */
export const IORING_OP_TIMEOUT_REMOVE = 12;
/** Accepts a connection, as accept4(2). */
export const IORING_OP_ACCEPT = 13;
/** Cancels requests. */
export const IORING_OP_ASYNC_CANCEL = 14;
/** A time limit for the request that it is linked behind. */
export const IORING_OP_LINK_TIMEOUT = 15;
/** Connects a socket, as connect(2). */
export const IORING_OP_CONNECT = 16;
/** Allocates, punches or moves a file's space, as fallocate(2). */
export const IORING_OP_FALLOCATE = 17;
/** Opens a file, as openat(2). */
export const IORING_OP_OPENAT = 18;
/** Closes a descriptor, or an entry of the file table. */
export const IORING_OP_CLOSE = 19;
/** Updates the ring's file table. */
export const IORING_OP_FILES_UPDATE = 20;
/** A file's metadata, as statx(2). */
export const IORING_OP_STATX = 21;
/** Reads, as pread(2), or at the file's own position. */
export const IORING_OP_READ = 22;
/** Writes, as pwrite(2), or at the file's own position. */
export const IORING_OP_WRITE = 23;
/** Says how a file will be read, as posix_fadvise(2). */
export const IORING_OP_FADVISE = 24;
/** Says how memory will be used, as madvise(2). */
export const IORING_OP_MADVISE = 25;
/** Sends, as send(2). */
export const IORING_OP_SEND = 26;
/** Receives, as recv(2). */
export const IORING_OP_RECV = 27;
/** Opens a file, as openat2(2). */
export const IORING_OP_OPENAT2 = 28;
/** Changes an epoll set, as epoll_ctl(2). */
export const IORING_OP_EPOLL_CTL = 29;
/** Moves bytes between a pipe and a file, as splice(2). */
export const IORING_OP_SPLICE = 30;
/** Gives the kernel buffers of a group. */
export const IORING_OP_PROVIDE_BUFFERS = 31;
/** Takes buffers of a group back. */
export const IORING_OP_REMOVE_BUFFERS = 32;
/** Copies bytes from one pipe to another, as tee(2). */
export const IORING_OP_TEE = 33;
/** Shuts a connection down, as shutdown(2). */
export const IORING_OP_SHUTDOWN = 34;
/** Renames a file, as renameat2(2). */
export const IORING_OP_RENAMEAT = 35;
/** Removes a file's name or an empty folder, as unlinkat(2). */
export const IORING_OP_UNLINKAT = 36;
/** Makes a folder, as mkdirat(2). */
export const IORING_OP_MKDIRAT = 37;
/** Makes a symbolic link, as symlinkat(2). */
export const IORING_OP_SYMLINKAT = 38;
/** Makes a hard link, as linkat(2). */
export const IORING_OP_LINKAT = 39;
/** Posts a completion to another ring, or sends it a file. */
export const IORING_OP_MSG_RING = 40;
/** Sets an extended attribute of a descriptor's file, as fsetxattr(2). */
export const IORING_OP_FSETXATTR = 41;
/** Sets an extended attribute of a path's file, as setxattr(2). */
export const IORING_OP_SETXATTR = 42;
/** Gets an extended attribute of a descriptor's file, as fgetxattr(2). */
export const IORING_OP_FGETXATTR = 43;
/** Gets an extended attribute of a path's file, as getxattr(2). */
export const IORING_OP_GETXATTR = 44;
/** Makes a socket, as socket(2). */
export const IORING_OP_SOCKET = 45;
/** A command of its own to a file's driver or to a socket. */
export const IORING_OP_URING_CMD = 46;
/** Sends without a copy; a second completion says that the memory is free again. */
export const IORING_OP_SEND_ZC = 47;
/** Sends a message without a copy; a second completion says that the memory is free again. */
export const IORING_OP_SENDMSG_ZC = 48;
/** Reads again and again into buffers of a group. Since Linux 6.7. */
export const IORING_OP_READ_MULTISHOT = 49;
/** Waits for a child process, as waitid(2). Since Linux 6.7. */
export const IORING_OP_WAITID = 50;
/** Waits on a futex. Since Linux 6.7. */
export const IORING_OP_FUTEX_WAIT = 51;
/** Wakes waiters of a futex. Since Linux 6.7. */
export const IORING_OP_FUTEX_WAKE = 52;
/** Waits on several futexes. Since Linux 6.7. */
export const IORING_OP_FUTEX_WAITV = 53;
/** Makes a descriptor of an entry of the file table. Since Linux 6.8. */
export const IORING_OP_FIXED_FD_INSTALL = 54;
/** Cuts a file off, or lengthens it, as ftruncate(2). Since Linux 6.9. */
export const IORING_OP_FTRUNCATE = 55;
/** Binds a socket, as bind(2). Since Linux 6.11. */
export const IORING_OP_BIND = 56;
/** Has a socket listen, as listen(2). Since Linux 6.11. */
export const IORING_OP_LISTEN = 57;
/** Receives into memory that a network device writes itself. Since Linux 6.15. */
export const IORING_OP_RECV_ZC = 58;
/** Waits for events of an epoll set, as epoll_wait(2). Since Linux 6.15. */
export const IORING_OP_EPOLL_WAIT = 59;
/** Reads into several parts of a registered buffer. Since Linux 6.15. */
export const IORING_OP_READV_FIXED = 60;
/** Writes several parts of a registered buffer. Since Linux 6.15. */
export const IORING_OP_WRITEV_FIXED = 61;
/** Makes a pipe, as pipe2(2). Since Linux 6.16. */
export const IORING_OP_PIPE = 62;
/** IORING_OP_NOP in an entry of 128 bytes. Since Linux 6.19. */
export const IORING_OP_NOP128 = 63;
/** IORING_OP_URING_CMD in an entry of 128 bytes. Since Linux 6.19. */
export const IORING_OP_URING_CMD128 = 64;
/** One more than the last opcode that this library knows. */
export const IORING_OP_LAST = 65;

// Ring features (`RawRing.features`)
/** Both queues are one mapping. */
export const IORING_FEAT_SINGLE_MMAP = 1;
/** Completions without room in their queue are kept, not dropped. */
export const IORING_FEAT_NODROP = 2;
/** What a request points to, besides its buffers, may change once it is submitted. */
export const IORING_FEAT_SUBMIT_STABLE = 4;
/** A position of -1 is the file's own. */
export const IORING_FEAT_RW_CUR_POS = 8;
/** A request has the credentials of the task that submits it. */
export const IORING_FEAT_CUR_PERSONALITY = 16;
/** Waiting for a descriptor that can be polled takes no worker thread. */
export const IORING_FEAT_FAST_POLL = 32;
/** Poll masks have 32 bits. */
export const IORING_FEAT_POLL_32BITS = 64;
/** With IORING_SETUP_SQPOLL, requests may use descriptors that are not registered. */
export const IORING_FEAT_SQPOLL_NONFIXED = 128;
/** Waits may have a time limit (IORING_ENTER_EXT_ARG). */
export const IORING_FEAT_EXT_ARG = 256;
/** The kernel's workers are threads of the process. */
export const IORING_FEAT_NATIVE_WORKERS = 512;
/** Registered buffers and files can be updated and have tags. */
export const IORING_FEAT_RSRC_TAGS = 1024;
/** Requests may skip their completion (IOSQE_CQE_SKIP_SUCCESS). */
export const IORING_FEAT_CQE_SKIP = 2048;
/** A request in a chain looks its file up when its turn comes, not before. */
export const IORING_FEAT_LINKED_FILE = 4096;
/** io_uring_register(2) takes a registered ring descriptor. Since Linux 6.3. */
export const IORING_FEAT_REG_REG_RING = 8192;
/** One send or receive may use several provided buffers. Since Linux 6.10. */
export const IORING_FEAT_RECVSEND_BUNDLE = 16384;
/** Waits for several completions may have a shortest time as well. Since Linux 6.12. */
export const IORING_FEAT_MIN_TIMEOUT = 32768;
/** Reads and writes may have attributes. Since Linux 6.14. */
export const IORING_FEAT_RW_ATTR = 65536;
/** Waiting may be left out of the time accounted as I/O wait (IORING_ENTER_NO_IOWAIT). Since Linux 6.15. */
export const IORING_FEAT_NO_IOWAIT = 131072;

// Submission and completion ring flags
/** The thread of IORING_SETUP_SQPOLL sleeps: an enter has to wake it. */
export const IORING_SQ_NEED_WAKEUP = 1;
/** The kernel holds completions that had no room in their queue. */
export const IORING_SQ_CQ_OVERFLOW = 2;
/** Completion work waits for an enter (IORING_SETUP_TASKRUN_FLAG). */
export const IORING_SQ_TASKRUN = 4;
/** Set by the program in the completion queue's flags: the eventfd is not signalled. */
export const IORING_CQ_EVENTFD_DISABLED = 1;

// Completion flags
/** The buffer that the kernel took is in the flags' upper 16 bits. */
export const IORING_CQE_F_BUFFER = 1;
/** The request will post more completions: this is not its last. */
export const IORING_CQE_F_MORE = 2;
/** The socket has more to read. */
export const IORING_CQE_F_SOCK_NONEMPTY = 4;
/** The second completion of a send without a copy: its memory is free. */
export const IORING_CQE_F_NOTIF = 8;
/** The provided buffer is used in part only, and will be used on (IOU_PBUF_RING_INC). Since Linux 6.12. */
export const IORING_CQE_F_BUF_MORE = 16;
/** Not a completion: fills a gap before one of 32 bytes (IORING_SETUP_CQE_MIXED). Since Linux 6.18. */
export const IORING_CQE_F_SKIP = 32;
/** The entry has 32 bytes (IORING_SETUP_CQE_MIXED). Since Linux 6.18. */
export const IORING_CQE_F_32 = 32768;
/** From which bit on the flags name a buffer, with IORING_CQE_F_BUFFER. */
export const IORING_CQE_BUFFER_SHIFT = 16;
/** A transmission's time stamp is the hardware's. Since Linux 6.17. */
export const IORING_CQE_F_TSTAMP_HW = 65536;

// Enter flags
/** Runs completion work, and waits for completions where some are asked for. */
export const IORING_ENTER_GETEVENTS = 1;
/** Wakes the thread of IORING_SETUP_SQPOLL. */
export const IORING_ENTER_SQ_WAKEUP = 2;
/** Waits until the submission queue has room (IORING_SETUP_SQPOLL). */
export const IORING_ENTER_SQ_WAIT = 4;
/** The argument is a struct io_uring_getevents_arg, with a time limit. */
export const IORING_ENTER_EXT_ARG = 8;
/** The descriptor is an index of the thread's registered ring descriptors. */
export const IORING_ENTER_REGISTERED_RING = 16;
/** The time limit is a point in time. Since Linux 6.12. */
export const IORING_ENTER_ABS_TIMER = 32;
/** The argument lies in a registered memory region. Since Linux 6.13. */
export const IORING_ENTER_EXT_ARG_REG = 64;
/** The time waited is not accounted as I/O wait. Since Linux 6.15. */
export const IORING_ENTER_NO_IOWAIT = 128;

// Offsets for mmap
/** Of the submission queue. */
export const IORING_OFF_SQ_RING = 0;
/** Of the completion queue. */
export const IORING_OFF_CQ_RING = 0x8000000;
/** Of the submission queue's entries. */
export const IORING_OFF_SQES = 0x10000000;
/** Of a ring of provided buffers that the kernel allocates (IOU_PBUF_RING_MMAP). Since Linux 6.4. */
export const IORING_OFF_PBUF_RING = 0x80000000;
/** From which bit on the offset names the buffer group. Since Linux 6.4. */
export const IORING_OFF_PBUF_SHIFT = 16;
/** The bits of an offset that say which of these it is. */
export const IORING_OFF_MMAP_MASK = 0xf8000000;

// Register opcodes, and flags of their arguments
/** Registers buffers. */
export const IORING_REGISTER_BUFFERS = 0;
/** Gives the buffer table up. */
export const IORING_UNREGISTER_BUFFERS = 1;
/** Registers files. */
export const IORING_REGISTER_FILES = 2;
/** Gives the file table up. */
export const IORING_UNREGISTER_FILES = 3;
/** Has an eventfd signalled when completions arrive. */
export const IORING_REGISTER_EVENTFD = 4;
/** Ends IORING_REGISTER_EVENTFD. */
export const IORING_UNREGISTER_EVENTFD = 5;
/** Replaces entries of the file table. */
export const IORING_REGISTER_FILES_UPDATE = 6;
/** As IORING_REGISTER_EVENTFD, but not for requests that complete in their submission. */
export const IORING_REGISTER_EVENTFD_ASYNC = 7;
/** Says which opcodes the kernel has. */
export const IORING_REGISTER_PROBE = 8;
/** Registers the credentials that the task has. */
export const IORING_REGISTER_PERSONALITY = 9;
/** Gives registered credentials up. */
export const IORING_UNREGISTER_PERSONALITY = 10;
/** Restricts what the ring may do (IORING_RESTRICTION_*). */
export const IORING_REGISTER_RESTRICTIONS = 11;
/** Enables a ring that began disabled (IORING_SETUP_R_DISABLED). */
export const IORING_REGISTER_ENABLE_RINGS = 12;
/** Registers files, with tags or sparse. */
export const IORING_REGISTER_FILES2 = 13;
/** Replaces entries of the file table, with tags. */
export const IORING_REGISTER_FILES_UPDATE2 = 14;
/** Registers buffers, with tags or sparse. */
export const IORING_REGISTER_BUFFERS2 = 15;
/** Replaces entries of the buffer table, with tags. */
export const IORING_REGISTER_BUFFERS_UPDATE = 16;
/** Binds the kernel's workers to processors. */
export const IORING_REGISTER_IOWQ_AFF = 17;
/** Ends IORING_REGISTER_IOWQ_AFF. */
export const IORING_UNREGISTER_IOWQ_AFF = 18;
/** Limits the number of the kernel's workers, or tells the limits. */
export const IORING_REGISTER_IOWQ_MAX_WORKERS = 19;
/** Registers ring descriptors, of which a thread has 16. */
export const IORING_REGISTER_RING_FDS = 20;
/** Gives registered ring descriptors up. */
export const IORING_UNREGISTER_RING_FDS = 21;
/** Registers a ring of provided buffers. */
export const IORING_REGISTER_PBUF_RING = 22;
/** Gives a ring of provided buffers up. */
export const IORING_UNREGISTER_PBUF_RING = 23;
/** Cancels requests, and waits for that. */
export const IORING_REGISTER_SYNC_CANCEL = 24;
/** Says which entries of the file table the kernel may choose itself. */
export const IORING_REGISTER_FILE_ALLOC_RANGE = 25;
/** Says how far a ring of provided buffers is consumed. Since Linux 6.8. */
export const IORING_REGISTER_PBUF_STATUS = 26;
/** Has waiting poll network devices. Since Linux 6.9. */
export const IORING_REGISTER_NAPI = 27;
/** Ends IORING_REGISTER_NAPI. Since Linux 6.9. */
export const IORING_UNREGISTER_NAPI = 28;
/** Chooses the clock of waits' time limits. Since Linux 6.12. */
export const IORING_REGISTER_CLOCK = 29;
/** Clones another ring's registered buffers. Since Linux 6.12. */
export const IORING_REGISTER_CLONE_BUFFERS = 30;
/** Posts a completion to a ring without having one. Since Linux 6.13. */
export const IORING_REGISTER_SEND_MSG_RING = 31;
/** Registers a network device's queue, to receive without a copy. Since Linux 6.15. */
export const IORING_REGISTER_ZCRX_IFQ = 32;
/** Changes the size of the queues. Since Linux 6.13. */
export const IORING_REGISTER_RESIZE_RINGS = 33;
/** Registers a memory region. Since Linux 6.13. */
export const IORING_REGISTER_MEM_REGION = 34;
/** Says what the kernel's io_uring has. Since Linux 6.18. */
export const IORING_REGISTER_QUERY = 35;
/** Controls a network device's queue of IORING_REGISTER_ZCRX_IFQ. Since Linux 6.19. */
export const IORING_REGISTER_ZCRX_CTRL = 36;
/** Registers BPF programs that filter requests. Since Linux 7.0. */
export const IORING_REGISTER_BPF_FILTER = 37;
/** One more than the last register opcode that this library knows. */
export const IORING_REGISTER_LAST = 38;
/** Added to an opcode: the descriptor is an index of the registered ring descriptors. Since Linux 6.3. */
export const IORING_REGISTER_USE_REGISTERED_RING = 0x80000000;
/** The program gives the region's memory. Since Linux 6.13. */
export const IORING_MEM_REGION_TYPE_USER = 1;
/** The region holds arguments of waits (IORING_ENTER_EXT_ARG_REG). Since Linux 6.13. */
export const IORING_MEM_REGION_REG_WAIT_ARG = 1;
/** Registers a table of entries that hold nothing. */
export const IORING_RSRC_REGISTER_SPARSE = 1;
/** In place of a descriptor: leaves the entry alone. */
export const IORING_REGISTER_FILES_SKIP = -2;
/** The clone's source is a registered ring descriptor. Since Linux 6.12. */
export const IORING_REGISTER_SRC_REGISTERED = 1;
/** The clone replaces entries that the destination has. Since Linux 6.13. */
export const IORING_REGISTER_DST_REPLACE = 2;
/** Allows a register opcode. */
export const IORING_RESTRICTION_REGISTER_OP = 0;
/** Allows a request opcode. */
export const IORING_RESTRICTION_SQE_OP = 1;
/** Allows request flags (IOSQE_*). */
export const IORING_RESTRICTION_SQE_FLAGS_ALLOWED = 2;
/** Requires request flags (IOSQE_*). */
export const IORING_RESTRICTION_SQE_FLAGS_REQUIRED = 3;
/** One more than the last kind of restriction that this library knows. */
export const IORING_RESTRICTION_LAST = 4;
/** The registered argument of a wait has a time limit. Since Linux 6.13. */
export const IORING_REG_WAIT_TS = 1;

// Flags of single requests
/** Reads and writes: the attribute is protection information. Since Linux 6.14. */
export const IORING_RW_ATTR_FLAG_PI = 1;
/** In place of an index of the file table: the kernel chooses a free one. */
export const IORING_FILE_INDEX_ALLOC = 0xffffffff;
/** IORING_OP_URING_CMD: uses a registered buffer. */
export const IORING_URING_CMD_FIXED = 1;
/** IORING_OP_URING_CMD: the flags that a program may set. Since Linux 6.6. */
export const IORING_URING_CMD_MASK = 1;
/** IORING_OP_FSYNC: as fdatasync(2). */
export const IORING_FSYNC_DATASYNC = 1;
/** Timeouts: the time is a point in time. */
export const IORING_TIMEOUT_ABS = 1;
/** IORING_OP_TIMEOUT_REMOVE: changes the timeout instead. */
export const IORING_TIMEOUT_UPDATE = 2;
/** Timeouts: by CLOCK_BOOTTIME. */
export const IORING_TIMEOUT_BOOTTIME = 4;
/** Timeouts: by CLOCK_REALTIME. */
export const IORING_TIMEOUT_REALTIME = 8;
/** IORING_OP_TIMEOUT_REMOVE: changes an IORING_OP_LINK_TIMEOUT. */
export const IORING_LINK_TIMEOUT_UPDATE = 16;
/** Timeouts: -ETIME is not a failure, and does not end a chain. */
export const IORING_TIMEOUT_ETIME_SUCCESS = 32;
/** Timeouts: completes again and again. Since Linux 6.4. */
export const IORING_TIMEOUT_MULTISHOT = 64;
/** Timeouts: the entry holds nanoseconds instead of an address. Since Linux 7.1. */
export const IORING_TIMEOUT_IMMEDIATE_ARG = 128;
/** Timeouts: the bits that choose the clock. */
export const IORING_TIMEOUT_CLOCK_MASK = 12;
/** Timeouts: the bits of changes. */
export const IORING_TIMEOUT_UPDATE_MASK = 18;
/** IORING_OP_POLL_ADD: completes again and again. */
export const IORING_POLL_ADD_MULTI = 1;
/** IORING_OP_POLL_REMOVE: changes the events instead. */
export const IORING_POLL_UPDATE_EVENTS = 2;
/** IORING_OP_POLL_REMOVE: changes the user data instead. */
export const IORING_POLL_UPDATE_USER_DATA = 4;
/** IORING_OP_POLL_ADD: level triggered. */
export const IORING_POLL_ADD_LEVEL = 8;
/** Cancellation: of all requests that match, not of the first alone. */
export const IORING_ASYNC_CANCEL_ALL = 1;
/** Cancellation: by descriptor. */
export const IORING_ASYNC_CANCEL_FD = 2;
/** Cancellation: of any request. */
export const IORING_ASYNC_CANCEL_ANY = 4;
/** Cancellation: the descriptor is an index of the file table. */
export const IORING_ASYNC_CANCEL_FD_FIXED = 8;
/** Cancellation: by user data, also together with other keys. Since Linux 6.6. */
export const IORING_ASYNC_CANCEL_USERDATA = 16;
/** Cancellation: by opcode. Since Linux 6.6. */
export const IORING_ASYNC_CANCEL_OP = 32;
/** Sockets: waits until it is ready before the first attempt. */
export const IORING_RECVSEND_POLL_FIRST = 1;
/** IORING_OP_RECV and RECVMSG: receives again and again. */
export const IORING_RECV_MULTISHOT = 2;
/** IORING_OP_SEND_ZC: from a registered buffer. */
export const IORING_RECVSEND_FIXED_BUF = 4;
/** Sends without a copy: the second completion says whether there was one. Since Linux 6.2. */
export const IORING_SEND_ZC_REPORT_USAGE = 8;
/** IORING_OP_SEND and RECV: several provided buffers at once. Since Linux 6.10. */
export const IORING_RECVSEND_BUNDLE = 16;
/** IORING_OP_SEND and SEND_ZC: several pieces of memory. Since Linux 6.17. */
export const IORING_SEND_VECTORIZED = 32;
/** In the second completion's result: the bytes were copied. Since Linux 6.2. */
export const IORING_NOTIF_USAGE_ZC_COPIED = 0x80000000;
/** IORING_OP_ACCEPT: accepts again and again. */
export const IORING_ACCEPT_MULTISHOT = 1;
/** IORING_OP_ACCEPT: fails rather than waits. Since Linux 6.10. */
export const IORING_ACCEPT_DONTWAIT = 2;
/** IORING_OP_ACCEPT: waits until there is a connection before the first attempt. Since Linux 6.10. */
export const IORING_ACCEPT_POLL_FIRST = 4;
/** IORING_OP_MSG_RING: posts a completion with the data given. */
export const IORING_MSG_DATA = 0;
/** IORING_OP_MSG_RING: puts a file into the other ring's table. */
export const IORING_MSG_SEND_FD = 1;
/** IORING_OP_MSG_RING: the other ring gets no completion. */
export const IORING_MSG_RING_CQE_SKIP = 1;
/** IORING_OP_MSG_RING: the completion has the flags given. Since Linux 6.3. */
export const IORING_MSG_RING_FLAGS_PASS = 2;
/** IORING_OP_FIXED_FD_INSTALL: not close-on-exec. Since Linux 6.8. */
export const IORING_FIXED_FD_NO_CLOEXEC = 1;
/** IORING_OP_NOP: completes with the result given. Since Linux 6.10. */
export const IORING_NOP_INJECT_RESULT = 1;
/** IORING_OP_NOP: completes with 32 bytes. Since Linux 6.18. */
export const IORING_NOP_CQE32 = 32;
/** The bit of IORING_CQE_F_TSTAMP_HW. Since Linux 6.17. */
export const IORING_TIMESTAMP_HW_SHIFT = 16;
/** From which bit on a completion's flags name the kind of time stamp. Since Linux 6.17. */
export const IORING_TIMESTAMP_TYPE_SHIFT = 17;
/** From which bit on an offset of IORING_OP_RECV_ZC names the memory area. Since Linux 6.15. */
export const IORING_ZCRX_AREA_SHIFT = 48;
/** The bits of such an offset that name the area; a bigint. Since Linux 6.15. */
export const IORING_ZCRX_AREA_MASK = 0xffff000000000000n;
/** The area is a dma-buf. Since Linux 6.16. */
export const IORING_ZCRX_AREA_DMABUF = 1;

// Provided buffer rings and worker kinds
/** Workers for what ends in bounded time, as reads of regular files. */
export const IO_WQ_BOUND = 0;
/** Workers for what may take for ever, as reads of sockets and pipes. */
export const IO_WQ_UNBOUND = 1;
/** The kernel allocates the ring's memory, for mmap. Since Linux 6.4. */
export const IOU_PBUF_RING_MMAP = 1;
/** Buffers are consumed part by part. Since Linux 6.12. */
export const IOU_PBUF_RING_INC = 2;
