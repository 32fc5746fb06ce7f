/**
 * A log that survives crashes: appends each line of standard input as a record, and prints the record's position once it
 * is on stable storage. Records that arrive together share one write and one sync.
 *
 * A record is a CRC-32, the length of its text, 4 bytes each, and the text in UTF-8. The checksum covers the length and
 * the text. After a crash the last records may be incomplete. Nobody was told that these are stored; opening the log
 * again cuts them off.
 */
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { type Appender, Ring, type RingFile } from "bun-uring";

const usage = `Usage: bun examples/durable-log.ts [options] FILE

Appends each line of standard input to the log FILE, and prints its position and the line once it is on stable
storage. Only one process may append to a log at a time.

      --list   print the records of the log instead
  -h, --help   print this
`;

const checksumBytes = 4;
const headBytes = 8;

function encoded(text: string): Buffer {
  const record = Buffer.alloc(headBytes + Buffer.byteLength(text));
  record.write(text, headBytes);
  record.writeUInt32LE(record.length - headBytes, checksumBytes);
  record.writeUInt32LE(Bun.hash.crc32(record.subarray(checksumBytes)), 0);
  return record;
}

/** The records at the beginning of a log's content, up to the first that is not complete. */
function* recordsOf(content: Buffer): Generator<{ position: number; text: string; end: number }> {
  for (let position = 0; position + headBytes <= content.length; ) {
    const end = position + headBytes + content.readUInt32LE(position + checksumBytes);
    const isComplete =
      end <= content.length &&
      Bun.hash.crc32(content.subarray(position + checksumBytes, end)) === content.readUInt32LE(position);
    if (!isComplete) return;
    yield { position, text: content.toString("utf8", position + headBytes, end), end };
    position = end;
  }
}

/** Makes a new file's name durable, as its appender makes the content. */
async function syncFolder(ring: Ring, path: string): Promise<void> {
  await using folder = await ring.open(dirname(path));
  await folder.sync();
}

class DurableLog implements AsyncDisposable {
  readonly #file: RingFile;
  readonly #appender: Appender;
  /** How many bytes of incomplete records were cut off when the log was opened. */
  readonly cutBytes: number;

  private constructor(file: RingFile, appender: Appender, cutBytes: number) {
    this.#file = file;
    this.#appender = appender;
    this.cutBytes = cutBytes;
  }

  static async open(ring: Ring, path: string): Promise<DurableLog> {
    const file = await ring.open(path, "a+");
    try {
      await syncFolder(ring, path);
      const content = await file.readFile();
      let end = 0;
      for (const record of recordsOf(content)) end = record.end;
      if (end < content.length) await file.truncate(end);
      return new DurableLog(file, await file.appender(), content.length - end);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** Resolves to the record's position once it is on stable storage. */
  append(text: string): Promise<number> {
    return this.#appender.append(encoded(text));
  }

  /** Resolves when more may be appended: call it from time to time. */
  async hasRoom(): Promise<void> {
    if (this.#appender.waitingBytes > 2 ** 20) await this.#appender.flush();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#appender.close();
    await this.#file.close();
  }
}

function fail(message: string, status: number): never {
  console.error(`durable-log: ${message}`);
  process.exit(status);
}

function message(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: { list: { type: "boolean", default: false }, help: { type: "boolean", short: "h", default: false } },
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
const [path, ...more] = positionals;
if (path === undefined || more.length > 0) fail(`one FILE is needed\n\n${usage}`, 2);

async function list(ring: Ring, from: string): Promise<void> {
  await using file = await ring.open(from);
  for (const { position, text } of recordsOf(await file.readFile())) console.log(`${position} ${text}`);
}

async function appendLines(ring: Ring, to: string): Promise<void> {
  await using log = await DurableLog.open(ring, to);
  if (log.cutBytes > 0) console.error(`durable-log: cut off ${log.cutBytes} bytes of incomplete records`);
  for await (const line of createInterface({ input: process.stdin })) {
    log
      .append(line)
      .then((position) => console.log(`${position} ${line}`))
      .catch((error: unknown) => fail(message(error), 1));
    await log.hasRoom();
  }
}

try {
  await using ring = new Ring();
  await (options.list ? list(ring, path) : appendLines(ring, path));
} catch (error) {
  fail(message(error), 1);
}
