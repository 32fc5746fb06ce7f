import { expect, test } from "bun:test";
import { needs } from "./support/capabilities.ts";
import { run } from "./support/programs.ts";

/** The program opens this many files, after the ring. */
const files = 1500;

async function placesWith(env: Readonly<Record<string, string | undefined>>): Promise<unknown> {
  const { exitCode, stdout, stderr } = await run("handle-places", { args: [String(files)], env });
  expect([exitCode, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

needs("a processor that is not emulated")(
  "the place of every handle is recorded under NODE_ENV=test, and if BUN_URING_TRACK_HANDLES or trackHandles() asks for it",
  async () => {
    const all = { open: files + 1, first: 1000, withPlace: files + 1 };
    const unset = { NODE_ENV: undefined, BUN_URING_TRACK_HANDLES: undefined };
    expect(await placesWith({ ...unset, NODE_ENV: "test" })).toEqual(all);
    expect(await placesWith({ ...unset, BUN_URING_TRACK_HANDLES: "1" })).toEqual(all);
    expect(await placesWith({ ...unset, ASK: "1" })).toEqual(all);
  },
);

needs("a processor that is not emulated")(
  "otherwise every handle is listed, and the places of the first 1000 are recorded, and then of one in 64",
  async () => {
    const unset = { NODE_ENV: undefined, BUN_URING_TRACK_HANDLES: undefined };
    const sampled = {
      open: files + 1,
      first: 1000,
      withPlace: 1000 + Math.floor((files + 1) / 64) - Math.floor(1000 / 64),
    };
    expect(await placesWith(unset)).toEqual(sampled);
    expect(await placesWith({ ...unset, NODE_ENV: "development" })).toEqual(sampled);
  },
);

test("in production no handle is listed", async () => {
  expect(await placesWith({ NODE_ENV: "production", BUN_URING_TRACK_HANDLES: undefined })).toEqual({
    open: 0,
    first: 0,
    withPlace: 0,
  });
});
