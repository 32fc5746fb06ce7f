/**
 * Hashes files with several Workers that share one pool of registered buffers.
 *
 * A file's digest is the SHA-256 over the SHA-256s of its 1 MiB chunks, in order, no matter which Worker hashed which
 * chunk. The pool is registered once. Each Worker clones it into a ring of its own and keeps many reads in flight,
 * bypassing the page cache (O_DIRECT) if the file system allows it.
 */
import { createHash } from "node:crypto";
import { closeSync, constants, openSync, readSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { BufferPool, probe, UringError } from "bun-uring";
import { SingleBar } from "cli-progress";
import { chunkBytes, digestBytes, type FileReport, type Job, type Report, readsInFlight } from "./checksum-job.ts";

const usage = `Usage: bun examples/checksum.ts [options] FILE...

Prints for each FILE the SHA-256 over the SHA-256s of its 1 MiB chunks.

  -w, --workers N   number of Workers (default: one per core, here ${availableParallelism()})
      --verify      compare each digest with node:crypto over node:fs
      --json        print one JSON object
  -h, --help        print this
`;

function fail(message: string): never {
  console.error(`checksum: ${message}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        workers: { type: "string", short: "w", default: String(availableParallelism()) },
        verify: { type: "boolean", default: false },
        json: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    fail(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether at least one byte can be read. */
function hasContent(path: string): boolean {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    return readSync(fd, Buffer.alloc(1), 0, 1, null) > 0;
  } finally {
    closeSync(fd);
  }
}

/** Examines a file before it is hashed. Returns its size, or why it cannot be hashed. */
function inspect(path: string): FileReport {
  try {
    const stat = statSync(path);
    if (!stat.isFile()) throw new Error(stat.isDirectory() ? "is a directory" : "is not a regular file");
    if (stat.size === 0 && hasContent(path))
      throw new Error("has content, though its size is 0: a file that the kernel generates can't be hashed in parts");
    return { path, sizeBytes: stat.size };
  } catch (error) {
    return { path, sizeBytes: 0, error: message(error) };
  }
}

/** Computes the digest of a file's first `sizeBytes` bytes with node:fs and node:crypto. */
function verify(path: string, sizeBytes: number): string {
  const whole = createHash("sha256");
  const chunk = Buffer.alloc(chunkBytes);
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    for (let position = 0; position < sizeBytes; position += chunkBytes) {
      const length = Math.min(chunkBytes, sizeBytes - position);
      let filled = 0;
      for (let bytesRead = -1; filled < length && bytesRead !== 0; filled += bytesRead)
        bytesRead = readSync(fd, chunk, filled, length - filled, position + filled);
      whole.update(createHash("sha256").update(chunk.subarray(0, filled)).digest());
    }
  } finally {
    closeSync(fd);
  }
  return whole.digest("hex");
}

/** Runs one Worker until it has finished. */
function run(job: Job, onFileError: (file: number, error: string) => void): Promise<Report> {
  const { promise, resolve, reject } = Promise.withResolvers<Report>();
  const worker = new Worker(new URL("./checksum-worker.ts", import.meta.url).href);
  let report: Report | undefined;
  worker.addEventListener("message", ({ data }: MessageEvent<Report | { file: number; error: string }>) => {
    if ("file" in data) onFileError(data.file, data.error);
    else report = data;
  });
  worker.addEventListener("error", (event) => reject(new Error(event.message)));
  worker.addEventListener("close", () =>
    report === undefined ? reject(new Error("a Worker ended early")) : resolve(report),
  );
  worker.postMessage(job);
  return promise;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

function throughput(bytes: number, seconds: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB in ${seconds.toFixed(3)} s, ${(bytes / 1e6 / seconds).toFixed(0)} MB/s`;
}

const { values: options, positionals: paths } = parse();
if (options.help) {
  console.log(usage);
  process.exit(0);
}
if (paths.length === 0) fail(`no files\n\n${usage}`);
const wanted = Number(options.workers);
if (!/^\d+$/.test(options.workers) || wanted < 1 || wanted > 256)
  fail(`--workers must be an integer from 1 to 256, not ${options.workers}`);

const files = paths.map(inspect);
/** For each file, the number of its first chunk. Chunks are numbered across all files. */
const firstChunks: number[] = [];
let chunkCount = 0;
for (const { sizeBytes } of files) {
  firstChunks.push(chunkCount);
  chunkCount += Math.ceil(sizeBytes / chunkBytes);
}
const { clone, memlock } = probe();
/** How many chunks may be locked, less one for the memory that the rings themselves take. */
const lockable = memlock.unlimited
  ? Number.POSITIVE_INFINITY
  : Math.max(1, Math.floor(memlock.limitBytes / chunkBytes) - 1);
/**
 * If the kernel cannot clone buffers, each Worker's ring registers the pool's memory again, which counts against the
 * limit each time.
 */
const workerCount = Math.max(1, Math.min(wanted, chunkCount, clone.whole ? wanted : lockable));
const chunksInFlight = clone.whole
  ? workerCount * readsInFlight
  : Math.min(workerCount * readsInFlight, Math.floor(lockable / workerCount));

/** Makes a pool for as many reads as can be in flight at once, or for fewer if the limit on locked memory is low. */
async function makePool(count: number): Promise<BufferPool> {
  try {
    return await BufferPool.create({ count, size: chunkBytes });
  } catch (error) {
    if (!(error instanceof UringError)) throw error;
    if (error.code === "ENOMEM" && count > 1) return makePool(Math.ceil(count / 2));
    fail(error.message);
  }
}

const pool = await makePool(Math.max(1, Math.min(chunksInFlight, chunkCount)));

const job: Job = {
  pool: pool.share(),
  files,
  firstChunks,
  chunkCount,
  progress: new Int32Array(new SharedArrayBuffer(8)),
  failed: new Int32Array(new SharedArrayBuffer(4 * files.length)),
  chunksLeft: new Int32Array(new SharedArrayBuffer(4 * files.length)),
  times: new Float64Array(new SharedArrayBuffer(16 * files.length)),
  digests: new Uint8Array(new SharedArrayBuffer(Math.max(1, digestBytes * chunkCount))),
};
job.chunksLeft.set(files.map(({ sizeBytes }) => Math.ceil(sizeBytes / chunkBytes)));

const bar = process.stderr.isTTY
  ? new SingleBar({
      stream: process.stderr,
      clearOnComplete: true,
      linewrap: true,
      format: "{bar} {percentage}% {value}/{total} MiB, {speed} MiB/s",
    })
  : undefined;
bar?.start(chunkCount, 0, { speed: 0 });
const started = performance.now();
const ticker =
  bar &&
  setInterval(() => {
    const done = Atomics.load(job.progress, 1);
    bar.update(done, { speed: Math.round((done * 1000) / (performance.now() - started)) });
  }, 100);
const reports = await Promise.all(
  Array.from({ length: workerCount }, () =>
    run(job, (file, error) => {
      const report = files[file];
      if (report !== undefined) report.error = error;
    }),
  ),
);
const seconds = (performance.now() - started) / 1000;
clearInterval(ticker);
bar?.stop();

let bytes = 0;
for (const [file, report] of files.entries()) {
  if (report.error !== undefined) continue;
  const first = firstChunks[file] ?? 0;
  const last = first + Math.ceil(report.sizeBytes / chunkBytes);
  report.digest = createHash("sha256")
    .update(job.digests.subarray(first * digestBytes, last * digestBytes))
    .digest("hex");
  report.seconds = Math.max(0, (job.times[2 * file + 1] ?? 0) - (job.times[2 * file] ?? 0)) / 1000;
  bytes += report.sizeBytes;
  if (!options.verify) continue;
  try {
    report.verified = verify(report.path, report.sizeBytes) === report.digest;
  } catch (error) {
    report.error = `could not be verified: ${message(error)}`;
  }
}
const { registrationMs } = pool.stats();
pool.close();

const lines: string[] = [];
if (options.json) {
  lines.push(JSON.stringify({ files, bytes, seconds, registrationMs, workers: reports }, null, 2));
} else {
  for (const { path, sizeBytes, digest, seconds: took = 0, error, verified } of files) {
    if (error !== undefined) console.error(`checksum: ${path}: ${error}`);
    else lines.push(`${digest}  ${path}${sizeBytes === 0 ? "" : `  (${throughput(sizeBytes, took)})`}`);
    if (verified !== undefined)
      lines.push(verified ? "  matches node:crypto over node:fs" : "  DOES NOT MATCH node:crypto over node:fs");
  }
  lines.push(`${throughput(bytes, seconds)} with ${counted(workerCount, "Worker")}, including their startup`);
  lines.push(`pool: ${counted(pool.count, "buffer")} of 1 MiB, registered once in ${registrationMs.toFixed(3)} ms`);
  for (const [index, { bufferSource, bufferJoinMs }] of reports.entries())
    lines.push(`Worker ${index + 1}: ${bufferSource} in ${(bufferJoinMs * 1000).toFixed(1)} µs`);
}
try {
  await Bun.write(Bun.stdout, `${lines.join("\n")}\n`);
} catch (error) {
  fail(`the results could not be written: ${message(error)}`);
}
process.exitCode = files.some(({ error, verified }) => error !== undefined || verified === false) ? 1 : 0;
