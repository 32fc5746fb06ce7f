/**
 * Reads all of a file's content from its own position on, in pieces. As with FileHandle, other operations may run
 * between two pieces.
 */
import { Buffer, process } from "../base/globals.ts";
import { fileTooLarge } from "../errors/node.ts";
import * as operations from "../requests/builders.ts";
import type { OpenFile } from "../requests/open-file.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { native } from "../uring/native.ts";
import { transferMemory } from "./transfer-memory.ts";

const SEEK_CUR = 1;

/**
 * Maximum size of a piece, in bytes. Files without a size, such as files of /proc and pipes, are always read in pieces
 * of `unsizedPieceBytes`.
 */
const pieceBytes = 2 ** 20;
const unsizedPieceBytes = 65536;

export const largestBufferBytes = () => process.getBuiltinModule("node:buffer").constants.MAX_LENGTH;

const limitOf = (largestBytes: number) => (largestBytes === largestBufferBytes() ? undefined : "options.maxBytes");

/** What to read of a file. */
export interface WholeRead {
  /**
   * Content before that position that was read already, and begins the result. It is copied before `readWhole`
   * returns its promise. Default: nothing.
   */
  readonly head?: Uint8Array | undefined;
  /** Where to go on reading, in bytes. Default: the file's own position. */
  readonly position?: number | undefined;
  /** The most bytes that there may be. Default: the size of the largest Buffer. */
  readonly largestBytes?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads the content from a position on. It needs memory for only one copy of the content.
 * @param sizeBytes - the file's size, or 0 if it has none
 * @throws RangeError ERR_FS_FILE_TOO_LARGE: the content is too large. If the file has a size, this is thrown before
 * anything is read.
 */
export async function readWhole(
  requests: RequestQueue,
  file: OpenFile,
  sizeBytes: number,
  { head = new Uint8Array(), position, largestBytes = largestBufferBytes(), signal }: WholeRead,
): Promise<Buffer> {
  // Start from the file's own position, or from 0 if it has none. Other operations may move the position on meanwhile,
  // so this is the most that there can be, unless the file grows.
  const beganAt = position ?? Math.max(0, Number(native().fileSeek(file.fd, 0, SEEK_CUR)));
  const expectedBytes = head.length + Math.max(0, sizeBytes - beganAt);
  if (expectedBytes > largestBytes) throw fileTooLarge(sizeBytes, largestBytes, limitOf(largestBytes));
  const read = (into: ArrayBufferLike, offset: number, length: number, filledBytes: number) => {
    const at = position === undefined ? undefined : position + filledBytes - head.length;
    return requests.run(() => operations.ownTransfer("read", file, into, offset, length, at), signal);
  };

  // The kernel reads into the memory of the result, which nobody else has yet. With O_DIRECT it would have to be
  // aligned. The ArrayBuffer of a Buffer stays where it is from the moment it was asked for.
  let content: Buffer = Buffer.allocUnsafeSlow(expectedBytes);
  const memory = content.buffer;
  content.set(head);
  let filledBytes = head.length;
  while (filledBytes < expectedBytes && file.positionBytes === 1) {
    const bytesRead = await read(memory, filledBytes, Math.min(pieceBytes, expectedBytes - filledBytes), filledBytes);
    filledBytes += bytesRead;
    if (bytesRead === 0) return trimmed(content, filledBytes);
  }

  // See whether there is more. A file without a size says so only by a read of 0 bytes, any other normally does so at
  // once.
  const { positionBytes } = file;
  const aligned = (bytes: number) => Math.ceil(bytes / positionBytes) * positionBytes;
  const unread = expectedBytes - filledBytes;
  let piece = transferMemory(aligned(sizeBytes === 0 ? unsizedPieceBytes : Math.min(unread + 1, pieceBytes)), file);
  for (;;) {
    const leftBytes = expectedBytes - filledBytes;
    const hasGrown = leftBytes < 0;
    if (hasGrown && piece.length < unsizedPieceBytes) piece = transferMemory(aligned(unsizedPieceBytes), file);
    const wantedBytes = sizeBytes === 0 || hasGrown ? piece.length : Math.min(piece.length, aligned(leftBytes + 1));
    const bytesRead = await read(piece.buffer, piece.byteOffset, wantedBytes, filledBytes);
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
