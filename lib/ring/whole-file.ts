/** All of a file's content, read or written from its own position on, in pieces: others may have their turn between two of them, as with FileHandle. */
import { Buffer, process } from "../base/globals.ts";
import { fileTooLarge } from "../errors/node.ts";
import type { OpenFile } from "../requests/open-file.ts";
import { native } from "../uring/native.ts";
import { transferMemory } from "./transfer-memory.ts";

const SEEK_CUR = 1;

/** Bytes of a piece that is read, at most; of what has no size, as a file of /proc or a pipe, always so many. */
const pieceBytes = 2 ** 20;
const unsizedPieceBytes = 65536;

/** Reads at the file's own position, into memory that cannot move. */
export type ReadPiece = (memory: Uint8Array) => Promise<number>;

/**
 * The content from the file's own position on, in memory of once its size.
 * @throws RangeError ERR_FS_FILE_TOO_LARGE: no Buffer is so large; before anything is read, where the file has a size
 */
export async function readWhole(file: OpenFile, sizeBytes: number, read: ReadPiece): Promise<Buffer> {
  const largestBytes = process.getBuiltinModule("node:buffer").constants.MAX_LENGTH;
  // Where it stands, or 0: others may move it on meanwhile, so this is how much there may be, and no more.
  const expectedBytes = Math.max(0, sizeBytes - Math.max(0, Number(native().fileSeek(file.fd, 0, SEEK_CUR))));
  if (expectedBytes > largestBytes) throw fileTooLarge(sizeBytes, largestBytes);
  const { positionBytes } = file;
  const aligned = (bytes: number) => Math.ceil(bytes / positionBytes) * positionBytes;
  // One byte more than there seems to be: that there is none is the end. Of what has no size only a read of nothing is.
  let piece = transferMemory(aligned(sizeBytes === 0 ? unsizedPieceBytes : Math.min(expectedBytes + 1, pieceBytes)), file);
  let content: Buffer = Buffer.allocUnsafeSlow(expectedBytes);
  for (let filledBytes = 0; ; ) {
    const leftBytes = expectedBytes - filledBytes;
    const hasGrown = leftBytes < 0;
    if (hasGrown && piece.length < unsizedPieceBytes) piece = transferMemory(aligned(unsizedPieceBytes), file);
    const wantedBytes = sizeBytes === 0 || hasGrown ? piece.length : Math.min(piece.length, aligned(leftBytes + 1));
    const bytesRead = await read(piece.subarray(0, wantedBytes));
    const endBytes = filledBytes + bytesRead;
    if (endBytes > largestBytes) throw fileTooLarge(endBytes, largestBytes);
    if (endBytes > content.length) content = grown(content, filledBytes, Math.min(largestBytes, Math.max(endBytes, 2 * content.length)));
    content.set(piece.subarray(0, bytesRead), filledBytes);
    filledBytes = endBytes;
    // Where O_DIRECT cannot go on from, the end was: what has grown behind it since comes too late.
    const isEnd = bytesRead === 0 || bytesRead % positionBytes !== 0;
    if (isEnd || (sizeBytes > 0 && filledBytes >= expectedBytes && bytesRead < wantedBytes)) return trimmed(content, filledBytes);
  }
}

function grown(content: Buffer, filledBytes: number, sizeBytes: number): Buffer {
  const larger = Buffer.allocUnsafeSlow(sizeBytes);
  larger.set(content.subarray(0, filledBytes));
  return larger;
}

/** Without what was not filled, where that is most of it. */
function trimmed(content: Buffer, filledBytes: number): Buffer {
  return 2 * filledBytes < content.length ? grown(content, filledBytes, filledBytes) : content.subarray(0, filledBytes);
}
