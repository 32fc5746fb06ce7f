/**
 * Makes a ring, for which the shim is compiled, closes it, and stays until it is terminated. It shows what each thread
 * that uses the library costs.
 */
import { RawRing } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", () => {
  new RawRing().close();
  self.postMessage("compiled");
});
