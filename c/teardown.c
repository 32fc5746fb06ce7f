/*
 * What must happen also where no JavaScript can run, because its Worker is ending: rings are drained and
 * closed, a pool's slots and lock are given back, those who wait for them are woken. A normal close takes
 * the same path. Whatever must not be cut in half by terminate(), which can stop JavaScript between any
 * two instructions but never a C call, is here as well: a resource is recorded in the call that makes it.
 */

/* A ring and what goes with it. `files` is a table in JavaScript's memory, see lib/engines/file-table.ts. */
struct file_slot {
	int fd_plus_one, closing_plus_one;
};

struct ring {
	struct io_uring uring; /* first: a ring's address is its io_uring's */
	struct ring *next;
	int eventfd;
	u32 file_count;
	volatile struct file_slot *files;
	int finishing; /* its drained NOP is on its way */
};

/* The head of a pool's shared memory, see lib/pool/control.ts. */
struct participant_state {
	int in_use, ring_fd_plus_one, eventfd_plus_one, waiting;
};

enum { PARTICIPANTS = 1024, SLOTS_A_BLOCK = 1024, CONTROL_WORDS = 16 };

struct control {
	int magic, version;
	int lock; /* PI futex: 0, or the owner's thread id */
	int closed;
	u32 count;
	int participant_limit; /* one past the highest participant there ever was */
	int reserved[CONTROL_WORDS - 6];
	struct participant_state participants[PARTICIPANTS];
	int words[]; /* for each block of slots whether one may be free, then each slot's owner */
};

struct participant {
	struct participant *next;
	volatile struct control *control;
	int index; /* of its state in the control */
};

static struct ring *rings;
static struct participant *participants_here;

static void fill(void *memory, u64 bytes)
{
	for (u64 i = 0; i < bytes; i++)
		((u8 *)memory)[i] = 0;
}

/* ---- rings ---- */

enum { KIND_SHIFT = 51, KIND_OPEN = 1, KIND_CLOSE = 2, OPERATION_MASK = 0xffffff };
static const u64 DRAIN_MARK = ~0ul; /* no JavaScript number reaches it */

static void cancel_all(struct io_uring *uring)
{
	struct io_uring_sync_cancel_reg reg;

	fill(&reg, sizeof(reg));
	reg.fd = -1;
	reg.flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
	io_uring_register(uring->ring_fd, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
}

static int queue_drained_nop(struct io_uring *uring)
{
	struct io_uring_sq *sq = &uring->sq;
	u32 index = (sq->sqe_tail & sq->ring_mask) << !!(uring->flags & IORING_SETUP_SQE128);

	if (sq->sqe_tail - *(volatile u32 *)sq->khead >= sq->ring_entries)
		return 0;
	fill(&sq->sqes[index], sizeof(struct io_uring_sqe));
	sq->sqes[index].flags = IOSQE_IO_DRAIN;
	sq->sqes[index].user_data = DRAIN_MARK;
	sq->sqe_tail++;
	return 1;
}

/*
 * A file that an open brought, or that a close took, while nobody was there to note it. An entry that is being closed does not
 * say that the open was noted: its number is free as soon as the kernel has closed it, and may be this open's before the close completes.
 */
static void settle_file(struct ring *ring, u64 user_data, int res)
{
	u64 kind = user_data >> KIND_SHIFT;
	u32 i;

	if (kind == KIND_OPEN && res >= 0) {
		for (i = 0; i < ring->file_count; i++)
			if (ring->files[i].fd_plus_one == res + 1 && !ring->files[i].closing_plus_one)
				return;
		close(res);
	}
	if (kind == KIND_CLOSE && res != -ECANCELED)
		for (i = 0; i < ring->file_count; i++)
			if (ring->files[i].closing_plus_one == (int)(user_data & OPERATION_MASK) + 1)
				ring->files[i].fd_plus_one = 0;
}

/*
 * Consumes what has completed; returns 1 when the drained NOP has, else 0 or its error.
 * liburing looks at the queue, for it has the barriers; the head is published only after branches on the entries that it
 * frees, which orders the two on every processor. That the NOP was cancelled is as good: only after the drain does it go to
 * the kernel's workers, where a cancellation can find it, and they may be busy with other rings for ever.
 */
static int consume(struct ring *ring)
{
	struct io_uring *uring = &ring->uring;
	volatile u32 *khead = uring->cq.khead;
	struct io_uring_cqe *cqes[32];
	int result = 0;

	for (u32 count; (count = io_uring_peek_batch_cqe(uring, cqes, 32)); *khead += count) {
		for (u32 i = 0; i < count; i++) {
			volatile struct io_uring_cqe *cqe = cqes[i];

			if (cqe->user_data != DRAIN_MARK) {
				if (ring->files)
					settle_file(ring, cqe->user_data, cqe->res);
			} else {
				result = cqe->res == 0 || cqe->res == -ECANCELED ? 1 : cqe->res;
			}
		}
	}
	return result;
}

static long long seconds_now(void)
{
	struct timespec64 now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/*
 * Returns 0 once the kernel is done with every request of the ring: their own completions are the only proof,
 * and a drained NOP's comes after all of them. Cancels again and again, less and less often: a request may have begun
 * since, taken up by the kernel's submission thread or next in a link. Waits for ever if need be: memory that the
 * kernel writes is never given back on a time-out.
 */
static int drain(struct ring *ring)
{
	static const char warning[] = "bun-uring: closing a ring waits for a request that the kernel cannot cancel\n";
	struct io_uring *uring = &ring->uring;
	struct timespec64 patience = { 0, 1000000 };
	struct io_uring_cqe *ignored;
	long long started = seconds_now();
	int queued = 0, warned = 0;

	uring->sq.sqe_tail = uring->sq.sqe_head; /* prepared, never submitted */
	for (;;) {
		int result, done;

		cancel_all(uring);
		if (!queued)
			queued = queue_drained_nop(uring);
		result = io_uring_submit_and_wait_timeout(uring, &ignored, 1, &patience, 0);
		done = consume(ring);
		if (done)
			return done < 0 ? done : 0;
		if (result < 0 && result != -ETIME && result != -EINTR && result != -EAGAIN && result != -EBUSY && result != -ENOMEM)
			return result;
		if (!warned && seconds_now() - started > 5) {
			warned = 1;
			write(2, warning, sizeof(warning) - 1);
		}
		if (patience.tv_nsec < 512000000)
			patience.tv_nsec *= 2;
	}
}

static int ring_init(u32 entries, u32 cq_entries, u32 flags, u32 sq_thread_idle, u64 *out)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	struct io_uring_params params;
	int result = -ENOMEM;

	if (!ring)
		return result;
	fill(&params, sizeof(params));
	params.flags = cq_entries ? flags | IORING_SETUP_CQSIZE : flags;
	params.cq_entries = cq_entries;
	params.sq_thread_idle = sq_thread_idle;
	result = io_uring_queue_init_params(entries, &ring->uring, &params);
	if (result < 0) {
		free(ring);
		return result;
	}
	ring->eventfd = -1;
	ring->next = rings;
	rings = ring;
	out[0] = (u64)ring;
	out[1] = ring->uring.ring_fd;
	out[2] = ring->uring.features;
	out[3] = ring->uring.sq.ring_entries;
	out[4] = ring->uring.cq.ring_entries;
	out[5] = (u64)ring->uring.sq.sqes;
	out[6] = (u64)ring->uring.sq.khead;
	out[7] = (u64)ring->uring.sq.kflags;
	out[8] = (u64)ring->uring.cq.khead;
	out[9] = (u64)ring->uring.cq.ktail;
	out[10] = (u64)ring->uring.cq.cqes;
	return 0;
}

/*
 * Since Linux 6.14 the queues' own memory counts against the limit on locked memory, and exit gives it back some time later. All but two pages
 * is given back here, where the kernel can: of a ring with IORING_SETUP_DEFER_TASKRUN. Nothing is in flight, and nothing reads the queues any more.
 */
static void shrink(struct io_uring *uring)
{
	struct io_uring_params params;

	fill(&params, sizeof(params));
	params.flags = IORING_SETUP_CQSIZE;
	params.sq_entries = 1;
	params.cq_entries = 2;
	io_uring_register(uring->ring_fd, IORING_REGISTER_RESIZE_RINGS, &params, 1);
}

/* Returns 0, or -errno where the ring could not be drained: it then stays, and so must its memory. */
static int ring_close(struct ring *ring)
{
	struct ring **link = &rings;
	int result = drain(ring);

	if (result < 0)
		return result;
	/* exit alone unpins memory, and lets go of files, some time later */
	shrink(&ring->uring);
	io_uring_register(ring->uring.ring_fd, IORING_UNREGISTER_BUFFERS, 0, 0);
	io_uring_register(ring->uring.ring_fd, IORING_UNREGISTER_FILES, 0, 0);
	io_uring_queue_exit(&ring->uring);
	for (u32 i = 0; i < ring->file_count; i++)
		if (ring->files[i].fd_plus_one)
			close(ring->files[i].fd_plus_one - 1);
	if (ring->eventfd >= 0)
		close(ring->eventfd);
	while (*link != ring)
		link = &(*link)->next;
	*link = ring->next;
	free(ring);
	return 0;
}

/*
 * For a ring that nobody has any more: what is in flight goes on to its completion. Never waits. Returns 0 once the ring is closed,
 * -EAGAIN as long as something is in flight, another -errno where that cannot be found out.
 */
static int ring_finish(struct ring *ring)
{
	struct io_uring *uring = &ring->uring;
	int result;

	if (!ring->finishing) {
		uring->sq.sqe_tail = uring->sq.sqe_head; /* prepared, never submitted */
		ring->finishing = queue_drained_nop(uring);
	}
	result = io_uring_submit_and_get_events(uring);
	if (result < 0 && result != -EINTR && result != -EBUSY && result != -ENOMEM)
		return result;
	result = consume(ring);
	if (result <= 0)
		return result < 0 ? result : -EAGAIN;
	return ring_close(ring);
}

static int ring_eventfd(struct ring *ring)
{
	int fd = ring->eventfd >= 0 ? ring->eventfd : eventfd(0, EFD_FLAGS);
	int result;

	if (fd < 0)
		return -*__errno_location();
	ring->eventfd = fd;
	result = io_uring_register_eventfd(&ring->uring, fd);
	return result < 0 ? result : fd;
}

static void ring_files(struct ring *ring, struct file_slot *files, u32 count)
{
	ring->file_count = 0;
	ring->files = files;
	ring->file_count = count;
}

/* ---- participants_here ---- */

/* The kernel does the atomic part of a PI futex, and its word names the owner. */
static int futex(volatile int *word, int operation)
{
	while (syscall(SYS_futex, word, operation, 0, 0, 0, 0) < 0) {
		int error = *__errno_location();

		if (error != EINTR && error != EAGAIN)
			return -error;
	}
	return 0;
}

static int pool_lock(volatile struct control *control)
{
	return futex(&control->lock, FUTEX_LOCK_PI_PRIVATE);
}

static int pool_unlock(volatile struct control *control)
{
	return futex(&control->lock, FUTEX_UNLOCK_PI_PRIVATE);
}

/* Under the lock, for a participant closes its eventfd there: a number read without it may be another file by now. */
static void pool_wake(volatile struct control *control)
{
	u64 one = 1;

	pool_lock(control);
	for (int i = 0; i < control->participant_limit; i++)
		if (control->participants[i].waiting && control->participants[i].eventfd_plus_one)
			write(control->participants[i].eventfd_plus_one - 1, &one, sizeof(one));
	pool_unlock(control);
}

/* Adopts `ring_fd` (-1: none). Under the lock. */
static int enter(volatile struct control *control, int ring_fd, u64 *out)
{
	struct participant *participant = calloc(1, sizeof(*participant));

	for (int i = 0; participant && i < PARTICIPANTS; i++) {
		volatile struct participant_state *state = &control->participants[i];

		if (state->in_use)
			continue;
		state->in_use = 1;
		if (i >= control->participant_limit)
			control->participant_limit = i + 1;
		state->ring_fd_plus_one = ring_fd + 1;
		state->eventfd_plus_one = 0;
		state->waiting = 0;
		participant->control = control;
		participant->index = i;
		participant->next = participants_here;
		participants_here = participant;
		out[0] = (u64)participant;
		out[1] = i;
		return 0;
	}
	free(participant);
	return participant ? -EUSERS : -ENOMEM;
}

/* A pool's registration has a ring of its own, never used for I/O, so nothing of it is ever mapped. `count` 0: no registration. */
static int pool_create(volatile struct control *control, struct iovec *buffers, u32 count, u64 *out)
{
	struct io_uring_params params;
	int fd = -1, result = 0;

	if (count) {
		fill(&params, sizeof(params));
		fd = io_uring_setup(1, &params);
		if (fd < 0)
			return fd;
		out[0] = 1; /* that much worked, should the rest fail */
		result = io_uring_register(fd, IORING_REGISTER_BUFFERS, buffers, count);
	}
	if (result >= 0)
		result = enter(control, fd, out);
	if (result < 0 && fd >= 0)
		close(fd);
	return result;
}

/* Each participant has a duplicate of the registration's descriptor, so its number is its own to trust, and the kernel counts. */
static int pool_attach(volatile struct control *control, u64 *out)
{
	int i, fd = -1, result = pool_lock(control);

	if (result < 0)
		return result;
	for (i = 0; i < control->participant_limit && !control->participants[i].in_use; i++)
		;
	if (control->closed || i == control->participant_limit) {
		result = -EBADF;
	} else if (control->participants[i].ring_fd_plus_one) {
		fd = fcntl(control->participants[i].ring_fd_plus_one - 1, F_DUPFD_CLOEXEC, 3);
		result = fd < 0 ? -*__errno_location() : 0;
	}
	if (result >= 0)
		result = enter(control, fd, out);
	if (result < 0 && fd >= 0)
		close(fd);
	pool_unlock(control);
	return result;
}

/* Ends the pool for everyone: no clone and no acquire succeeds from here on. */
static void pool_close(struct participant *participant)
{
	volatile struct control *control = participant->control;
	int fd = control->participants[participant->index].ring_fd_plus_one - 1;

	pool_lock(control);
	if (!control->closed && fd >= 0)
		io_uring_register(fd, IORING_UNREGISTER_BUFFERS, 0, 0);
	control->closed = 1;
	pool_unlock(control);
	pool_wake(control);
}

/* The participant's own eventfd, for it to wait on. */
static int pool_eventfd(struct participant *participant)
{
	volatile struct participant_state *self = &participant->control->participants[participant->index];
	int fd;

	if (self->eventfd_plus_one)
		return self->eventfd_plus_one - 1;
	fd = eventfd(0, EFD_FLAGS);
	if (fd < 0)
		return -*__errno_location();
	self->eventfd_plus_one = fd + 1;
	return fd;
}

/* The participant goes: its slots are free again, and whoever waits looks. The last to go ends the pool. */
static void pool_leave(struct participant *participant)
{
	volatile struct control *control = participant->control;
	volatile struct participant_state *self = &control->participants[participant->index];
	u32 blocks = (control->count + SLOTS_A_BLOCK - 1) / SLOTS_A_BLOCK;
	volatile int *owners = control->words + blocks;
	struct participant **link = &participants_here;
	int others = 0;

	for (u32 i = 0; i < control->count; i++)
		if (owners[i] == participant->index + 1)
			owners[i] = 0;

	pool_lock(control);
	for (int i = 0; i < control->participant_limit; i++)
		others += i != participant->index && control->participants[i].in_use;
	if (self->ring_fd_plus_one) {
		if (!others)
			io_uring_register(self->ring_fd_plus_one - 1, IORING_UNREGISTER_BUFFERS, 0, 0);
		close(self->ring_fd_plus_one - 1);
	}
	if (!others)
		control->closed = 1;
	if (self->eventfd_plus_one)
		close(self->eventfd_plus_one - 1);
	self->ring_fd_plus_one = self->eventfd_plus_one = self->waiting = self->in_use = 0;
	pool_unlock(control);

	/* After the kernel's atomics above: a block that is marked before its slot is free would be cleared again, and the slot lost. */
	for (u32 i = 0; i < blocks; i++)
		control->words[i] = 1;
	pool_wake(control);

	while (*link != participant)
		link = &(*link)->next;
	*link = participant->next;
	free(participant);
}

/* ---- the end of a thread ---- */

static void close_rings(void)
{
	struct ring *ring, *next;

	for (ring = rings; ring; ring = next) {
		next = ring->next;
		ring_close(ring);
	}
}

/*
 * A ring that could not be drained may still write its memory, which the end of a Worker's thread would free: the thread stays, and so do the slots that it
 * has. On the main thread nothing is freed before the process's end, where the kernel sees to the order.
 */
static void thread_ends(void *unused)
{
	(void)unused;
	static const char warning[] = "bun-uring: a Worker's ring cannot be drained, so its thread does not end: the kernel may still write its memory\n";
	struct participant *participant;
	int self = gettid(), warned = 0;

	for (participant = participants_here; participant; participant = participant->next)
		if ((participant->control->lock & FUTEX_TID_MASK) == self)
			pool_unlock(participant->control);
	for (close_rings(); rings && self != getpid(); close_rings()) {
		if (!warned)
			write(2, warning, sizeof(warning) - 1);
		warned = 1;
		sleep(1);
	}
	while (participants_here)
		pool_leave(participants_here);
	while (reflinks)
		reflink_finish(reflinks);
}
