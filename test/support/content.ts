/** Content that shows which position of a file it is from. */

/** Bytes in which each 32-bit word is its own index, counted from `first`. */
export function numbered(sizeBytes: number, first = 0): Uint8Array {
  return new Uint8Array(
    Uint32Array.from({ length: Math.ceil(sizeBytes / 4) }, (_, word) => first + word).buffer,
    0,
    sizeBytes,
  );
}
