/*
 * fork(2) without any JavaScript in the child. Like the shim, it is compiled without headers and without the C library:
 * the caller passes the functions that it calls.
 */
struct calls {
	int (*fork)(void);
	long (*read)(int, void *, unsigned long);
	int (*execve)(const char *, char *const *, char *const *);
	void (*exit)(int);
};

/*
 * The child waits until `gate` has data or reaches its end, and then executes `path`, or exits if that is 0. Returns
 * the child's process id.
 */
int fork_and(struct calls *calls, int gate, const char *path, char *const *argv, char *const *envp)
{
	char byte;
	int child = calls->fork();

	if (child)
		return child;
	calls->read(gate, &byte, 1);
	if (path)
		calls->execve(path, argv, envp);
	calls->exit(path ? 1 : 0);
	return 0;
}
