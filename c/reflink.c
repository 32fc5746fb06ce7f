/*
 * Reflinks, which io_uring has no request for: ioctl(FICLONE) in a thread. Whatever must not be cut in half by terminate() is here, as in teardown.c.
 */

/*
 * One under way, in a thread of its own: the kernel writes the source's dirty pages back first, which takes seconds now and then. The thread has duplicates of
 * both descriptors, so that it means these files whatever becomes of the numbers, and closes them.
 */
struct reflink {
	struct reflink *next;
	u64 thread;
	int source, destination;
	volatile int result; /* 1: not done yet */
};

static struct reflink *reflinks;

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

/* Waits for a quick one, half a millisecond at most, which is less than what else it takes to hear of it. */
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

/* Waits for its end, and forgets it; returns its result. */
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

/* The same once it is done; 1 until then. */
static int reflink_result(struct reflink *reflink)
{
	return reflink->result == 1 ? 1 : reflink_finish(reflink);
}
