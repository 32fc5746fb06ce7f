/**
 * Programs with several calls in flight. A RingFile's transfers at the file's own position run one after the other, in
 * the order of the calls. So the results have to be those of a FileHandle whose calls are awaited one by one. A call
 * with an explicit position uses a part of the file that no other call of the round touches.
 */
import { ptr } from "bun:ffi";
import { expect } from "bun:test";
import { closeSync, constants, openSync, readFileSync, readSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { open as openWithNode } from "node:fs/promises";
import { Ring, type RingFile } from "bun-uring";
import { bytesOfView, isView } from "../lib/base/view.ts";
import { needs, needsPlace } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { type Loose, loose } from "./support/loose.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { fc } from "./support/properties.ts";
import { leavingNothing } from "./support/resources.ts";

/** Transfers at the file's own position stay below this. Those at an explicit position are above it, each in a lane. */
const ownBytes = 8 * 2 ** 20;
const laneBytes = 65536;
const lanes = 8;

interface Call {
  readonly name: string;
  /** @param laneBegin - the position for calls that take one, in bytes */
  run(file: Loose, laneBegin: number): unknown;
}

/** What calls are generated from. */
interface Material {
  readonly bytes: fc.Arbitrary<Uint8Array>;
  readonly isDirect: boolean;
}

/** A copy of `content` in memory that begins at a page boundary. */
function aligned(content: Uint8Array): Uint8Array {
  const memory = new Uint8Array(new SharedArrayBuffer(content.length + 4095));
  const bytes = memory.subarray(-ptr(memory) & 4095).subarray(0, content.length);
  bytes.set(content);
  return bytes;
}

const buffered: Material = { bytes: fc.uint8Array({ maxLength: 5000, size: "max" }), isDirect: false };
const direct: Material = {
  bytes: fc
    .tuple(fc.nat(4), fc.nat(250))
    .map(([pages, seed]) =>
      Uint8Array.from({ length: pages * 4096 }, (_, index) => (seed + index * 7 + (index >> 8)) & 0xff),
    ),
  isDirect: true,
};

/** Calls that are refused or have nothing to transfer: they leave the file's own position where it is. */
const idleCalls: readonly Call[] = [
  { name: "write({})", run: (file) => file["write"]?.({}) },
  { name: "write of a promise", run: (file) => file["write"]?.(Promise.resolve("x")) },
  { name: "write past the buffer", run: (file) => file["write"]?.(Buffer.alloc(3), 4) },
  { name: "write of half of hex", run: (file) => file["write"]?.("abc", null, "hex") },
  { name: "write of nothing", run: (file) => file["write"]?.(Buffer.alloc(0)) },
  { name: "read(5)", run: (file) => file["read"]?.(5) },
  { name: "read at 1.5", run: (file) => file["read"]?.(Buffer.alloc(3), 0, 3, 1.5) },
  { name: "read past the largest position", run: (file) => file["read"]?.(Buffer.alloc(3), 0, 3, 2n ** 63n) },
  { name: "read past the end", run: (file) => file["read"]?.(Buffer.alloc(3), 0, 3, 2 ** 53 - 4) },
  { name: "read of nothing", run: (file) => file["read"]?.(Buffer.alloc(3), 0, 0) },
  { name: "readv([])", run: (file) => file["readv"]?.([]) },
  { name: "readv of holes", run: (file) => file["readv"]?.(new Array(3)) },
  { name: "writev([5])", run: (file) => file["writev"]?.([5]) },
  { name: "readFile of no encoding", run: (file) => file["readFile"]?.("nope") },
  { name: "writeFile(5)", run: (file) => file["writeFile"]?.(5) },
  { name: "writeFile of nothing", run: (file) => file["writeFile"]?.("") },
  { name: "writeFile, aborted", run: (file) => file["writeFile"]?.("x", { signal: AbortSignal.abort() }) },
  { name: "truncate('5')", run: (file) => file["truncate"]?.("5") },
  { name: "chmod(-1)", run: (file) => file["chmod"]?.(-1) },
  { name: "sync", run: (file) => file["sync"]?.() },
  { name: "datasync", run: (file) => file["datasync"]?.() },
];

function callsOf({ bytes, isDirect }: Material, hasLanes: boolean): fc.Arbitrary<Call> {
  const memory = isDirect
    ? fc.constant(aligned)
    : fc.constantFrom<(content: Uint8Array) => Uint8Array>((content) => content.slice(), Buffer.from, aligned);
  const part = fc.tuple(bytes, memory);
  const parts = fc.array(part, { minLength: 1, maxLength: 4 });
  const own: fc.Arbitrary<Call>[] = [
    part.map(([content, kind]) => ({ name: `read ${content.length}`, run: (file) => file["read"]?.(kind(content)) })),
    part.map(([content, kind]) => ({
      name: `read by name ${content.length}`,
      run: (file) => file["read"]?.({ buffer: kind(content), position: null }),
    })),
    part.map(([content, kind]) => ({ name: `write ${content.length}`, run: (file) => file["write"]?.(kind(content)) })),
    part.map(([content, kind]) => ({
      name: `writeFile ${content.length}`,
      run: (file) => file["writeFile"]?.(kind(content)),
    })),
    parts.map((some) => ({
      name: `readv ${some.length}`,
      run: (file) => file["readv"]?.(some.map(([content, kind]) => kind(content))),
    })),
    parts.map((some) => ({
      name: `writev ${some.length}`,
      run: (file) => file["writev"]?.(some.map(([content, kind]) => kind(content))),
    })),
  ];
  const text: fc.Arbitrary<Call>[] = [
    fc
      .string({ maxLength: 300 })
      .map((some) => ({ name: `write ${JSON.stringify(some)}`, run: (file) => file["write"]?.(some) })),
    fc.string({ maxLength: 300 }).map((some) => ({
      name: `appendFile ${JSON.stringify(some)}`,
      run: (file) => file["appendFile"]?.(some, "utf16le"),
    })),
  ];
  const placed: fc.Arbitrary<Call>[] = [
    part.map(([content, kind]) => ({
      name: `read ${content.length} in its lane`,
      run: (file, at) => file["read"]?.(kind(content), 0, content.length, at),
    })),
    part.map(([content, kind]) => ({
      name: `write ${content.length} in its lane`,
      run: (file, at) => file["write"]?.(kind(content), 0, content.length, at),
    })),
    parts.map((some) => ({
      name: `writev ${some.length} in its lane`,
      run: (file, at) =>
        file["writev"]?.(
          some.map(([content, kind]) => kind(content)),
          at,
        ),
    })),
  ];
  return fc.oneof(...own, ...(isDirect ? [] : text), ...(hasLanes ? placed : []), fc.constantFrom(...idleCalls));
}

/** A descriptor's own position. */
function ownPosition(fd: number): string | undefined {
  return /^pos:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
}

/** A call's outcome in a form that can be compared: its result, or of its error what FileHandle's error has, too. */
function comparable(outcome: PromiseSettledResult<unknown>): unknown {
  if (outcome.status === "rejected") {
    const error: unknown = outcome.reason;
    if (!(error instanceof Error)) return error;
    const { code, syscall, name } = error as NodeJS.ErrnoException;
    // For a vectored transfer, the syscall is readv or preadv in Bun's FileHandle, and read in Node's.
    return { name: syscall === undefined ? name : "Error", code, syscall: syscall?.replace(/^p(?=(read|write)v)/, "") };
  }
  const { value } = outcome;
  if (typeof value !== "object" || value === null) return value;
  // Only the bytes that were read count: with O_DIRECT the kernel may also write to the buffer after them.
  const views: readonly unknown[] = [Reflect.get(value, "buffer") ?? Reflect.get(value, "buffers")].flat();
  const bytes: unknown = Reflect.get(value, "bytesRead") ?? Reflect.get(value, "bytesWritten");
  return [
    bytes,
    typeof bytes === "number" && views.every(isView)
      ? Bun.hash(Buffer.concat(views.map(bytesOfView)).subarray(0, bytes))
      : views,
  ];
}

/** A file's size and content, without what lies between the two areas that the calls use. */
function contentOf(path: string, begin: number): readonly unknown[] {
  const fd = openSync(path, "r");
  try {
    const [own, placed] = [Buffer.alloc(ownBytes), Buffer.alloc(lanes * laneBytes)];
    readSync(fd, own, 0, own.length, 0);
    readSync(fd, placed, 0, placed.length, begin);
    return [statSync(path).size, Bun.hash(own), Bun.hash(placed)];
  } finally {
    closeSync(fd);
  }
}

interface Program {
  readonly rounds: readonly (readonly Call[])[];
  readonly content: Uint8Array;
  /** Where in the file the lanes begin, in bytes. */
  readonly begin: number;
}

async function compare(
  ring: Ring,
  folder: string,
  flags: string | number,
  hasLanes: boolean,
  { rounds, content, begin }: Program,
): Promise<void> {
  const [mine, theirs] = [`${folder}/mine`, `${folder}/theirs`];
  for (const path of [mine, theirs]) writeFileSync(path, content);
  await using file: RingFile = await ring.open(mine, flags);
  await using handle = await openWithNode(theirs, flags);
  // Set the final size first: then the end of the file does not depend on the order of the calls.
  if (hasLanes) for (const path of [mine, theirs]) truncateSync(path, begin + lanes * laneBytes);
  for (const calls of rounds) {
    await ring.fsync(file.fd);
    await ring.fadvise(file.fd, "dontneed"); // so that reads do not complete at once
    const names = calls.map(({ name }) => name);
    const lane = (index: number) => begin + index * laneBytes;
    const outcomes = (
      await Promise.allSettled(calls.map(async (call, index) => call.run(loose(file), lane(index))))
    ).map(comparable);
    const expected: unknown[] = [];
    for (const [index, call] of calls.entries()) {
      const [outcome] = await Promise.allSettled([(async () => call.run(loose(handle), lane(index)))()]);
      expected.push(comparable(outcome));
    }
    expect([names, outcomes, ownPosition(file.fd), contentOf(mine, begin)]).toEqual([
      names,
      expected,
      ownPosition(handle.fd),
      contentOf(theirs, begin),
    ]);
  }
}

const flagsOf = {
  "r+": constants.O_RDWR,
  "a+": constants.O_RDWR | constants.O_CREAT | constants.O_APPEND,
  r: constants.O_RDONLY,
  w: constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC,
} as const;

async function compareAll(folder: string, material: Material): Promise<void> {
  await using ring = new Ring();
  for (const [flags, bits] of Object.entries(flagsOf)) {
    // If every write goes to the end, the order of writes matters even if they have a position: no lanes then.
    const hasLanes = flags !== "a+";
    const rounds = fc.array(fc.array(callsOf(material, hasLanes), { minLength: 2, maxLength: lanes, size: "max" }), {
      minLength: 1,
      maxLength: 3,
      size: "max",
    });
    const program = fc.record({
      rounds,
      content: material.bytes,
      begin: fc.constantFrom(ownBytes, 2 ** 32 + ownBytes),
    });
    await fc.assert(
      fc.asyncProperty(program, (one) =>
        compare(ring, folder, material.isDirect ? bits | constants.O_DIRECT : flags, hasLanes, one),
      ),
      { numRuns: times(10) },
    );
  }
  expect(ring.inFlight).toBe(0);
}

/**
 * Writes and reads records by calls that are all in flight together. With a FileHandle they run in any order, with a
 * RingFile in the order of the calls. Neither loses a record.
 */
async function compareRecords(folder: string, flags: number): Promise<void> {
  const recordBytes = 4096;
  await using ring = new Ring();
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 2, max: 24 }), async (count) => {
      const records = Array.from({ length: count }, (_, index) => aligned(Buffer.alloc(recordBytes, index + 1)));
      const found: unknown[] = [];
      for (const open of [(path: string) => ring.open(path, flags), (path: string) => openWithNode(path, flags)]) {
        const path = `${folder}/records`;
        writeFileSync(path, "");
        await using file = await open(path);
        await Promise.all(records.map((record) => file.writev([record])));
        const end = ownPosition(file.fd);
        await using again = await open(path);
        const into = records.map(() => aligned(Buffer.alloc(recordBytes)));
        const bytes = await Promise.all(into.map(async (record) => (await again.readv([record])).bytesRead));
        const written = Array.from({ length: count }, (_, index) => readFileSync(path)[index * recordBytes] ?? 0);
        const isRing = found.length === 0;
        if (isRing)
          expect([written, into.map(([byte]) => byte)]).toEqual([
            records.map(([byte]) => byte ?? 0),
            records.map(([byte]) => byte),
          ]);
        found.push([
          end,
          ownPosition(again.fd),
          bytes,
          written.sort((a, b) => a - b),
          into.map(([byte = 0]) => byte).sort((a, b) => a - b),
        ]);
      }
      expect(found[0]).toEqual(found[1]);
    }),
    { numRuns: times(10) },
  );
}

const places = [
  { name: "the disk", check: needsPlace.disk, folder: () => new Folder() },
  { name: "tmpfs", check: needsPlace.memory, folder: () => new Folder("memory") },
  { name: "xfs", check: needs("mounts of xfs"), folder: () => new Mount("xfs", smallest.xfs) },
  { name: "btrfs", check: needs("mounts of btrfs"), folder: () => new Mount("btrfs", 2 * smallest.btrfs) },
] as const;

for (const { name, check, folder } of places) {
  check(
    `any program with several calls in flight, on ${name}, has the same results as node:fs/promises one call at a time`,
    () =>
      leavingNothing(async () => {
        using place = folder();
        await compareAll(place.path, buffered);
        await compareRecords(place.path, constants.O_RDWR);
      }),
  );

  if (name === "tmpfs") continue; // O_DIRECT has no effect on tmpfs, which refuses it before Linux 6.6
  check(
    `any program with several calls in flight, on ${name} with O_DIRECT, has the same results as node:fs/promises one call at a time`,
    () =>
      leavingNothing(async () => {
        using place = folder();
        await compareAll(place.path, direct);
        await compareRecords(place.path, constants.O_RDWR | constants.O_DIRECT);
      }),
  );
}
