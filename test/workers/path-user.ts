/** Reads or writes whole files by path over and over, with many in flight, until it is terminated. */
import { Ring } from "bun-uring";
import { Random } from "../support/random.ts";

declare const self: Worker;

interface Job {
  readonly act: string;
  readonly folder: string;
  readonly seed: number;
  readonly silent: string;
}

self.addEventListener("message", ({ data: { act, folder, seed, silent } }: MessageEvent<Job>) => {
  const random = new Random(seed);
  const ring = new Ring({ entries: random.pick([16, 128, 1024]) });
  const out = () => `${folder}/out${seed}-${random.below(30)}`;
  const acts: Readonly<Record<string, () => Promise<unknown>>> = {
    readFile: () => ring.readFile(`${folder}/small`),
    readLarge: () => ring.readFile(`${folder}/large`),
    writeFile: () => ring.writeFile(out(), Buffer.alloc(random.below(100_000))),
    appendFile: () => ring.appendFile(out(), "line\n"),
    readFiles: async () => {
      const paths = Array.from({ length: 50 }, (_, index) => `${folder}/${index % 7 === 0 ? "large" : "small"}`);
      for await (const { error } of ring.readFiles(paths)) if (error !== undefined) throw error;
    },
    silent: async () => {
      const stop = new AbortController();
      const reading = ring.readFile(silent, { signal: stop.signal }).catch(() => undefined);
      await ring.timeout(random.fraction());
      stop.abort();
      await reading;
    },
  };
  const names = Object.keys(acts);
  const repeat = async (lane: number) => {
    const name = act === "mixed" ? (names[lane % names.length] ?? "") : act;
    for (let count = 0; ; count++) {
      await acts[name]?.();
      if (count === 2 && lane === 0) self.postMessage("busy");
    }
  };
  for (let lane = 0; lane < (act === "readFiles" ? 8 : 60); lane++) void repeat(lane);
});
