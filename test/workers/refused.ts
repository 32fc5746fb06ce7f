/** Makes a ring on a machine that refuses it, and posts the error. */
import { RawRing, UringError } from "bun-uring";

declare const self: Worker;

try {
  new RawRing();
} catch (error) {
  if (!(error instanceof UringError)) throw error;
  self.postMessage({ code: error.code, hint: error.hint });
}
process.exit();
