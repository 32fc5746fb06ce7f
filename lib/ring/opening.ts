/** Opens a file for a ring. As with open(2), opening a FIFO waits for its other end. */
import { onAbort, reasonOf, Stop, throwIfAborted } from "../base/abort.ts";
import { Promise } from "../base/globals.ts";
import { ECANCELED } from "../errors/errno.ts";
import { UringError } from "../errors/uring-error.ts";
import * as operations from "../requests/builders.ts";
import { describe, isSeekable } from "../requests/descriptor.ts";
import { type Alignment, OpenFile } from "../requests/open-file.ts";
import { O_ACCMODE, O_DIRECT, O_NONBLOCK, O_PATH, O_RDONLY } from "../requests/open-flags.ts";
import { pathError } from "../requests/path-lanes.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { isServed } from "../requests/served-mounts.ts";
import { IOSQE_ASYNC, STATX_DIOALIGN } from "../uring/uapi.ts";

const POLLIN = 1;

/** A descriptor that an open has returned, and what it was asked for. */
interface Opened {
  readonly fd: number;
  readonly fileEntry: number;
  readonly openedWith: number;
  readonly text: string;
}

/** What `operations.open` takes, checked by it. */
export interface OpenArguments {
  readonly path: string | URL;
  readonly flags: string | number | null | undefined;
  readonly mode: number | undefined;
  readonly direct: boolean;
  readonly signal: AbortSignal | undefined;
}

/**
 * Opens a file, and finds out what kind of file it is. The open may be an operation of a chain.
 *
 * The kernel tries the open at once, without blocking, which most often saves a worker thread. But this attempt opens a
 * FIFO as O_NONBLOCK does: without a reader it fails with ENXIO, and without a writer it succeeds. In the first case a
 * worker opens it, in the second the caller waits for a writer. The next operation of a chain would not wait, so there
 * a worker opens every file. So it does where a file system's server may keep the attempt waiting.
 * @param prepare - checks the arguments
 * @param syscall - for error messages: "open" for the functions that are named for node:fs's, whose errors are its errors
 * @throws if a chain is being built: what `prepare` throws, and other errors before the open is started
 */
export function openFile(requests: RequestQueue, prepare: () => OpenArguments, syscall = "openat"): Promise<OpenFile> {
  let given: OpenArguments | undefined;
  const open = (byWorker: boolean): Promise<Opened> =>
    requests.run(() => {
      given ??= prepare();
      const { path, flags, mode, direct, signal } = given;
      if (path === "" && syscall === "open") throw new UringError("ENOENT", syscall, { path });
      const request = operations.open(path, flags, mode, direct, byWorker);
      return { ...request, flags: isServed(request.path ?? "") ? IOSQE_ASYNC : (request.flags ?? 0), syscall, signal };
    });
  const isInChain = requests.isBuildingChain;
  const opening = open(isInChain);
  const opened = isInChain
    ? opening
    : opening.catch((error: unknown) => {
        const isRefused = error instanceof UringError && error.code === "ENXIO";
        if (!isRefused) throw error;
        return open(true); // a FIFO; a socket, or a device without a driver, fails again
      });
  return opened.then((file) =>
    fileOf(requests, file, !isInChain, given?.signal).catch((error: unknown) => {
      const isClosed = requests.closed && error instanceof UringError && error.code === "ECANCELED";
      throw isClosed ? pathError(ECANCELED, syscall, file.text, requests) : error; // not of the poll
    }),
  );
}

/** Makes the file of a new descriptor. Closes the descriptor if that fails. */
async function fileOf(
  requests: RequestQueue,
  { fd, fileEntry, openedWith, text }: Opened,
  wasTried: boolean,
  signal: AbortSignal | undefined,
): Promise<OpenFile> {
  try {
    const descriptor = describe(fd);
    if (wasTried && descriptor.fifo && waitsForWriter(openedWith)) await writerOf(requests, fd, openedWith, signal);
    const alignment = (openedWith & O_DIRECT) === 0 ? undefined : await alignmentOf(requests, fd, signal);
    return new OpenFile(fd, fileEntry, text, openedWith, alignment, isSeekable(fd, descriptor), descriptor);
  } catch (error) {
    if (!requests.closed) await requests.closeFile(fd, fileEntry);
    throw error;
  }
}

function waitsForWriter(openedWith: number): boolean {
  return (openedWith & O_ACCMODE) === O_RDONLY && (openedWith & (O_NONBLOCK | O_PATH)) === 0;
}

/**
 * Waits until a FIFO, open for reading, has a writer or had one since. A worker opens the same FIFO again and blocks
 * until it has a writer. A writer may have come and gone before that, so the first descriptor is polled as well: the
 * kernel reports what the writer has left in the FIFO, and that it has gone.
 */
async function writerOf(
  requests: RequestQueue,
  fd: number,
  openedWith: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  throwIfAborted(signal);
  const stop = new Stop();
  const forget = signal === undefined ? undefined : onAbort(signal, () => stop.abort(reasonOf(signal)));
  const poll = requests.run(() => operations.poll(fd, POLLIN), stop.signal);
  const again = requests.run(
    // Under this name, it is the same file even if it was renamed since.
    () => operations.open(`/proc/self/fd/${fd}`, openedWith, undefined, false, true),
    stop.signal,
  );
  const opened = again.then(
    (second) => requests.closeFile(second.fd, second.fileEntry),
    async () => void (await poll), // without /proc, only the poll is left
  );
  try {
    await Promise.race([poll, opened]);
  } finally {
    forget?.();
    stop.abort();
    await Promise.allSettled([poll, opened]);
  }
}

/**
 * The alignment that O_DIRECT requires for a file that was just opened. Undefined if the kernel does not report it.
 */
async function alignmentOf(
  requests: RequestQueue,
  fd: number,
  signal: AbortSignal | undefined,
): Promise<Alignment | undefined> {
  const { dioMemAlign: memoryBytes, dioOffsetAlign: positionBytes } = await requests.run(
    () => operations.statx(fd, STATX_DIOALIGN, 0),
    signal,
  );
  return memoryBytes === 0 ? undefined : { memoryBytes, positionBytes };
}
