import { expect, test } from "bun:test";
import { exec, execFile, fork as forkBun, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { promisify } from "node:util";
import { BufferPool, RawRing, Ring, type RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { numbered } from "./support/content.ts";
import { directFlags } from "./support/direct.ts";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { fork } from "./support/fork.ts";
import { type Descriptor, ownDescriptors } from "./support/identities.ts";
import { pipe, sockets } from "./support/pipes.ts";
import { fdsUnder, leavingNothing, ringFds } from "./support/resources.ts";
import { kinds, shared, waitFor, whenRoom } from "./support/rings.ts";

const partBytes = 16384;
const parts = 64;
const slots = 48;
const program = new URL("./programs/list-descriptors.ts", import.meta.url).pathname;

/** The eventfds that this process has inherited from its parent, and Bun's own. */
const inherited = new Set(
  ownDescriptors().flatMap(({ identity }) => (identity.startsWith("eventfd ") ? [identity] : [])),
);

/**
 * Runs `body` while 300 loops read without a pause, on a ring that has every kind of descriptor open that a ring can
 * have. Whatever the children that `body` starts do, each read must return the right bytes, and no descriptor may be
 * lost.
 */
async function withReads(body: (folder: Folder, reads: { readonly right: number }) => Promise<void>): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    using ends = sockets();
    const path = folder.write("file", numbered(parts * partBytes));
    using pool = new BufferPool({ count: slots, size: partBytes });
    using attached = BufferPool.attach(pool.share()); // holds its own descriptor of the registration
    const done = { right: 0, wrong: 0, isOver: false };
    {
      await using ring = new Ring({ pool });
      const files = [await ring.open(path), await ring.open(path, directFlags(path))];
      const silent = ring.read(ends.readFd, shared(1));
      let isSilent = true;
      silent.finally(() => {
        isSilent = false;
      });
      const fixed = async (file: RingFile, part: number) => {
        using buffer = await pool.acquire();
        // The processor writes here. If a fork had made this page copy-on-write, the write would replace it in this
        // process, and the kernel would still read into the old page.
        buffer.bytes.fill(0xff);
        const bytesRead = await ring.readFixed(file, buffer, { position: part * partBytes });
        return buffer.bytes.slice(0, bytesRead);
      };
      const plain = async (file: RingFile, part: number, memory: Uint8Array) => {
        const bytesRead = await ring.read(file, memory.fill(0xff), { position: part * partBytes });
        return memory.slice(0, bytesRead);
      };
      const lane = async (file: RingFile, first: number) => {
        const pages = new SharedArrayBuffer(partBytes + 4096);
        const memory = new Uint8Array(pages, 0, partBytes);
        for (let read = first; !done.isOver; read += 7) {
          const part = read % parts;
          const found = read % 4 === 0 ? await plain(file, part, memory) : await fixed(file, part);
          if (Buffer.compare(found, numbered(partBytes, (part * partBytes) / 4)) === 0) done.right++;
          else done.wrong++;
        }
      };
      const lanes = Array.from({ length: 300 }, (_, first) => files[first % 2]).map((file, first) =>
        file === undefined ? undefined : lane(file, first),
      );
      const before = { rings: ringFds(), files: fdsUnder(folder.path) };
      try {
        await body(folder, done);
        expect({ rings: ringFds(), files: fdsUnder(folder.path), isSilent }).toEqual({ ...before, isSilent: true });
      } finally {
        done.isOver = true;
        await Promise.all(lanes);
      }
      expect(done.wrong).toBe(0);
      writeSync(ends.writeFd, "x");
      expect(await silent).toBe(1);
    }
    expect(attached.available).toBe(slots);
  });
}

/** Waits until `count` more reads have returned the right bytes. */
async function more(reads: { readonly right: number }, count: number): Promise<void> {
  for (const goal = reads.right + count; reads.right < goal; ) await new Promise(setImmediate);
}

/** Ways to start a program. Each returns, or resolves, when the program has ended. */
const starts: Record<string, (command: readonly [string, ...string[]]) => unknown> = {
  "Bun.spawn": (command) => Bun.spawn([...command], { stdio: ["ignore", "ignore", "inherit"] }).exited,
  "Bun.spawnSync": (command) => Bun.spawnSync([...command]),
  "child_process.spawn": ([path, ...args]) => once(spawn(path, args, { stdio: "ignore" }), "exit"),
  "child_process.spawnSync": ([path, ...args]) => spawnSync(path, args),
  "child_process.exec": (command) => promisify(exec)(command.join(" ")),
  "child_process.execFile": ([path, ...args]) => promisify(execFile)(path, args),
  "child_process.fork": ([, path = "", ...args]) => once(forkBun(path, args), "exit"),
  "a bare fork and exec": async (command) => {
    using gate = pipe();
    const child = fork(gate.readFd, command);
    writeSync(gate.writeFd, "x");
    expect(child.wait()).toBe(0);
  },
};

function isDescriptors(value: unknown): value is Descriptor[] {
  return Array.isArray(value) && value.every((one) => typeof one === "object" && one !== null && "identity" in one);
}

// Emulated processors run the bare fork only: what a fork does to a ring may depend on the kernel, but how Bun starts a
// child does not.
for (const [name, run] of Object.entries(starts))
  (name.startsWith("a bare fork") ? test : needs("a processor that is not emulated"))(
    `a child started by ${name} inherits no ring, eventfd or file of this process, and disturbs none of its reads`,
    () =>
      withReads(async (folder, reads) => {
        const note = `${folder.path}/note`;
        for (let child = 0; child < times(3); child++) {
          const mine = ownDescriptors().filter(
            ({ identity }) => /^anon_inode:\[io_uring\]$|^eventfd /.test(identity) && !inherited.has(identity),
          );
          const files = ownDescriptors().filter(({ identity }) => identity.startsWith(folder.path));
          // `mine` are the ring, its eventfd, and the pools' rings if pools have any.
          expect([mine.length > 1, files.length]).toEqual([true, 2]);
          expect([...mine, ...files].filter(({ closesOnExec }) => !closesOnExec)).toEqual([]);
          await run([process.execPath, program, note]);
          const found: unknown = JSON.parse(readFileSync(note, "utf8"));
          if (!isDescriptors(found)) throw new Error(`no descriptors: ${found}`);
          const ours = new Set([...mine, ...files].map(({ identity }) => identity));
          expect(found.length).toBeGreaterThan(2);
          expect(found.filter(({ identity }) => ours.has(identity))).toEqual([]);
          rmSync(note);
          await more(reads, 500);
        }
      }),
  );

test("a forked child that ends without an exec takes no page from reads in flight, and cancels and closes nothing", () =>
  withReads(async (_, reads) => {
    for (let child = 0; child < times(20); child++) {
      using gate = pipe();
      const forked = fork(gate.readFd);
      await more(reads, 300); // while the child shares all memory that is not pinned
      writeSync(gate.writeFd, "x");
      expect(forked.wait()).toBe(0);
    }
  }));

for (const [kind, flags] of Object.entries(kinds))
  test(`a ${kind} RawRing keeps working across a fork, with reads that are submitted before and after it`, () =>
    leavingNothing(() => {
      using folder = new Folder();
      const path = folder.write("file", numbered(parts * partBytes));
      using gate = pipe();
      using ring = new RawRing({ entries: parts, flags });
      const memory = shared(parts * partBytes);
      ring.registerBuffers([memory]);
      const part = (index: number) => memory.subarray(index * partBytes, (index + 1) * partBytes);
      for (const flagsOfOpen of [0, directFlags(path)]) {
        const fd = openSync(path, flagsOfOpen);
        for (let round = 0; round < times(10); round++) {
          memory.fill(0xff);
          for (let index = 0; index < parts; index++)
            whenRoom(ring, () => ring.prepReadFixed(fd, part(index), index * partBytes, 0, index));
          if (round % 2 === 0) ring.submit();
          const forked = fork(gate.readFd);
          memory[0] = memory[0] ?? 0;
          for (const [, result] of waitFor(ring, parts)) expect(result).toBe(partBytes);
          writeSync(gate.writeFd, "x");
          expect(forked.wait()).toBe(0);
          expect(Buffer.compare(memory, numbered(parts * partBytes))).toBe(0);
        }
        closeSync(fd);
      }
    }));
