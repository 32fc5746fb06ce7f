/** What is behind a descriptor, as far as the kernel says without asking a file system's server: one that does not answer would stop the event loop. */

import { field, readProc } from "../base/machine.ts";
import { ESPIPE } from "../errors/errno.ts";
import { native } from "../uring/native.ts";
import { scratch } from "../uring/scratch.ts";
import { STATX_INO, STATX_MNT_ID, STATX_MNT_ID_UNIQUE, STATX_SIZE, STATX_TYPE } from "../uring/uapi.ts";
import { statxBytes } from "./statx.ts";

/** What a ring has to know of a file. */
export interface Descriptor {
  /** Transfers at its own position depend on each other: a regular file or a block device. */
  readonly ordered: boolean;
  /**
   * It has no file: an eventfd, an epoll, a timerfd. What the kernel queues for a ring while somebody writes to an eventfd it may signal to nobody (Linux 6.18), for the
   * ring's own eventfd cannot be signalled in there.
   */
  readonly anonymous: boolean;
  /**
   * Its file system is FUSE. There io_uring stops the event loop until the file system's server answers, repeats a file's last bytes where a read goes past the end,
   * and does not move the file's own position on: transfers go to the threads of node:fs.
   */
  readonly fuse: boolean;
}

const S_IFMT = 0o170000;
const S_IFREG = 0o100000;
const S_IFBLK = 0o060000;
const FUSE_SUPER_MAGIC = 0x65735546;
const SEEK_CUR = 1;

/** By mount: unique ids are never used again. */
const fuseMounts = new Map<bigint, boolean>();
const mostMounts = 1000;

/** By the mount's number and device: both may be another mount's later, which is then taken for what this was. */
const fuseNames = new Map<string, boolean>();

/** By the mount's line in /proc/self/mountinfo: before Linux 6.8, or where a filter refuses statmount(2). A file system with a block device is taken for none of FUSE's. */
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

function remembered<Key>(map: Map<Key, boolean>, key: Key, find: () => boolean): boolean {
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

/** What is behind an open descriptor; of one that is not open, nothing that matters. */
export function describe(fd: number): Descriptor {
  const { address, words, longs } = scratch(statxBytes);
  if (native().fileStatus(fd, STATX_TYPE | STATX_MNT_ID_UNIQUE, address) < 0) return { ordered: false, anonymous: false, fuse: false };
  const mask = words[0] ?? 0;
  const type = (words[7] ?? 0) & S_IFMT;
  const ordered = type === S_IFREG || type === S_IFBLK;
  const mount = (mask & STATX_MNT_ID_UNIQUE) === 0 ? undefined : longs[18];
  return { ordered, anonymous: type === 0, fuse: type === S_IFREG && isFuse(fd, mount) };
}

/** Whether it has positions. A pipe, a FIFO, a socket and a terminal have none, and io_uring ignores any that it is given for them. */
export function isSeekable(fd: number): boolean {
  return native().fileSeek(fd, 0, SEEK_CUR) !== ESPIPE;
}

/** Device and inode: descriptors that share a position have them in common. */
export function identityOf(fd: number): string {
  const { address, words, longs } = scratch(statxBytes);
  return native().fileStatus(fd, STATX_INO, address) < 0 ? "" : `${words[34]}:${words[35]}:${longs[4]}`;
}

/** A file's size in bytes, as the kernel has it now. */
export function knownSizeOf(fd: number): bigint {
  const { address, longs } = scratch(statxBytes);
  return native().fileStatus(fd, STATX_SIZE, address) < 0 ? 0n : (longs[5] ?? 0n);
}
