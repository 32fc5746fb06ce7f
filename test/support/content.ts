/** Content that tells where it is from. */

/** Bytes of which each word of 32 bits is its own number, from `first` on. */
export function numbered(sizeBytes: number, first = 0): Uint8Array {
  return new Uint8Array(Uint32Array.from({ length: Math.ceil(sizeBytes / 4) }, (_, word) => first + word).buffer, 0, sizeBytes);
}
