/** Bundles Workers of test/workers/ into one file each. Bundled Workers start faster, for tests that start hundreds. */
import { fileURLToPath, pathToFileURL } from "node:url";
import { Folder } from "./files.ts";
import { workersFrom } from "./workers.ts";

/** Bundles the named Workers. Until the end of the scope each TestWorker of this process starts one of the bundles. */
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
