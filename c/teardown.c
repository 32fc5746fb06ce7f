/*
 * The teardown of a thread: everything that must happen even if no JavaScript can run any more, because the Worker is
 * ending. Rings are drained and closed, a pool's slots and lock are released, and the threads that wait for them are
 * woken. A normal close takes the same path.
 *
 * terminate() can stop JavaScript between any two instructions, but never in the middle of a C call. So a step that
 * must not be left half done is in one C function: each resource is recorded in the call that creates it.
 *
 * Meanwhile others go on: the kernel carries out this thread's requests and writes their memory; other threads use
 * their own rings and the shared state of pools (`struct control`); reflink threads run. The compiler, TinyCC, has
 * neither atomics nor barriers. Code here may therefore change shared words only
 * - under the pool's lock,
 * - or if no other thread changes them (a participant's own slots and eventfd),
 * - or by a store that is right whatever another thread does (the hints that a block has free slots).
 * The static variables belong to this thread alone: each thread has its own copy of the shim.
 */

/*
 * The descriptors that a ring owns, in JavaScript's memory: see lib/engines/file-table.ts. JavaScript may have been
 * stopped at any of its stores to the table, so each store leaves the table valid. 0 means none.
 */
struct file_slot {
	int fd_plus_one, closing_plus_one;
};

struct ring {
	struct io_uring uring; /* first, so that a ring and its io_uring have the same address */
	struct ring *next;
	int eventfd;
	u32 file_count;
	volatile struct file_slot *files; /* null for a RawRing, which owns no files */
	int finishing; /* ring_finish has queued the drained NOP */
};

/*
 * The head of a pool's memory, which all attached threads read and write: see lib/pool/control.ts. A participant is one
 * attachment of one thread.
 */
struct participant_state {
	int in_use, ring_fd_plus_one, eventfd_plus_one, waiting;
};

enum { PARTICIPANTS = 1024, SLOTS_A_BLOCK = 1024, CONTROL_WORDS = 16 };

struct control {
	int magic, version;
	int lock; /* PI futex: 0, or the owner's thread id */
	int closed;
	u32 count;
	int participant_limit; /* one past the highest participant index ever used */
	int reserved[CONTROL_WORDS - 6];
	struct participant_state participants[PARTICIPANTS];
	int words[]; /* for each block of slots, whether one may be free; then each slot's owner: see lib/pool/slots.ts */
};

struct participant {
	struct participant *next;
	volatile struct control *control;
	int index; /* in control->participants */
};

/* This thread's rings, and its attachments to pools. */
static struct ring *rings;
static struct participant *participants_here;

static void fill(void *memory, u64 bytes)
{
	for (u64 i = 0; i < bytes; i++)
		((u8 *)memory)[i] = 0;
}

/* ---- rings ---- */

enum { KIND_SHIFT = 51, KIND_OPEN = 1, KIND_CLOSE = 2, OPERATION_MASK = 0xffffff };
static const u64 DRAIN_MARK = ~0ul; /* JavaScript's user_data is below 2^53 */

/* Asks the kernel to cancel every request of the ring. Its timeout is 0, so it does not wait for them to end. */
static void cancel_all(struct io_uring *uring)
{
	struct io_uring_sync_cancel_reg reg;

	fill(&reg, sizeof(reg));
	reg.fd = -1;
	reg.flags = IORING_ASYNC_CANCEL_ALL | IORING_ASYNC_CANCEL_ANY;
	io_uring_register(uring->ring_fd, IORING_REGISTER_SYNC_CANCEL, &reg, 1);
}

/*
 * Queues a NOP that the kernel starts only when all requests submitted before it have completed. Returns 0 if the
 * submission queue has no room for it.
 */
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
 * Settles the completion of an open or a close that JavaScript may not have recorded in the file table. It may have
 * recorded it, and been stopped before it consumed the completion, so settling one twice must be harmless.
 *
 * An open: its descriptor is closed unless the table lists it. An entry with a close in progress does not count as
 * listing it. That entry's number is free as soon as the kernel has closed the descriptor, and the new file may have
 * got the same number before the completion of that close is consumed.
 *
 * A close: its entry is removed, or ring_close would close the number again, which may be another file's by now. A
 * cancelled close has not closed the descriptor.
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
 * Consumes all completions. Returns 1 if the drained NOP's is among them, or the NOP's error; otherwise 0.
 *
 * The kernel may be adding completions. liburing reads the queue's tail, because it has the barrier for that. The head
 * gives the entries back to the kernel, so its store must not come before the reads of these entries. No barrier is
 * needed for that: the store comes after branches on the values read, and no processor makes a store visible before
 * the branches that it depends on are decided.
 *
 * A NOP that was cancelled proves the same as one that ran. The drain comes first: only after it does the kernel pass
 * the NOP to its worker threads, and only there can a cancellation find it. The workers may be busy with other rings
 * forever, so the NOP may never run.
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
 * Returns 0 once the kernel is done with every request of the ring, or -errno if that cannot be found out. The only
 * proof is the completion of each request, and the drained NOP's completion comes after all of them.
 *
 * Cancels repeatedly, at growing intervals: a request may have started since the last time, because the kernel's
 * submission thread took it up or the request before it in a link completed. Waits forever if necessary: memory that
 * the kernel may write is never freed on a timeout.
 */
static int drain(struct ring *ring)
{
	static const char warning[] = "bun-uring: closing a ring waits for a request that the kernel cannot cancel\n";
	struct io_uring *uring = &ring->uring;
	struct timespec64 patience = { 0, 1000000 };
	struct io_uring_cqe *ignored;
	long long started = seconds_now();
	int queued = 0, warned = 0;

	uring->sq.sqe_tail = uring->sq.sqe_head; /* drops entries that were prepared but not submitted */
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
 * Frees all but two pages of the queues' memory, if the kernel can: only for a ring with IORING_SETUP_DEFER_TASKRUN.
 * Since Linux 6.14 that memory counts against the limit on locked memory, and io_uring_queue_exit frees it only some
 * time later. Call this after the drain: nothing may be in flight, and nothing may read the queues afterwards.
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

/*
 * Drains and closes the ring. Returns 0, or -errno if it could not be drained. In that case the ring stays open and in
 * the list, and its memory must stay allocated, because the kernel may still write it.
 *
 * The order matters:
 * - The drain comes first: it settles the file table, and after it the kernel no longer uses buffers or files.
 * - Buffers and files are unregistered explicitly, because io_uring_queue_exit alone unpins memory and releases files
 *   only some time later.
 * - The descriptors in the file table are closed after the registered files are released: until then the ring keeps
 *   these files open itself, and closing a descriptor would not close the end of a pipe, for example.
 */
static int ring_close(struct ring *ring)
{
	struct ring **link = &rings;
	int result = drain(ring);

	if (result < 0)
		return result;
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
 * Closes a ring that the program dropped, without cancelling: the requests in flight run to completion. Never waits for
 * them. Returns 0 once the ring is closed; -EAGAIN as long as something is in flight: call it again; another -errno if
 * that cannot be found out. The end of the thread may come between two calls; then ring_close takes over.
 */
static int ring_finish(struct ring *ring)
{
	struct io_uring *uring = &ring->uring;
	int result;

	if (!ring->finishing) {
		uring->sq.sqe_tail = uring->sq.sqe_head; /* drops entries that were prepared but not submitted */
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

/* Returns the ring's eventfd, and registers it. ring_close closes it. */
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

/* Replaces the file table that the teardown reads. */
static void ring_files(struct ring *ring, struct file_slot *files, u32 count)
{
	ring->file_count = 0;
	ring->files = files;
	ring->file_count = count;
}

/* ---- pools ---- */

/*
 * Locks and unlocks a PI futex. The kernel does the atomic part of that, which also orders the memory accesses around
 * the call. The word is the owner's thread id, so the teardown can find a lock that this thread held when JavaScript
 * was stopped.
 */
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

/*
 * Wakes every participant that waits. Takes the lock, so the caller must not hold it. A participant closes its eventfd
 * under the lock; without the lock, a number read here could belong to another file when it is written to. The eventfd
 * is non-blocking, so the write cannot hold up the lock.
 */
static void pool_wake(volatile struct control *control)
{
	u64 one = 1;

	pool_lock(control);
	for (int i = 0; i < control->participant_limit; i++)
		if (control->participants[i].waiting && control->participants[i].eventfd_plus_one)
			write(control->participants[i].eventfd_plus_one - 1, &one, sizeof(one));
	pool_unlock(control);
}

/*
 * Adds a participant that owns `ring_fd` (-1: none). If this fails, the descriptor still belongs to the caller.
 *
 * The caller holds the lock, or two threads could take the same index. pool_create calls this without it, which is
 * safe: no other thread has the control's memory yet.
 */
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

/*
 * Registers a pool's memory, unless `count` is 0, and adds the first participant. The registration has a ring of its
 * own. That ring never does I/O, so its queues are never mapped. Not under the lock: no other thread has the control's
 * memory yet.
 */
static int pool_create(volatile struct control *control, struct iovec *buffers, u32 count, u64 *out)
{
	struct io_uring_params params;
	int fd = -1, result = 0;

	if (count) {
		fill(&params, sizeof(params));
		fd = io_uring_setup(1, &params);
		if (fd < 0)
			return fd;
		out[0] = 1; /* if the rest fails, tells JavaScript that it was not io_uring_setup */
		result = io_uring_register(fd, IORING_REGISTER_BUFFERS, buffers, count);
	}
	if (result >= 0)
		result = enter(control, fd, out);
	if (result < 0 && fd >= 0)
		close(fd);
	return result;
}

/*
 * Adds a participant to a pool that another thread may be closing or leaving. Each participant has its own duplicate of
 * the registration's descriptor: no other participant closes it, and the ring lives as long as one of the duplicates.
 * The lock is held from reading another participant's descriptor until it is duplicated; otherwise that participant
 * could close it in between.
 */
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

/*
 * Closes the pool for all participants: no clone and no acquire succeeds afterwards. A thread that is cloning holds the
 * lock, so the registration is not removed in the middle of a clone. Rings that have a clone keep the memory pinned.
 * The waiters are woken after `closed` is set, because they check it; and after the unlock, because pool_wake takes
 * the lock.
 */
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

/*
 * Returns the participant's own eventfd, on which it waits; creates it on first use. This needs no lock: only this
 * participant stores the number, and another thread that does not see it yet wakes nobody. The participant announces
 * that it waits only afterwards, and then checks for free slots once more.
 */
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

/*
 * Removes a participant: frees its slots, and wakes the participants that wait. The last one to leave closes the pool.
 * No ring of this thread may use the pool's memory any more. Other threads acquire, release, attach and wait meanwhile.
 *
 * The order matters:
 * 1. The slots are freed before `in_use` is cleared: from then on the index, and so its number in `owners`, may belong
 *    to a new participant. Plain stores are enough, because no other thread changes an entry that this participant
 *    owns.
 * 2. Under the lock, the descriptors are closed and their numbers cleared together, so no other thread uses a number
 *    that is closed.
 * 3. The hints are set after the slots are free. A thread that scans a block and finds no free slot clears the block's
 *    hint; if it did so between a hint that was set too early and the slot, the free slot would never be found. The
 *    futex calls in between keep the stores in this order on every processor.
 * 4. Waiters are woken last, because they check the hints and the slots at once.
 */
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

	for (u32 i = 0; i < blocks; i++)
		control->words[i] = 1;
	pool_wake(control);

	while (*link != participant)
		link = &(*link)->next;
	*link = participant->next;
	free(participant);
}

/* ---- the end of a thread ---- */

/* Closes the rings that can be drained. The others stay in the list. */
static void close_rings(void)
{
	struct ring *ring, *next;

	for (ring = rings; ring; ring = next) {
		next = ring->next;
		ring_close(ring);
	}
}

/*
 * Tears down what the thread has left: Node-API's cleanup hook, which runs on this thread after its JavaScript has
 * stopped for good. JavaScript may have been stopped at any instruction. Other threads go on, and may be waiting for
 * this thread's locks and slots.
 *
 * The order matters:
 * 1. Locks that JavaScript held are released first: other threads wait for them, closing a ring can take forever, and
 *    pool_leave takes the same locks. The state that a lock guards is consistent: JavaScript only clones under it, and
 *    C calls that change the state are never interrupted.
 * 2. Rings are closed before participants leave: other threads may acquire the slots as soon as a participant has left,
 *    and until the rings are drained, the kernel may write to them.
 * 3. Reflink threads are joined last: that may take seconds, and no other thread waits for it. They have to be joined,
 *    because they run code of this shim, which is freed when the thread ends.
 *
 * If a ring cannot be drained, the kernel may still write to its memory, which the end of a Worker's thread would free.
 * So the thread does not end: it retries every second, and keeps its slots. The main thread goes on (its thread id is
 * the process's id): nothing is freed before the end of the process, where the kernel ends the requests first.
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
