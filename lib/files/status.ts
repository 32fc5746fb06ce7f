/** What copies ask about open files, and change in them, without waiting for a thread where that cannot block. */
import { UringError } from "../errors/uring-error.ts";
import * as operations from "../requests/builders.ts";
import { type Descriptor, remembered } from "../requests/descriptor.ts";
import type { OpenFile } from "../requests/open-file.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { statxBytes } from "../requests/statx.ts";
import { fs, promised } from "../ring/file-tasks.ts";
import { native } from "../uring/native.ts";
import { scratch } from "../uring/scratch.ts";
import { STATX_BASIC_STATS, STATX_MNT_ID_UNIQUE } from "../uring/uapi.ts";

/** An open file's metadata. */
export interface FileStatus {
  /** Type and permissions. */
  readonly mode: number;
  readonly ino: bigint;
  readonly devMajor: number;
  readonly devMinor: number;
  readonly sizeBytes: number;
  /** The allocated blocks of 512 bytes. */
  readonly blocks: number;
  /** The unique id of the file's mount. 0 before Linux 6.8. */
  readonly mount: bigint;
  /** Whether the file system is on this machine, so that no call on the file waits for a server. */
  readonly isLocal: boolean;
}

/** File systems without a block device of their own that keep files on this machine. */
const localMagics: readonly number[] = [
  0x01021994, // tmpfs
  0x9123683e, // btrfs
  0x794c7630, // overlayfs
];

/** Known mounts, by unique id. Unique ids are never reused. */
const localMounts = new Map<bigint, boolean>();

function isLocalMount(mount: bigint): boolean {
  return remembered(localMounts, mount, () => localMagics.includes(Number(native().mountMagic(mount))));
}

/** What the kernel knows about a descriptor, without asking a server. */
export function knownStatus(fd: number, { fuse }: Descriptor): FileStatus {
  const { address, words, longs } = scratch(statxBytes);
  const result = native().fileStatus(fd, STATX_BASIC_STATS | STATX_MNT_ID_UNIQUE, address);
  if (result < 0) throw new UringError(result, "statx");
  const word = (index: number) => (words[index] ?? 0) >>> 0;
  const long = (index: number) => longs[index] ?? 0n;
  const mount = (word(0) & STATX_MNT_ID_UNIQUE) === 0 ? 0n : long(18);
  const devMajor = word(34);
  const status = {
    mode: word(7) & 0xffff,
    ino: long(4),
    devMajor,
    devMinor: word(35),
    sizeBytes: Number(long(5)),
    blocks: Number(long(6)),
    mount,
  };
  // A file on a block device is local, unless a FUSE server stands in between.
  return { ...status, isLocal: !fuse && (devMajor !== 0 || (mount !== 0n && isLocalMount(mount))) };
}

/** The metadata of an open file. A file system that is not local is asked by a request. */
export async function statusOf(requests: RequestQueue, file: OpenFile): Promise<FileStatus> {
  const known = knownStatus(file.fd, file);
  if (known.isLocal) return known;
  const { mode, ino, devMajor, devMinor, size, blocks } = await requests.run(() =>
    operations.statx(file, STATX_BASIC_STATS, 0),
  );
  return { ...known, mode, ino, devMajor, devMinor, sizeBytes: Number(size), blocks: Number(blocks) };
}

export function isSame(one: FileStatus, other: FileStatus): boolean {
  return one.ino === other.ino && one.devMajor === other.devMajor && one.devMinor === other.devMinor;
}

/**
 * The permission bits that a copy takes from its source: all except setuid and setgid, which would grant the rights of
 * the user who makes the copy.
 */
const copiedPermissions = 0o1777;
const allPermissions = 0o7777;

/** The permissions that a copy of this file gets. */
export function permissionsOf(source: FileStatus): number {
  return source.mode & copiedPermissions;
}

/** The permissions that a copy has until it is complete: those that both files have. */
export function narrowedTo(old: FileStatus, source: FileStatus): number {
  return old.mode & permissionsOf(source);
}

/** Errors of chmod for a file of another user, and on file systems without permissions. */
const noPermissions = ["EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL"];

function isNoPermission(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return noPermissions.some((one) => one === code);
}

/**
 * Changes the permissions of a local file, if they are others. If that is not possible, leaves them unchanged. Returns
 * other errors.
 */
export function setPermissionsNow(fd: number, mode: number, permissions: number): UringError | undefined {
  if ((mode & allPermissions) === permissions) return undefined;
  const result = native().fileMode(fd, permissions);
  if (result >= 0) return undefined;
  const error = new UringError(result, "fchmod");
  return isNoPermission(error) ? undefined : error;
}

/** Changes the permissions of an open file. If that is not possible, leaves them unchanged. */
export async function setPermissions(
  requests: RequestQueue,
  file: OpenFile,
  { isLocal }: FileStatus,
  permissions: number,
): Promise<void> {
  if (isLocal) {
    file.assertUsable("fchmod");
    const error = setPermissionsNow(file.fd, -1, permissions);
    if (error !== undefined) throw error;
    return;
  }
  try {
    await requests.outside(file, "fchmod", (fd) => promised<void>((done) => fs().fchmod(fd, permissions, done)));
  } catch (error) {
    if (!isNoPermission(error)) throw error;
  }
}
