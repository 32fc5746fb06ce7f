/** Folders and files for tests, with known or random content. */
import { randomFillSync } from "node:crypto";
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Where folders are made: in the test folder, which should be on a disk so that O_DIRECT means something, or in memory.
 */
export const places = { disk: process.env["BUN_URING_TEST_FOLDER"] ?? tmpdir(), memory: "/dev/shm" } as const;
export type Place = keyof typeof places;

const TMPFS_MAGIC = 0x01021994;
const RAMFS_MAGIC = 0x858458f6;

/** Whether the place exists and is on a file system of its kind. */
export function hasPlace(place: Place): boolean {
  try {
    const { type } = statfsSync(places[place]);
    return place === "memory" ? type === TMPFS_MAGIC : type !== TMPFS_MAGIC && type !== RAMFS_MAGIC;
  } catch {
    return false;
  }
}

/** A folder that is removed at the end of the scope. */
export class Folder implements Disposable {
  readonly path: string;

  constructor(place: Place = "disk") {
    this.path = mkdtempSync(join(places[place], "bun-uring-"));
  }

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
