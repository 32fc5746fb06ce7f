/** Destinations of copies, for as long as copies of this thread write to them. */
import { process } from "../base/globals.ts";
import { deviceNumber } from "../requests/statx.ts";
import type { FileStatus } from "./status.ts";

/**
 * Used for lstat and unlink, because the ring may be closed by then, and node:fs needs no new descriptor for them.
 * Loaded on first use, because importing it takes a while.
 */
const files = () => process.getBuiltinModule("node:fs/promises");

/**
 * A destination path, for as long as copies of this thread write to it. Copies to the same path must coordinate: a
 * program that retries after an abort may open the very file that the aborted copy is about to remove.
 */
export interface Target {
  readonly path: string;
  users: number;
  /** The file that one of the copies has created, as long as no copy has succeeded. */
  unfinished: FileStatus | undefined;
  /** Set while the last copy, after all have failed, removes the file. New copies wait for it. */
  removing: Promise<void> | undefined;
}

const targets = new Map<string, Target>();

/**
 * Joins the copies that write to this path. If a file is being removed there, waits for that first. No await may
 * separate the loop's last check from `users++`, or leaveTarget could remove the target in between.
 */
export async function joinTarget(given: string): Promise<Target> {
  const path = process.getBuiltinModule("node:path").resolve(given);
  let target = targets.get(path);
  while (target?.removing !== undefined) {
    await target.removing;
    target = targets.get(path);
  }
  target ??= { path, users: 0, unfinished: undefined, removing: undefined };
  targets.set(path, target);
  target.users++;
  return target;
}

/**
 * Leaves the copies that write to this path. If all of them have failed, the last one removes the file that one of them
 * created. `users` drops only after the removal, so the target stays in the map and new copies wait for `removing`.
 */
export async function leaveTarget(target: Target): Promise<void> {
  if (target.users === 1 && target.unfinished !== undefined) {
    target.removing = removeSame(target.path, target.unfinished);
    await target.removing;
  }
  if (--target.users === 0) targets.delete(target.path);
}

/** Removes a file, unless another file has taken its place. */
async function removeSame(path: string, { ino, devMajor, devMinor }: FileStatus): Promise<void> {
  try {
    const now = await files().lstat(path, { bigint: true });
    if (now.ino === ino && now.dev === BigInt(deviceNumber(devMajor, devMinor))) await files().unlink(path);
  } catch {
    // The file no longer exists or cannot be removed. Ignore that: the caller reports why the copy failed.
  }
}
