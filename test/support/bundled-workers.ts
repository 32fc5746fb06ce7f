/** Workers of test/workers/ in one file each, which start in half the time: for tests that start hundreds. */
import { fileURLToPath, pathToFileURL } from "node:url";
import { Folder } from "./files.ts";
import { workersFrom } from "./workers.ts";

/** Bundles the Workers that are named, and has each TestWorker of this process be one of them, to the end of the scope. */
export async function bundleWorkers(...names: readonly string[]): Promise<Disposable> {
  const folder = new Folder();
  const entrypoints = names.map((name) => fileURLToPath(new URL(`../workers/${name}.ts`, import.meta.url)));
  await Bun.build({ entrypoints, outdir: folder.path, target: "bun", throw: true });
  const restore = workersFrom(pathToFileURL(`${folder.path}/`), "js");
  return {
    [Symbol.dispose]: () => {
      restore();
      folder[Symbol.dispose]();
    },
  };
}
