import { expect, test } from "bun:test";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type CreateWriteStreamOptions, type FileHandle, open as openWithNode } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { Ring, RingFile } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { thrown, uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { Mount, smallest } from "./support/mounts.ts";
import { leavingNothing } from "./support/resources.ts";

type Either = RingFile | FileHandle;

const content = "0123456789\nabc\n";

/** Checks that `act` has the same outcome with a RingFile and a FileHandle, and leaves both files the same. */
async function same(act: (file: Either) => Promise<unknown>, text: string | Uint8Array = content): Promise<void> {
  using folder = new Folder();
  await using ring = new Ring();
  const outcomes: unknown[] = [];
  for (const open of [(path: string) => ring.open(path, "r+"), (path: string) => openWithNode(path, "r+")]) {
    const path = folder.write("file", text);
    const file = await open(path);
    const [outcome] = await Promise.allSettled([act(file)]);
    const failure: unknown = outcome.status === "rejected" ? outcome.reason : undefined;
    const result =
      failure instanceof Error
        ? [failure.name, failure.message, Reflect.get(failure, "code"), failure.cause]
        : Reflect.get(outcome, "value");
    outcomes.push([act.toString(), result, file.fd === -1, Bun.hash(readFileSync(path))]);
    // In Bun 1.4.5, FileHandle's close() throws if the creation of a stream was refused, and waits for a stream that
    // does not close the file. So only a RingFile's close is awaited.
    const closing = file.close().catch(() => undefined);
    if (file instanceof RingFile) await closing;
  }
  expect(outcomes[0]).toEqual(outcomes[1]);
}

/** The streams of either. Their types differ only in details that do not matter here. */
const readStream = (file: Either, options?: object) => file.createReadStream(options);
const writeStream = (file: Either, options?: object) => file.createWriteStream(options);

async function chunksOf(file: Either, options?: object): Promise<string[]> {
  const chunks: string[] = [];
  for await (const chunk of readStream(file, options)) chunks.push(String(chunk));
  return chunks;
}

async function written(
  file: Either,
  options: CreateWriteStreamOptions | { readonly [name: string]: unknown; readonly autoClose?: boolean },
  ...chunks: (string | Uint8Array)[]
): Promise<unknown> {
  const stream = writeStream(file, options);
  const end = once(stream, options.autoClose === false ? "finish" : "close");
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
  await end;
  return stream.bytesWritten;
}

/** Reads at the file's own position. */
async function taken(file: Either, length: number): Promise<string> {
  const [buffer] = (await file.readv([Buffer.alloc(length)])).buffers;
  return String(buffer);
}

test("createReadStream returns Node's stream, and takes the options of FileHandle's", () =>
  leavingNothing(async () => {
    await same((file) => chunksOf(file));
    await same((file) => chunksOf(file, { autoClose: false }));
    await same((file) => chunksOf(file, { start: 2, end: 7, highWaterMark: 4, encoding: "latin1" }));
    await same(async (file) => [
      await taken(file, 2),
      await chunksOf(file, { end: 5, autoClose: false }),
      await taken(file, 20),
    ]);
    await same(async (file) => [
      await taken(file, 2),
      await chunksOf(file, { start: 5, autoClose: false }),
      await taken(file, 20),
    ]);
    const reason = new Error("enough");
    for (const options of [
      { start: 5, end: 2 },
      { start: -1 },
      { start: Number.NaN },
      { start: "x" },
      { end: "x" },
      { encoding: "nope" },
      { signal: 1 },
    ])
      await same((file) => chunksOf(file, options));
    for (const options of [
      { highWaterMark: -1 },
      { end: Number.POSITIVE_INFINITY },
      { signal: AbortSignal.abort(reason) },
    ])
      await same((file) => chunksOf(file, options));
    const facts = async (file: Either) => {
      const stream = readStream(file, { start: 1 });
      const events: string[] = [];
      for (const name of ["open", "ready", "end", "close", "error"]) stream.on(name, () => events.push(name));
      const { bytesRead, pending, path, readableHighWaterMark } = stream;
      stream.resume();
      await once(stream, "close");
      return [bytesRead, pending, path, readableHighWaterMark, stream.constructor.name, events, stream.bytesRead];
    };
    await same(facts);
    await same((file) => chunksOf(file), new Uint8Array(300_000).fill(97));
  }));

test("createWriteStream returns Node's stream, and takes the options of FileHandle's", () =>
  leavingNothing(async () => {
    await same((file) => written(file, {}, "ab", Buffer.from("cd"), "ef"));
    await same((file) => written(file, { start: 3 }, "ab", Buffer.from("cd"), "ef"));
    await same(async (file) => [
      await taken(file, 2),
      await written(file, { start: 3, autoClose: false }, "ab"),
      (await file.writev([Buffer.from("Z")])).bytesWritten,
    ]);
    await same((file) => written(file, { encoding: "hex" }, "6162"));
    await same((file) => written(file, { flush: true }, "6162"));
    await same((file) => written(file, { start: 2 }, ...Array.from({ length: 2000 }, (_, index) => `${index} `)));
    for (const options of [{ flush: 1 }, { start: -1 }, { signal: AbortSignal.abort(new Error("enough")) }])
      await same((file) => written(file, options, "x"));
    await same(async (file) => {
      const stream = writeStream(file, { start: 2 });
      stream.cork();
      stream.write("ab");
      stream.write("cd");
      stream.uncork();
      stream.end();
      await once(stream, "close");
      return [stream.bytesWritten, stream.constructor.name];
    });
    await same((file) => pipeline(new Blob(["of a ", "blob"]).stream(), writeStream(file)));
  }));

test("readLines takes the options of createReadStream, and closes the file at the end", () =>
  leavingNothing(async () => {
    for (const options of [
      undefined,
      {},
      { autoClose: false },
      { start: 2, end: 5 },
      { encoding: "hex" },
      { highWaterMark: 1 },
    ] as const)
      await same((file) => Array.fromAsync(file.readLines(options)));
  }));

test("readableWebStream returns the content from the file's own position on, and only once", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const { path, content: bytes } = folder.random("file", 200_000);
    await using file = await ring.open(path);
    await file.read(Buffer.alloc(10));
    expect(Buffer.compare(await new Response(file.readableWebStream()).bytes(), bytes.subarray(10))).toBe(0);
    expect([file.closed, await thrown(() => file.readableWebStream())]).toEqual([
      false,
      expect.objectContaining({ code: "ERR_INVALID_STATE" }),
    ]);
    const closing = await ring.open(path);
    const reader = closing.readableWebStream({ type: "bytes", autoClose: true }).getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(4));
    expect(value).toEqual(Uint8Array.from(bytes.subarray(0, 4)));
    await reader.cancel();
    expect(closing.closed).toBe(true);
    expect(await thrown(() => closing.readableWebStream())).toMatchObject({
      code: "ERR_INVALID_STATE",
      message: "Invalid state: The FileHandle is closed",
    });
  }));

test("a closed file makes no streams, and the streams that it made fail with EBADF", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const { path } = folder.random("file", 300_000);
    const file = await ring.open(path);
    const stream = file.createReadStream();
    await once(stream, "readable");
    await file.close();
    expect((await uringError(async () => Array.fromAsync(stream))).code).toBe("EBADF");
    for (const act of [() => file.createReadStream(), () => file.createWriteStream(), () => file.readLines()])
      expect(await uringError(act)).toMatchObject({ code: "EBADF" });
  }));

needs("mounts of tmpfs")(
  "a stream that fills the disk writes what there is room for and fails with ENOSPC, even if it writes chunks together",
  () =>
    leavingNothing(async () => {
      using mount = new Mount("tmpfs", smallest.tmpfs);
      await using ring = new Ring();
      const path = `${mount.path}/file`;
      const file = await ring.open(path, "w");
      const stream = file.createWriteStream();
      stream.cork();
      for (let chunk = 0; chunk < 5; chunk++) stream.write(Buffer.alloc(smallest.tmpfs / 4, chunk + 1));
      stream.uncork();
      expect((await uringError(() => once(stream, "finish"))).code).toBe("ENOSPC");
      const written = readFileSync(path);
      expect(written.length).toBeGreaterThan(smallest.tmpfs / 2);
      expect(written.every((byte, index) => byte === Math.floor(index / (smallest.tmpfs / 4)) + 1)).toBe(true);
    }),
);

test("a stream keeps its file alive without any other reference to it", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    await using ring = new Ring();
    const { path, content: bytes } = folder.random("file", 1_000_000);
    const stream = await (async () => (await ring.open(path)).createReadStream({ highWaterMark: 4096 }))();
    const chunks: Buffer[] = [];
    for await (const chunk of stream) {
      if (chunks.length % 50 === 0) Bun.gc(true);
      chunks.push(chunk);
    }
    expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
  }));
