/**
 * Uses each part of the library that waits for something, in a process whose globals may have been replaced. It imports
 * nothing of the library. After it was loaded it reads no global that programs replace, except for the AbortController
 * that is there when it aborts: signals of that class have to work, too.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, readlinkSync, statSync, writeFileSync, writeSync } from "node:fs";
import { pipe } from "./pipes.ts";

type Library = typeof import("bun-uring");

const { AbortController, Bun, URL } = globalThis;
const POLLIN = 1;
const word = new Int32Array(new SharedArrayBuffer(4));

/** Waits for a millisecond, to let something happen that has no event. */
async function pause(): Promise<void> {
  await Atomics.waitAsync(word, 0, 0, 1).value;
}

function ringFds(): number {
  const targets = readdirSync("/proc/self/fd").map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ""; // the descriptor of this listing
    }
  });
  return targets.filter((target) => target === "anon_inode:[io_uring]").length;
}

async function thrown(act: () => unknown): Promise<unknown> {
  try {
    await act();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

function check(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Uses of the library by name. Each has to finish. */
export function partsOf(library: Library, folder: string): Readonly<Record<string, () => Promise<void>>> {
  const { BufferPool, RawRing, Ring } = library;
  const path = `${folder}/file`;
  const content = new Uint8Array(300_000).map((_, index) => index % 251);
  writeFileSync(path, content);
  const shared = (sizeBytes: number) => new Uint8Array(new SharedArrayBuffer(sizeBytes));
  return {
    "a nop": async () => {
      await using ring = new Ring();
      await ring.nop();
    },
    "reads and writes of the page cache": async () => {
      await using ring = new Ring();
      await using file = await ring.open(path, "r+");
      const bytes = shared(4096);
      for (let turn = 0; turn < 3000; turn++)
        check((await ring.read(file, bytes, { position: 4096 })) === 4096, "read");
      check(bytes[1] === 4097 % 251, "content");
      check((await ring.write(file, bytes, { position: 4096 })) === 4096, "written");
    },
    "a wait for a pipe": async () => {
      using ends = pipe();
      await using ring = new Ring();
      const reading = ring.read(ends.readFd, shared(1));
      await pause();
      writeSync(ends.writeFd, "x");
      check((await reading) === 1, "read");
    },
    "a wait of a ring that does not keep the process alive": async () => {
      using ends = pipe();
      await using ring = new Ring().unref();
      const polling = ring.poll(ends.readFd, POLLIN);
      await pause();
      writeSync(ends.writeFd, "x");
      check((await polling) === POLLIN, "polled");
    },
    "an abort": async () => {
      using ends = pipe();
      await using ring = new Ring();
      for (const Controller of [AbortController, native(() => globalThis.AbortController) ?? AbortController]) {
        const controller = new Controller();
        const reason = new Error("enough");
        const polling = ring.poll(ends.readFd, POLLIN, { signal: controller.signal });
        await pause();
        controller.abort(reason);
        check((await thrown(() => polling)) === reason, "aborted");
      }
    },
    "an acquire that waits for its own thread's slot": async () => {
      using pool = new BufferPool({ count: 1, size: 4096 });
      const buffer = await pool.acquire();
      const waiting = pool.acquire();
      await pause();
      buffer.release();
      (await waiting).release();
    },
    "an acquire that waits for another's slot": async () => {
      using pool = new BufferPool({ count: 1, size: 4096 });
      using other = BufferPool.attach(pool.share());
      const buffer = await pool.acquire();
      const waiting = other.acquire();
      await pause();
      buffer.release();
      (await waiting).release();
    },
    "a pool that is populated meanwhile": async () => {
      using pool = await BufferPool.create({ count: 4, size: 4096 });
      check(pool.available === 4, "available");
    },
    "an appender": async () => {
      await using ring = new Ring();
      await using file = await ring.open(`${folder}/log`, "w");
      await using appender = await file.appender();
      const controller = new AbortController();
      const positions = [appender.append("one "), appender.append(shared(4))];
      const aborted = thrown(() => appender.append("never", { signal: controller.signal }));
      controller.abort();
      check((await aborted) === controller.signal.reason, "aborted");
      check((await positions[0]) === 0 && (await positions[1]) === 4, "positions");
      await appender.flush();
    },
    "durable writes": async () => {
      await using ring = new Ring();
      await using file = await ring.open(`${folder}/durable`, "w");
      for (const text of ["one", "two"]) await file.writeDurably(new Uint8Array([text.length]));
      check(statSync(`${folder}/durable`).size === 2, "size");
    },
    streams: async () => {
      using pool = new BufferPool({ count: 2, size: 65536 });
      await using ring = new Ring({ pool });
      const source = await ring.open(path);
      const sink = await ring.open(`${folder}/copy`, "w");
      const writer = sink.writable({ pool }).getWriter();
      for await (const chunk of source.readable({ pool })) await writer.write(chunk);
      await writer.close();
      check(readFileSync(`${folder}/copy`).equals(content), "content");
    },
    "streams that end early": async () => {
      await using ring = new Ring();
      const source = await ring.open(path);
      const reader = source.readable().getReader();
      check((await reader.read()).done === false, "read");
      await reader.cancel();
      const sink = await ring.open(`${folder}/copy`, "w");
      const writer = sink.writable().getWriter();
      await writer.write(content);
      const reason = new Error("enough");
      await writer.abort(reason);
      check((await thrown(() => writer.closed)) === reason, "aborted");
    },
    "operations that use node:fs": async () => {
      await using ring = new Ring();
      await using file = await ring.open(path, "r+");
      await file.chmod(0o600);
      check((await file.stat()).size === content.length, "size");
    },
    "whole files, by a string and by a URL": async () => {
      await using ring = new Ring();
      await using file = await ring.open(new URL(`file://${path}`), "r+");
      check((await file.readFile()).equals(content), "content");
      check((await ring.statx(path)).size === BigInt(content.length), "size");
      await using text = await ring.open(`${folder}/text`, "w+");
      await text.writeFile("text");
    },
    "an error": async () => {
      await using ring = new Ring();
      const error = await thrown(() => ring.open(`${folder}/none`));
      check(error instanceof library.UringError && error.code === "ENOENT", String(error));
    },
    "rings that were dropped": async () => {
      const before = ringFds();
      using ends = pipe();
      (() => {
        const raw = new RawRing({ entries: 1 });
        const memory = shared(1);
        raw.registerBuffers([memory]);
        raw.prepReadFixed(ends.readFd, memory, -1, 0, 1);
        raw.submit();
        void new Ring().nop();
      })();
      check(ringFds() === before + 2, "two rings");
      for (let turn = 0; turn < 500 && ringFds() > before + 1; turn++) {
        Bun.gc(true);
        await pause();
      }
      writeSync(ends.writeFd, "x");
      for (let turn = 0; turn < 500 && ringFds() > before; turn++) {
        Bun.gc(true);
        await pause();
      }
      check(ringFds() === before, `rings left: ${ringFds() - before}`);
    },
    "a copy and digests": async () => {
      using pool = new BufferPool({ count: 4, size: 65536 });
      const { copiedBytes } = await library.copyFile(path, `${folder}/copy`, { signal: new AbortController().signal });
      check(copiedBytes === statSync(path).size, "copied");
      const digest = await library.hashFile(path);
      check(digest === (await library.hashFile(`${folder}/copy`, { pool })), "digests");
      check(digest === createHash("sha256").update(readFileSync(path)).digest("hex"), "digest");
    },
    "a close with something in flight": async () => {
      using ends = pipe();
      const ring = new Ring();
      const reading = thrown(() => ring.read(ends.readFd, shared(1)));
      await pause();
      await ring.close();
      const error = await reading;
      check(error instanceof library.UringError && error.code === "ECANCELED", String(error));
    },
  };
}

/** The value that `get` returns, or undefined if it throws, as the getter of a replaced global may. */
function native<Value>(get: () => Value): Value | undefined {
  try {
    return get();
  } catch {
    return undefined;
  }
}

/** Runs all parts, and calls `say` with the name of each part that has finished. */
export async function exercise(library: Library, folder: string, say: (line: string) => void): Promise<void> {
  for (const [name, use] of Object.entries(partsOf(library, folder))) {
    await use();
    say(name);
  }
}
