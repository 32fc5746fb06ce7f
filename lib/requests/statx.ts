/** The result of statx(2), read from its struct. */

/** The size of struct statx in bytes. */
export const statxBytes = 256;

/**
 * A file's metadata under statx(2)'s own names, without the prefix. 64-bit numbers are bigints. Times are nanoseconds
 * since 1970.
 */
export interface Statx {
  /** STATX_* bits: which of these fields the file system filled in. */
  readonly mask: number;
  /** The preferred size of transfers, in bytes. */
  readonly blksize: number;
  /** STATX_ATTR_* bits. */
  readonly attributes: bigint;
  /** The number of hard links. */
  readonly nlink: number;
  /** The owner's user id. */
  readonly uid: number;
  /** The owner's group id. */
  readonly gid: number;
  /** Type and permissions, as in `fs.constants.S_IF*`. */
  readonly mode: number;
  /** The inode number. */
  readonly ino: bigint;
  /** In bytes. */
  readonly size: bigint;
  /** The number of allocated blocks of 512 bytes. */
  readonly blocks: bigint;
  /** Which STATX_ATTR_* bits the file system supports. */
  readonly attributesMask: bigint;
  /** Last access. */
  readonly atimeNs: bigint;
  /** Creation; 0 if the file system does not record it. */
  readonly btimeNs: bigint;
  /** Last change of the metadata. */
  readonly ctimeNs: bigint;
  /** Last change of the content. */
  readonly mtimeNs: bigint;
  /** For a device file: the major number of the device that it represents. */
  readonly rdevMajor: number;
  /** For a device file: the minor number of the device that it represents. */
  readonly rdevMinor: number;
  /** The major number of the device that contains the file. */
  readonly devMajor: number;
  /** The minor number of the device that contains the file. */
  readonly devMinor: number;
  /** The id of the mount that contains the file. */
  readonly mntId: bigint;
  /**
   * The alignment of memory that O_DIRECT requires, in bytes; 0 if O_DIRECT is not possible, or the mask lacks
   * STATX_DIOALIGN. Since Linux 6.1.
   */
  readonly dioMemAlign: number;
  /** The alignment of positions and lengths that O_DIRECT requires, in bytes. */
  readonly dioOffsetAlign: number;
}

/** A device number as stat(2) encodes it. */
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
