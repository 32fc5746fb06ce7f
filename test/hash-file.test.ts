import { expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { BufferPool, type HashFileOptions, hashFile, Ring } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { execute } from "./support/programs.ts";
import { fdsOf, leavingNothing } from "./support/resources.ts";

needs("bash, split, sha256sum and perl")("a file's digest is the same as sha256sum's, whatever the file's size", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    for (const sizeBytes of [0, 1, 65_535, 65_536, 65_537, 65_538, 262_143, 262_144, 262_145, 5_000_000]) {
      const { path } = folder.random(`${sizeBytes}`, sizeBytes);
      const [expected] = Bun.spawnSync(["sha256sum", path]).stdout.toString().split(" ");
      expect(await hashFile(path)).toBe(expected ?? "");
      expect(fdsOf(path)).toBe(0);
    }
  }),
);

needs("a processor that is not emulated")(
  "hashFile computes any digest of node:crypto, in any encoding, and can use an existing ring and pool",
  () =>
    leavingNothing(async () => {
      using folder = new Folder();
      const { path, content } = folder.random("file", 1_000_000);
      using pool = new BufferPool({ count: 2, size: 4096 });
      await using ring = new Ring({ pool });
      for (const algorithm of ["md5", "SHA1", "sha512", "blake2b512"])
        for (const encoding of ["hex", "base64", "base64url"] as const)
          for (const depth of [1, 8]) {
            const options = { ring, pool, algorithm, encoding, depth };
            expect(await hashFile(pathToFileURL(path), options)).toBe(
              createHash(algorithm).update(content).digest(encoding),
            );
          }
      expect(await hashFile(path, { pool })).toBe(createHash("sha256").update(content).digest("hex"));
      expect([pool.available, ring.inFlight, ring.closed]).toEqual([2, 0, false]);
      expect(await hashFile("/proc/version", { ring, pool })).toBe(
        createHash("sha256").update(readFileSync("/proc/version")).digest("hex"),
      );
    }),
);

test("a file that grows or shrinks while it is hashed is hashed up to its new end", async () => {
  using folder = new Folder();
  for (const [sizeBytes, laterBytes] of [
    [0, 700_000],
    [5000, 3_000_000],
    [262_143, 262_145],
    [3_000_000, 5000],
    [3_000_000, 0],
  ] as const) {
    const { content } = folder.random("later", laterBytes);
    const { path } = folder.random("file", sizeBytes);
    let isChanged = false;
    const digest = await hashFile(path, {
      onProgress() {
        if (!isChanged) writeFileSync(path, content);
        isChanged = true;
      },
    });
    expect([sizeBytes, laterBytes, digest]).toEqual([
      sizeBytes,
      laterBytes,
      createHash("sha256").update(content).digest("hex"),
    ]);
  }
});

test("progress goes from 0 to the file's size", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 3_000_000);
    const seen: number[] = [];
    await hashFile(path, {
      onProgress({ hashedBytes, totalBytes }) {
        expect(totalBytes).toBe(3_000_000);
        seen.push(hashedBytes);
      },
    });
    expect([seen[0], seen.at(-1)]).toEqual([0, 3_000_000]);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  }));

test("a hash that is aborted or fails releases everything", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 3_000_000);
    using pool = new BufferPool({ count: 4, size: 65536 });
    await using ring = new Ring({ pool });
    const reason = new Error("enough");
    const controller = new AbortController();
    const stop = ({ hashedBytes }: { hashedBytes: number }) => hashedBytes > 1_000_000 && controller.abort(reason);
    expect(await thrown(() => hashFile(path, { ring, pool, signal: controller.signal, onProgress: stop }))).toBe(
      reason,
    );
    const failing = () => {
      throw reason;
    };
    expect(await thrown(() => hashFile(path, { ring, pool, onProgress: failing }))).toBe(reason);
    expect(await thrown(() => hashFile(folder.path, { ring, pool }))).toMatchObject({
      code: "EISDIR",
      path: folder.path,
    });
    expect(await thrown(() => hashFile(`${path}.`, { ring, pool }))).toMatchObject({ code: "ENOENT" });
    const aborted = new AbortController();
    const stopOwn = () => aborted.abort(reason);
    expect(await thrown(() => hashFile(path, { signal: aborted.signal, onProgress: stopOwn }))).toBe(reason);
    expect(await thrown(() => hashFile(path, { onProgress: failing }))).toBe(reason);
    expect(await thrown(() => hashFile(folder.path))).toMatchObject({ code: "EISDIR", path: folder.path });
    await ring.nop();
    expect([pool.available, ring.inFlight, fdsOf(path)]).toEqual([4, 0, 0]);
    const cases: [HashFileOptions | object, string][] = [
      [{ algorithm: "md17" }, "ERR_INVALID_ARG_VALUE"],
      [{ encoding: "utf8" }, "ERR_INVALID_ARG_VALUE"],
      [{ depth: 0 }, "ERR_OUT_OF_RANGE"],
      [{ ring }, "ERR_INVALID_ARG_VALUE"],
      [{ pool: ring }, "ERR_INVALID_ARG_TYPE"],
      [{ onProgress: 1 }, "ERR_INVALID_ARG_TYPE"],
      [{ algoritm: "md5" }, "ERR_INVALID_ARG_VALUE"],
    ];
    for (const [options, code] of cases) expect((await thrown(() => hashFile(path, options))).code).toBe(code);
  }));

needs("bash, split, sha256sum and perl")("a FIFO, a pipe and standard input are hashed to their end, in order", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 3_000_000);
    const expected = createHash("sha256").update(content).digest("hex");
    const fifo = `${folder.path}/fifo`;
    Bun.spawnSync(["mkfifo", fifo]);
    using pool = new BufferPool({ count: 4, size: 10_000 });
    for (const options of [{}, { depth: 8 }, { pool, depth: 3 }]) {
      const writer = Bun.spawn(["bash", "-c", 'cat "$0" > "$1"', path, fifo]);
      expect(await hashFile(fifo, options)).toBe(expected);
      await writer.exited;
    }
    const program = `import { hashFile } from "bun-uring"; console.log(await hashFile(process.argv[1]));`;
    const bun = [process.execPath, "-e", program];
    for (const command of ['cat "$0" | "$@" /dev/stdin', '"$@" /dev/stdin < "$0"', '"$@" <(cat "$0")']) {
      const { stdout } = await execute(["bash", "-c", command, path, ...bun]);
      expect([command, stdout.trim()]).toEqual([command, expected]);
    }
  }),
);

test("hundreds of files at once are hashed, small and large, and files that the kernel generates", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const files = Array.from({ length: 50 }, (_, index) => folder.random(`${index}`, index ** 3));
    const digest = (content: Uint8Array) => createHash("sha256").update(content).digest("hex");
    const hashed = await Promise.all(
      Array.from({ length: 500 }, (_, index) => hashFile(files[index % 50]?.path ?? "")),
    );
    expect(hashed).toEqual(hashed.map((_, index) => digest(files[index % 50]?.content ?? Buffer.alloc(0))));
    expect(await hashFile("/proc/version")).toBe(digest(readFileSync("/proc/version")));
    for (const { path } of files) expect(fdsOf(path)).toBe(0);
  }));

test("an abort of hashes at any moment leaves no file open", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    const { path } = folder.random("file", 200_000);
    const reason = new Error("enough");
    for (let turns = 0; turns < 20; turns++) {
      const controller = new AbortController();
      const hashing = hashFile(path, { signal: controller.signal }).catch((error: unknown) =>
        expect(error).toBe(reason),
      );
      for (let turn = 0; turn < turns; turn++) await undefined;
      controller.abort(reason);
      await hashing;
      while (fdsOf(path) > 0) await Bun.sleep(1);
    }
  }));
