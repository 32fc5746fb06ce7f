/** Has the shim compiled, makes a ring and closes it, and stays until it is ended: what each thread that uses the library costs. */
import { RawRing } from "bun-uring";

declare const self: Worker;

self.addEventListener("message", () => {
  new RawRing().close();
  self.postMessage("compiled");
});
