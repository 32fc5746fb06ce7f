/** What the kernel allows at most, and its sizes of pages. */

/** Entries of a ring's buffer table: IORING_MAX_REG_BUFFERS. */
export const largestTable = 16384;

/** Parts of a vectored transfer: UIO_MAXIOV. */
export const largestVector = 1024;

/** Bytes of one transfer: MAX_RW_COUNT. */
export const largestTransferBytes = 0x7ffff000;

export const pageBytes = 4096;
export const hugePageBytes = 2 ** 21;
