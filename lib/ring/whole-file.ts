/**
 * Reads all of a file's content from its own position on, in pieces. As with FileHandle, other operations may run
 * between two pieces.
 */
import { Buffer, process } from "../base/globals.ts";
import { fileTooLarge } from "../errors/node.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { native } from "../uring/native.ts";
import { transferMemory } from "./transfer-memory.ts";

const SEEK_CUR = 1;

/**
 * Maximum size of a piece, in bytes. Files without a size, such as files of /proc and pipes, are always read in pieces
 * of `unsizedPieceBytes`.
 */
const pieceBytes = 2 ** 20;
const unsizedPieceBytes = 65536;

/** Reads at the file's own position into memory that cannot move. Resolves to the number of bytes read. */
export type ReadPiece = (memory: Uint8Array) => Promise<number>;

export const largestBufferBytes = () => process.getBuiltinModule("node:buffer").constants.MAX_LENGTH;

const limitOf = (largestBytes: number) => (largestBytes === largestBufferBytes() ? undefined : "the limit");

/**
 * Reads the content from the file's own position on. It needs memory for only one copy of the content.
 * @param head - content before the file's own position that was read already, and begins the result
 * @param largestBytes - the most that there may be
 * @throws RangeError ERR_FS_FILE_TOO_LARGE: the content is larger. If the file has a size, this is thrown before
 * anything is read.
 */
export async function readWhole(
  file: OpenFile,
  sizeBytes: number,
  read: ReadPiece,
  head: Uint8Array = new Uint8Array(),
  largestBytes = largestBufferBytes(),
): Promise<Buffer> {
  // Start from the file's own position, or from 0 if it has none. Other operations may move the position on meanwhile,
  // so this is the most that there can be, unless the file grows.
  const expectedBytes =
    head.length + Math.max(0, sizeBytes - Math.max(0, Number(native().fileSeek(file.fd, 0, SEEK_CUR))));
  if (expectedBytes > largestBytes) throw fileTooLarge(sizeBytes, largestBytes, limitOf(largestBytes));
  const { positionBytes } = file;
  const aligned = (bytes: number) => Math.ceil(bytes / positionBytes) * positionBytes;
  // Ask for one byte more than expected: a read that returns less marks the end. For a file without a size, only a read
  // of 0 bytes marks the end.
  let piece = transferMemory(
    aligned(sizeBytes === 0 ? unsizedPieceBytes : Math.min(expectedBytes - head.length + 1, pieceBytes)),
    file,
  );
  let content: Buffer = Buffer.allocUnsafeSlow(expectedBytes);
  content.set(head);
  for (let filledBytes = head.length; ; ) {
    const leftBytes = expectedBytes - filledBytes;
    const hasGrown = leftBytes < 0;
    if (hasGrown && piece.length < unsizedPieceBytes) piece = transferMemory(aligned(unsizedPieceBytes), file);
    const wantedBytes = sizeBytes === 0 || hasGrown ? piece.length : Math.min(piece.length, aligned(leftBytes + 1));
    const bytesRead = await read(piece.subarray(0, wantedBytes));
    const endBytes = filledBytes + bytesRead;
    if (endBytes > largestBytes) throw fileTooLarge(endBytes, largestBytes, limitOf(largestBytes));
    if (endBytes > content.length)
      content = grown(content, filledBytes, Math.min(largestBytes, Math.max(endBytes, 2 * content.length)));
    content.set(piece.subarray(0, bytesRead), filledBytes);
    filledBytes = endBytes;
    // With O_DIRECT, a read that stops at an unaligned position has reached the end, and reading cannot continue from
    // there. Data appended since then is not read.
    const isEnd = bytesRead === 0 || bytesRead % positionBytes !== 0;
    if (isEnd || (sizeBytes > 0 && filledBytes >= expectedBytes && bytesRead < wantedBytes))
      return trimmed(content, filledBytes);
  }
}

function grown(content: Buffer, filledBytes: number, sizeBytes: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(sizeBytes);
  larger.set(content.subarray(0, filledBytes));
  return larger;
}

/** Cuts off the unfilled rest. If more than half is unfilled, copies the content so that the memory can be freed. */
function trimmed(content: Buffer, filledBytes: number): Buffer {
  return 2 * filledBytes < content.length ? grown(content, filledBytes, filledBytes) : content.subarray(0, filledBytes);
}
