/** What statx(2) tells of a file, read from its struct. */

/** Bytes of struct statx. */
export const statxBytes = 256;

/** A file's metadata under statx(2)'s own names, without their prefix. 64-bit numbers are bigints; times are nanoseconds since 1970. */
export interface Statx {
  /** STATX_* bits: which of these the file system filled in. */
  readonly mask: number;
  /** The size of transfers that suits the file system, in bytes. */
  readonly blksize: number;
  /** STATX_ATTR_* bits. */
  readonly attributes: bigint;
  /** Hard links. */
  readonly nlink: number;
  /** The owner. */
  readonly uid: number;
  /** The owner's group. */
  readonly gid: number;
  /** Type and permissions, as in `fs.constants.S_IF*`. */
  readonly mode: number;
  /** The inode. */
  readonly ino: bigint;
  /** In bytes. */
  readonly size: bigint;
  /** Of 512 bytes. */
  readonly blocks: bigint;
  /** Which of STATX_ATTR_* the file system knows. */
  readonly attributesMask: bigint;
  /** Last access. */
  readonly atimeNs: bigint;
  /** Birth; 0 where the file system does not know. */
  readonly btimeNs: bigint;
  /** Last change of the metadata. */
  readonly ctimeNs: bigint;
  /** Last change of the content. */
  readonly mtimeNs: bigint;
  /** Of a device file: which device, its major number. */
  readonly rdevMajor: number;
  /** And its minor number. */
  readonly rdevMinor: number;
  /** The device that the file is on, its major number. */
  readonly devMajor: number;
  /** And its minor number. */
  readonly devMinor: number;
  /** The mount that the file is in. */
  readonly mntId: bigint;
  /** How O_DIRECT wants memory aligned, in bytes; 0 where it is not possible, or the mask lacks STATX_DIOALIGN. Since Linux 6.1. */
  readonly dioMemAlign: number;
  /** How O_DIRECT wants positions and lengths aligned, in bytes. */
  readonly dioOffsetAlign: number;
}

/** A device's number, as stat(2) has it. */
export function deviceNumber(major: number, minor: number): number {
  return ((major << 8) | (minor & 0xff) | ((minor & ~0xff) << 12)) >>> 0;
}

/** Reads a struct statx. */
export function parseStatx(memory: SharedArrayBuffer): Statx {
  const view = new DataView(memory);
  const u32 = (offset: number) => view.getUint32(offset, true);
  const u64 = (offset: number) => view.getBigUint64(offset, true);
  const timeNs = (offset: number) => view.getBigInt64(offset, true) * 1_000_000_000n + BigInt(u32(offset + 8));
  return {
    mask: u32(0),
    blksize: u32(4),
    attributes: u64(8),
    nlink: u32(16),
    uid: u32(20),
    gid: u32(24),
    mode: view.getUint16(28, true),
    ino: u64(32),
    size: u64(40),
    blocks: u64(48),
    attributesMask: u64(56),
    atimeNs: timeNs(64),
    btimeNs: timeNs(80),
    ctimeNs: timeNs(96),
    mtimeNs: timeNs(112),
    rdevMajor: u32(128),
    rdevMinor: u32(132),
    devMajor: u32(136),
    devMinor: u32(140),
    mntId: u64(144),
    dioMemAlign: u32(152),
    dioOffsetAlign: u32(156),
  };
}
