/**
 * What kind of file a descriptor refers to, as far as the kernel knows without asking a file system's server. A server
 * that does not answer would block the event loop.
 */

import { process } from "../base/globals.ts";
import { field, readProc } from "../base/machine.ts";
import { ESPIPE } from "../errors/errno.ts";
import { native } from "../uring/native.ts";
import { scratch } from "../uring/scratch.ts";
import { STATX_INO, STATX_MNT_ID, STATX_MNT_ID_UNIQUE, STATX_SIZE, STATX_TYPE, STATX_UID } from "../uring/uapi.ts";
import { statxBytes } from "./statx.ts";

/** What a ring needs to know about a file. */
export interface Descriptor {
  /** A FIFO or a pipe. */
  readonly fifo: boolean;
  readonly regular: boolean;
  /** A regular file or a block device: each transfer at its own position depends on the one before. */
  readonly ordered: boolean;
  /**
   * There is no file: an eventfd, an epoll, a timerfd. When someone writes to an eventfd, the kernel may queue work for
   * a ring without signalling the ring's own eventfd (Linux 6.18): it cannot signal an eventfd from within a write to
   * one.
   */
  readonly anonymous: boolean;
  /**
   * The file system is FUSE. For these files io_uring blocks the event loop until the file system's server answers,
   * repeats a file's last bytes if a read goes past the end, and does not move the file's own position. Transfers
   * therefore go to the threads of node:fs.
   */
  readonly fuse: boolean;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFBLK = 0o060000;
const S_IFIFO = 0o010000;
const FUSE_SUPER_MAGIC = 0x65735546;
const SEEK_CUR = 1;

/** Known mounts, by unique id. Unique ids are never reused. */
const fuseMounts = new Map<bigint, boolean>();
const mostMounts = 1000;

/**
 * Known mounts, by the mount's id and device number. Both may be reused by another mount, which is then taken for the
 * old one.
 */
const fuseNames = new Map<string, boolean>();

/**
 * Finds out from the mount's line in /proc/self/mountinfo. Used before Linux 6.8, or where a seccomp filter refuses
 * statmount(2). A file system on a block device is assumed not to be FUSE.
 */
function isFuseByName(fd: number): boolean {
  const { address, words, longs } = scratch(statxBytes);
  if (native().fileStatus(fd, STATX_MNT_ID, address) < 0) return false;
  const [major, minor, mount] = [words[34], words[35], longs[18]];
  if (major !== 0) return false;
  return remembered(fuseNames, `${mount}:${minor}`, () => {
    const type = field(readProc("/proc/self/mountinfo"), new RegExp(`^${mount} .* - (\\S+)`, "m"));
    return type !== undefined && /^(fuse|virtiofs)/.test(type);
  });
}

/** Finds something out about a mount, unless it is known. */
export function remembered<Key>(map: Map<Key, boolean>, key: Key, find: () => boolean): boolean {
  let found = map.get(key);
  if (found === undefined) {
    found = find();
    if (map.size === mostMounts) map.clear();
    map.set(key, found);
  }
  return found;
}

function isFuse(fd: number, uniqueMount: bigint | undefined): boolean {
  if (uniqueMount === undefined) return isFuseByName(fd);
  return remembered(fuseMounts, uniqueMount, () => {
    const magic = native().mountMagic(uniqueMount);
    return magic < 0 ? isFuseByName(fd) : magic === FUSE_SUPER_MAGIC;
  });
}

const describedBits = STATX_TYPE | STATX_MNT_ID_UNIQUE | STATX_SIZE | STATX_UID;

/** What `describe` has found out besides. */
interface Described extends Descriptor {
  readonly sizeBytes: number;
  /** The owner. */
  readonly uid: number;
}

/** Whether this is a regular file or a FIFO of another user than the one that this process acts for. */
export function isForeign({ regular, fifo, uid }: Described): boolean {
  return (regular || fifo) && uid !== process.geteuid?.();
}

/** Describes the file of an open descriptor. If the descriptor is not open, all properties are false or 0. */
export function describe(fd: number): Described {
  const { address, words, longs } = scratch(statxBytes);
  if (native().fileStatus(fd, describedBits, address) < 0)
    return { fifo: false, regular: false, ordered: false, anonymous: false, fuse: false, sizeBytes: 0, uid: 0 };
  const mask = words[0] ?? 0;
  const type = (words[7] ?? 0) & S_IFMT;
  const ordered = type === S_IFREG || type === S_IFBLK;
  const mount = (mask & STATX_MNT_ID_UNIQUE) === 0 ? undefined : longs[18];
  const sizeBytes = Number(longs[5]);
  const uid = (words[5] ?? 0) >>> 0;
  return {
    fifo: type === S_IFIFO,
    regular: type === S_IFREG,
    ordered,
    anonymous: type === 0,
    fuse: type === S_IFREG && isFuse(fd, mount),
    sizeBytes,
    uid,
  };
}

/**
 * Whether the descriptor has file positions. A pipe, a FIFO, a socket and a terminal have none, and io_uring ignores a
 * position given for one. A FUSE server may say that a file has none.
 */
export function isSeekable(fd: number, { ordered, fuse }: Descriptor): boolean {
  if (ordered && !fuse) return true;
  return native().fileSeek(fd, 0, SEEK_CUR) !== ESPIPE;
}

/** Device and inode. Descriptors that share a position have the same identity; the reverse need not hold. */
export function identityOf(fd: number): string {
  const { address, words, longs } = scratch(statxBytes);
  return native().fileStatus(fd, STATX_INO, address) < 0 ? "" : `${words[34]}:${words[35]}:${longs[4]}`;
}

/** A file's size in bytes, as the kernel knows it now. */
export function knownSizeOf(fd: number): bigint {
  const { address, longs } = scratch(statxBytes);
  return native().fileStatus(fd, STATX_SIZE, address) < 0 ? 0n : (longs[5] ?? 0n);
}
