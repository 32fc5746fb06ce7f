/** Makes a ring where that is refused, and posts what was thrown. */
import { RawRing, UringError } from "bun-uring";

declare const self: Worker;

try {
  new RawRing();
} catch (error) {
  if (!(error instanceof UringError)) throw error;
  self.postMessage({ code: error.code, hint: error.hint });
}
process.exit();
