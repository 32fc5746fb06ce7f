/*
 * Reflinks: ioctl(FICLONE) in a thread, because io_uring has no such request. The reason that this is in C is the same
 * as in teardown.c: terminate() can stop JavaScript between any two instructions, but never in the middle of a C call.
 */

/*
 * A reflink in progress. It has a thread of its own, because the kernel writes back the source's dirty pages first,
 * which may take seconds. Meanwhile JavaScript runs on, and may close the files and reuse their descriptor numbers.
 * The thread therefore uses, and closes, its own duplicates of both descriptors.
 */
struct reflink {
	struct reflink *next;
	u64 thread;
	int source, destination;
	volatile int result; /* 1 until the thread has stored 0 or -errno */
};

/* The reflinks that this JavaScript thread has started and not yet joined. Only that thread uses the list. */
static struct reflink *reflinks;

/*
 * The thread's function, which runs concurrently with JavaScript. It still uses the struct after it has stored the
 * result, for the wake-up: only pthread_join proves that the struct can be freed.
 */
static void *run_reflink(void *argument)
{
	struct reflink *reflink = argument;
	int result = ioctl(reflink->destination, FICLONE, reflink->source) < 0 ? -*__errno_location() : 0;

	close(reflink->source);
	close(reflink->destination);
	reflink->result = result;
	syscall(SYS_futex, &reflink->result, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0);
	return 0;
}

static int duplicate(int fd)
{
	int result = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return result < 0 ? -*__errno_location() : result;
}

/*
 * Starts a reflink, and records it in the same call, so that the end of the thread finds it. Then waits up to half a
 * millisecond for it to finish: a quick reflink takes less, and the first wait between JavaScript's polls is longer
 * (lib/files/reflink.ts). The futex wait returns at once if the result is there already.
 */
static int reflink_start(int source, int destination, u64 *out)
{
	struct reflink *reflink = calloc(1, sizeof(*reflink));
	struct timespec64 patience = { 0, 500000 };
	int result;

	if (!reflink)
		return -ENOMEM;
	reflink->result = 1;
	reflink->source = duplicate(source);
	reflink->destination = reflink->source < 0 ? reflink->source : duplicate(destination);
	result = reflink->destination;
	if (result >= 0)
		result = -pthread_create(&reflink->thread, 0, run_reflink, reflink);
	if (result < 0) {
		if (reflink->destination >= 0)
			close(reflink->destination);
		if (reflink->source >= 0)
			close(reflink->source);
		free(reflink);
		return result;
	}
	reflink->next = reflinks;
	reflinks = reflink;
	out[0] = (u64)reflink;
	syscall(SYS_futex, &reflink->result, FUTEX_WAIT_PRIVATE, 1, &patience, 0, 0);
	return 0;
}

/* Waits until the thread has ended, removes the reflink from the list and frees it. Returns its result. */
static int reflink_finish(struct reflink *reflink)
{
	struct reflink **link = &reflinks;
	int result;

	pthread_join(reflink->thread, 0);
	result = reflink->result;
	while (*link != reflink)
		link = &(*link)->next;
	*link = reflink->next;
	free(reflink);
	return result;
}

/* Returns 1 as long as the reflink is in progress. Then finishes it and returns its result: call it no more. */
static int reflink_result(struct reflink *reflink)
{
	return reflink->result == 1 ? 1 : reflink_finish(reflink);
}
