/** One small file hashed and copied again and again. */
import { join } from "node:path";
import { program } from "../contender.ts";
import type { Workplace } from "../files.ts";
import type { Workload } from "../measure.ts";

export function oneFileWorkloads(place: Workplace): Workload[] {
  const path = join(place.folder, "page");
  const setUp = async () => void (await Bun.write(path, new Uint8Array(4096).fill(0x5a)));
  return [
    {
      id: "hash-file",
      title: "SHA-256 of one file of 4 KiB (operation: one call)",
      setUp,
      contenders: ["node:fs/promises", "hashFile", "hashFile, ring"].map((way) =>
        program(way, "hash-file", [way, path]),
      ),
    },
    {
      id: "copy-file",
      title: "Copy of one file of 4 KiB (operation: one call)",
      setUp,
      contenders: ["node:fs/promises", "copyFile", "copyFile, ring"].map((way) =>
        program(way, "copy-file", [way, path, place.folder]),
      ),
    },
  ];
}
