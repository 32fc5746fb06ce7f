/** Rounds of contenders that write files. */
import { readFileSync } from "node:fs";
import { inLanes, serveFiles } from "./files.ts";
import { newPaths } from "./new-folder.ts";

/** The fifth argument of the contenders that write: the folder for new files. Default: they write the listed ones. */
const folder = process.argv[6];

/** What contenders write that do not copy. */
export const content = Buffer.alloc(4096, 0xa5);

/** Serves rounds of `run`, which writes a target for each listed path. Checks the files of the first round. */
async function serveWritten(
  run: (paths: readonly string[], targets: readonly string[]) => unknown,
  contentOf: (path: string) => Uint8Array,
): Promise<void> {
  let checked = false;
  await serveFiles(
    async (paths) => {
      const targets = folder === undefined ? paths : newPaths(folder, paths.length);
      await run(paths, targets);
      for (const [index, path] of checked ? [] : paths.entries()) {
        const target = targets[index] ?? "";
        if (!readFileSync(target).equals(contentOf(path))) throw new Error(`${target} has wrong content`);
      }
      checked = true;
      return 0;
    },
    () => 0,
  );
}

/** Serves rounds in which `write` is called for one path after the other. */
export async function serveWritesSync(write: (path: string) => void): Promise<void> {
  await serveWritten(
    (_, targets) => {
      for (const path of targets) write(path);
    },
    () => content,
  );
}

/** Serves rounds in which `write` is called for each path, as many at once as the arguments say. */
export async function serveWrites(write: (path: string) => Promise<unknown>): Promise<void> {
  await serveWritten(
    (_, targets) =>
      inLanes(targets, async (path) => {
        await write(path);
        return 0;
      }),
    () => content,
  );
}

/** Serves rounds in which `copy` is called for one source and destination after the other. */
export async function serveCopiesSync(copy: (source: string, destination: string) => void): Promise<void> {
  await serveWritten(
    (paths, targets) => {
      for (const [index, path] of paths.entries()) copy(path, targets[index] ?? "");
    },
    (path) => readFileSync(path),
  );
}

/** Serves rounds in which `copy` is called for each source and destination, as many at once as the arguments say. */
export async function serveCopies(copy: (source: string, destination: string) => Promise<unknown>): Promise<void> {
  await serveWritten(
    (paths, targets) =>
      inLanes(paths, async (path, index) => {
        await copy(path, targets[index] ?? "");
        return 0;
      }),
    (path) => readFileSync(path),
  );
}
