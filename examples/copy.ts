/**
 * Copies a file, with a progress bar if stderr is a terminal. Ctrl-C ends the copy cleanly: if the copy created the
 * destination, no partial file is left.
 */
import { parseArgs } from "node:util";
import { copyFile } from "bun-uring";
import { SingleBar } from "cli-progress";

const usage = `Usage: bun examples/copy.ts [options] FROM TO

Copies the file FROM to TO: by sharing its blocks if the file system can, otherwise by reading and writing.

      --durable   return only when the copy is on stable storage
  -h, --help      print this
`;

function fail(message: string, status: number): never {
  console.error(`copy: ${message}`);
  process.exit(status);
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { durable: { type: "boolean", default: false }, help: { type: "boolean", short: "h", default: false } },
    });
  } catch (error) {
    fail(`${message(error)}\n\n${usage}`, 2);
  }
}

const { values: options, positionals } = parse();
if (options.help) {
  console.log(usage);
  process.exit(0);
}
const [from, to, ...more] = positionals;
if (from === undefined || to === undefined || more.length > 0) fail(`one FROM and one TO are needed\n\n${usage}`, 2);

const controller = new AbortController();
/** By convention 128 plus the signal's number. A second signal ends the process at once. */
let interruptedStatus = 0;
for (const [name, number] of [["SIGINT", 2] as const, ["SIGTERM", 15] as const]) {
  process.once(name, () => {
    interruptedStatus ||= 128 + number;
    controller.abort();
  });
}

const bar = process.stderr.isTTY
  ? new SingleBar({
      stream: process.stderr,
      clearOnComplete: true,
      linewrap: true,
      format: "{bar} {percentage}% {value}/{total} MB, {eta_formatted} left",
    })
  : undefined;
const megabytes = (bytes: number) => Math.round(bytes / 1e6);
const started = performance.now();
try {
  const { copiedBytes, method } = await copyFile(from, to, {
    durable: options.durable,
    signal: controller.signal,
    onProgress(progress) {
      const total = megabytes(progress.totalBytes);
      if (bar?.isActive) bar.setTotal(total);
      else bar?.start(total, 0);
      bar?.update(megabytes(progress.copiedBytes));
    },
  });
  bar?.stop();
  const seconds = (performance.now() - started) / 1000;
  console.log(
    `${copiedBytes} bytes, ${method}, ${seconds.toFixed(3)} s, ${(copiedBytes / 1e6 / seconds).toFixed(0)} MB/s`,
  );
} catch (error) {
  bar?.stop();
  if (interruptedStatus > 0) fail("interrupted", interruptedStatus);
  fail(message(error), 1);
}
