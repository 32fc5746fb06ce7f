/** Files for tests, with known and with random content. */
import { randomFillSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that is gone at the end of the scope. On the disk, not in memory: O_DIRECT has to mean something. */
export class Folder implements Disposable {
  readonly path = mkdtempSync(join(process.env["BUN_URING_TEST_FOLDER"] ?? tmpdir(), "bun-uring-"));

  /** Writes a file of random bytes. */
  random(name: string, sizeBytes: number): { path: string; content: Buffer } {
    const content = Buffer.alloc(sizeBytes);
    randomFillSync(content);
    return { path: this.write(name, content), content };
  }

  write(name: string, content: string | Uint8Array): string {
    const path = join(this.path, name);
    writeFileSync(path, content);
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
