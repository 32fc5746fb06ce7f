/* fork(2) with nothing of JavaScript's in the child. Without headers and the C library, as the shim: what it calls is handed to it. */
struct calls {
	int (*fork)(void);
	long (*read)(int, void *, unsigned long);
	int (*execve)(const char *, char *const *, char *const *);
	void (*exit)(int);
};

/* The child waits until `gate` ends or brings something, then executes `path`; 0: ends. Returns the child's process id. */
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
