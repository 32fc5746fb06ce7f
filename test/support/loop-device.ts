/** A read-only block device over a file, detached at the end of the scope. It needs root. */
import { Folder } from "./files.ts";

export class LoopDevice implements Disposable {
  /** The path of the device. */
  readonly path: string;

  /** @param file - the path of the file behind the device */
  constructor(file: string) {
    const { stdout, success } = Bun.spawnSync(["losetup", "--find", "--show", "--read-only", file], {
      stderr: "ignore",
    });
    if (!success) throw new Error("losetup failed");
    this.path = stdout.toString().trim();
  }

  [Symbol.dispose](): void {
    if (!Bun.spawnSync(["losetup", "--detach", this.path]).success)
      throw new Error(`${this.path} could not be detached`);
  }
}

/** Whether this process can make one. */
export function makesLoopDevices(): boolean {
  if (Bun.which("losetup") === null) return false;
  using folder = new Folder();
  try {
    using _device = new LoopDevice(folder.write("file", Buffer.alloc(65536)));
    return true;
  } catch {
    return false;
  }
}
