/** Opens the two files of a copy. Nothing that is not a regular file is copied, and no FIFO makes an open wait. */
import { UringError } from "../errors/uring-error.ts";
import * as operations from "../requests/builders.ts";
import { describe, isSeekable } from "../requests/descriptor.ts";
import { OpenFile } from "../requests/open-file.ts";
import { O_CREAT, O_EXCL, O_NONBLOCK, O_WRONLY } from "../requests/open-flags.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { isServed } from "../requests/served-mounts.ts";
import { STATX_TYPE } from "../uring/uapi.ts";
import { type FileStatus, statusOf } from "./status.ts";

const fileType = 0o170000;
const folder = 0o040000;
const regularFile = 0o100000;
const ownersPermissions = 0o700;

/** The paths of a copy, under the names that its errors use. */
export interface Paths {
  readonly path: string;
  readonly destination: string;
}

/** An open regular file, with its metadata. */
export interface Opened {
  readonly file: OpenFile;
  readonly status: FileStatus;
}

function checkRegular(paths: Paths, which: keyof Paths, mode: number): void {
  const type = mode & fileType;
  if (type === folder) throw new UringError("EISDIR", "open", paths);
  if (type !== regularFile) throw notRegular(paths, which);
}

function notRegular(paths: Paths, which: keyof Paths): UringError {
  return new UringError("EINVAL", "open", {
    ...paths,
    message: `the ${which === "path" ? "source" : which} is not a regular file`,
  });
}

function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof UringError && codes.includes(error.code);
}

/**
 * Closes a file. No request of the copy uses it any more. A ring that is closing closes it.
 * @throws UringError: the error of the last write, on some network file systems
 */
export async function close(requests: RequestQueue, file: OpenFile): Promise<void> {
  if (file.closing) return;
  file.closing = true;
  await (requests.closed ? requests.close() : requests.closeFile(file.fd, file.entry));
}

/**
 * Opens one of the two files and requires that it is a regular file. The open does not wait for the other end of a
 * FIFO, so that the descriptor can be examined.
 * @param isCached - fail with EAGAIN if the kernel cannot open the file at once
 */
export async function openRegular(
  requests: RequestQueue,
  paths: Paths,
  which: keyof Paths,
  flags: number,
  mode = 0,
  isCached = false,
): Promise<Opened> {
  const path = paths[which];
  if (path === "") throw new UringError("ENOENT", "open", paths);
  const openWith = (some: number) =>
    requests.run(() =>
      isCached ? operations.openCached(path, some) : operations.open(path, some, mode, false, isServed(path)),
    );
  const { fd, fileEntry, openedWith } = await openWith(flags | O_NONBLOCK).catch(async (error: unknown) => {
    if (hasCode(error, "ENXIO")) throw notRegular(paths, which); // a FIFO without a reader, a socket or a device
    if (isCached || !hasCode(error, "EAGAIN")) throw error;
    // Another process has a lease on the file, and gets time to give it up.
    checkRegular(paths, which, (await requests.run(() => operations.statx(path, STATX_TYPE, 0))).mode);
    return await openWith(flags);
  });
  const descriptor = describe(fd);
  const file = new OpenFile(fd, fileEntry, path, openedWith, undefined, isSeekable(fd, descriptor), descriptor);
  return await examined(requests, paths, which, file);
}

/** Requires that an open file is regular. Otherwise closes it. */
export async function examined(
  requests: RequestQueue,
  paths: Paths,
  which: keyof Paths,
  file: OpenFile,
): Promise<Opened> {
  try {
    const status = await statusOf(requests, file);
    checkRegular(paths, which, status.mode);
    return { file, status };
  } catch (error) {
    await close(requests, file);
    throw error;
  }
}

/**
 * Opens the destination, and reports whether this created it. A new file is accessible only to its owner until the copy
 * is complete.
 * @param flags - more flags for open(2)
 */
export async function openDestination(
  requests: RequestQueue,
  paths: Paths,
  permissions: number,
  isExclusive: boolean,
  flags: number,
): Promise<Opened & { readonly created: boolean }> {
  const open = async (created: boolean, some: number, isCached = false) => ({
    created,
    ...(await openRegular(
      requests,
      paths,
      "destination",
      O_WRONLY | flags | some,
      permissions & ownersPermissions,
      isCached,
    )),
  });
  // A server may keep the kernel waiting, also for a path that the kernel has in its cache.
  if (!isExclusive && !isServed(paths.destination)) {
    try {
      return await open(false, 0, true);
    } catch (error) {
      // There is no file, or the kernel would have to look for it, in which case it is quicker to try to create it.
      if (!hasCode(error, "EAGAIN", "ENOENT", "ENOTDIR", "EINVAL")) throw error;
    }
  }
  try {
    return await open(true, O_CREAT | O_EXCL);
  } catch (error) {
    if (isExclusive || !hasCode(error, "EEXIST")) throw error;
  }
  // Without O_EXCL: the name may be a dangling symbolic link, and then the open creates the link's target.
  return await open(false, O_CREAT);
}
