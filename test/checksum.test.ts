import { expect } from "bun:test";
import { createHash } from "node:crypto";
import { constants, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { bufferSource, needs } from "./support/capabilities.ts";
import { Folder } from "./support/files.ts";

const program = new URL("../examples/checksum.ts", import.meta.url).pathname;

async function checksum(...args: string[]) {
  const child = Bun.spawn([process.execPath, program, ...args], { stdout: "pipe", stderr: "pipe" });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { exitCode: child.exitCode, stdout, stderr };
}

/** Computes the digest of the chunks' digests, without the example's code. */
function digest(content: Uint8Array): string {
  const whole = createHash("sha256");
  for (let start = 0; start < content.length; start += 2 ** 20)
    whole.update(
      createHash("sha256")
        .update(content.subarray(start, start + 2 ** 20))
        .digest(),
    );
  return whole.digest("hex");
}

interface Output {
  files: { path: string; sizeBytes: number; digest?: string; verified?: boolean; error?: string }[];
  registrationMs: number;
  workers: { bufferSource: string; bufferJoinMs: number }[];
}

needs("a processor that is not emulated")(
  "files of any size get the digest of their chunks' digests, whatever the number of Workers",
  async () => {
    using folder = new Folder();
    const sizes = [0, 1, 511, 512, 4095, 4096, 4097, 2 ** 20 - 1, 2 ** 20, 2 ** 20 + 1, 5 * 2 ** 20 + 12_345];
    const files = sizes.map((size) => folder.random(`file-${size}`, size));
    for (const workers of ["1", "2", "5"]) {
      const { exitCode, stdout, stderr } = await checksum(
        "--json",
        "--workers",
        workers,
        ...files.map(({ path }) => path),
      );
      expect([exitCode, stderr]).toEqual([0, ""]);
      const output: Output = JSON.parse(stdout);
      expect(output.files.map((file) => file.digest)).toEqual(files.map(({ content }) => digest(content)));
      expect(output.workers.map((worker) => worker.bufferSource)).toEqual(
        Array.from({ length: Number(workers) }, () => bufferSource.one),
      );
      for (const { bufferJoinMs } of output.workers) expect(bufferJoinMs).toBeGreaterThan(0);
      expect(output.registrationMs).toBeGreaterThan(0);
    }
  },
);

needs("a processor that is not emulated")(
  "a thousand small files are hashed, and a file named twice is hashed twice",
  async () => {
    using folder = new Folder();
    const files = Array.from({ length: 1000 }, (_, index) => folder.write(`file-${index}`, `content ${index}`));
    const { exitCode, stdout } = await checksum("--json", ...files, files[7] ?? "");
    const output: Output = JSON.parse(stdout);
    expect(exitCode).toBe(0);
    for (const [index, file] of output.files.slice(0, 1000).entries())
      expect(file.digest).toBe(digest(Buffer.from(`content ${index}`)));
    expect(output.files[1000]?.digest).toBe(output.files[7]?.digest);
  },
);

needs("a processor that is not emulated")(
  "if the file system refuses O_DIRECT, files are read through the page cache",
  async () => {
    const path = "/sys/kernel/notes"; // the kernel's own build notes
    expect(() => openSync(path, constants.O_RDONLY | constants.O_DIRECT)).toThrow("EINVAL");
    const { exitCode, stdout, stderr } = await checksum("--json", path);
    expect([exitCode, stderr]).toEqual([0, ""]);
    const output: Output = JSON.parse(stdout);
    expect([output.files[0]?.sizeBytes, output.files[0]?.digest]).toEqual([
      statSync(path).size,
      digest(readFileSync(path)),
    ]);
  },
);

needs("a processor that is not emulated")(
  "each file that cannot be hashed is reported with the reason, the others are hashed, and the exit status is 1",
  async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 100_000);
    const { exitCode, stdout } = await checksum("--json", `${folder.path}/absent`, folder.path, "/dev/null", path);
    const output: Output = JSON.parse(stdout);
    expect(exitCode).toBe(1);
    expect(output.files.map(({ error }) => error?.replace(/,.*/, ""))).toEqual([
      "ENOENT: no such file or directory",
      "is a directory",
      "is not a regular file",
      undefined,
    ]);
    expect(output.files[3]?.digest).toBe(digest(content));
  },
);

needs("a processor that is not emulated")(
  "a file that shrinks while it is read gets an error instead of a wrong digest",
  async () => {
    using folder = new Folder();
    const other = folder.random("other", 3 * 2 ** 20);
    const path = `${folder.path}/shrinking`;
    writeFileSync(path, Buffer.alloc(64 * 2 ** 20, 1));
    // The preloaded module truncates the file right after the main thread's statSync, and so before a Worker reads it.
    const child = Bun.spawn(
      [
        process.execPath,
        "--preload",
        new URL("./programs/shrink.ts", import.meta.url).pathname,
        program,
        "--json",
        path,
        other.path,
      ],
      {
        env: { ...process.env, BUN_URING_SHRINK: path },
        stdout: "pipe",
        stderr: "pipe",
      },
    );
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    await child.exited;
    expect([child.exitCode, stderr]).toEqual([1, ""]);
    const output: Output = JSON.parse(stdout);
    expect(output.files[0]?.error).toContain("shrank while it was read: 67108864 bytes at first");
    expect(output.files[1]?.digest).toBe(digest(other.content));
  },
);

needs("a processor that is not emulated")(
  "a process that may lock no more than 8 MiB hashes files with fewer buffers",
  async () => {
    using folder = new Folder();
    const { path, content } = folder.random("file", 40 * 2 ** 20);
    const limited = [
      process.execPath,
      new URL("./programs/under.ts", import.meta.url).pathname,
      "--memlock-bytes",
      String(8 * 2 ** 20),
      "--",
    ];
    const child = Bun.spawn([...limited, process.execPath, program, "--json", path], {
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    await child.exited;
    expect([child.exitCode, stderr]).toEqual([0, ""]);
    expect(JSON.parse(stdout).files[0].digest).toBe(digest(content));
  },
);

needs("a processor that is not emulated")(
  "a file that the kernel generates, with content but size 0, gets an error instead of the digest of an empty file",
  async () => {
    const { exitCode, stdout } = await checksum("--json", "/proc/self/status");
    expect([exitCode, JSON.parse(stdout).files[0].error]).toEqual([1, expect.stringContaining("size is 0")]);
  },
);

needs("a processor that is not emulated")(
  "the program fails with status 2 if it cannot write its results",
  async () => {
    using folder = new Folder();
    const path = folder.write("file", "x");
    const child = Bun.spawn(["sh", "-c", `exec "$@" > /dev/full`, "sh", process.execPath, program, path], {
      stderr: "pipe",
    });
    expect(await child.stderr.text()).toContain("ENOSPC");
    expect(await child.exited).toBe(2);
  },
);

needs("a processor that is not emulated")(
  "--help prints the options, and invalid arguments are rejected with status 2",
  async () => {
    const help = await checksum("--help");
    expect([help.exitCode, help.stderr]).toEqual([0, ""]);
    for (const option of ["--workers", "--verify", "--json", "--help"]) expect(help.stdout).toContain(option);
    for (const args of [
      [],
      ["--nonsense", "x"],
      ["--workers", "0", "x"],
      ["--workers", "two", "x"],
      ["--workers", "1e1", "x"],
    ]) {
      const { exitCode, stdout, stderr } = await checksum(...args);
      expect([exitCode, stdout]).toEqual([2, ""]);
      expect(stderr).toContain("checksum:");
    }
  },
);

needs("bash, split, sha256sum and perl")("the README's shell command prints the same digest", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 3 * 2 ** 20 + 5);
  const readme = await Bun.file(new URL("../README.md", import.meta.url)).text();
  const line = /^split .*$/m.exec(readme)?.[0];
  if (line === undefined) throw new Error("the README has no line that begins with split");
  const child = Bun.spawn(["bash", "-c", line.replace("FILE", path)], { stdout: "pipe" });
  expect((await child.stdout.text()).split(" ")[0]).toBe(digest(content));
});
