import { Buffer } from "./globals.ts";
import { bufferOf } from "./view.ts";

const { allocUnsafeSlow } = Buffer;
const PlainBytes = Uint8Array;

/**
 * Allocates memory without filling it with zeros: it holds whatever the process last had there. Only what has been
 * written since may be shown to the program.
 */
export function uninitialized(sizeBytes: number): Uint8Array {
  return new PlainBytes(bufferOf(allocUnsafeSlow(sizeBytes)));
}
