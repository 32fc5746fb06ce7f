/**
 * A FUSE file system whose files fail as their names say: fuse.ts FOLDER [direct] [async]. "direct" bypasses the page
 * cache (FOPEN_DIRECT_IO); "async" lets the kernel send several reads of a file at once. It serves until its standard
 * input ends. The line "release" on standard input answers all held requests, and from then on nothing is held.
 *
 * A file's name is OPERATION-ANSWER or OPERATION-ANSWER-POSITION. OPERATION is read, write, fsync, or flush (which
 * close(2) waits for). ANSWER is the name of an errno, or "held": the right answer, but only after "release". POSITION
 * limits this to operations at that position or later; an fsync's position is the file's size. A file with any other name behaves normally.
 */
import { dlopen } from "bun:ffi";
import { constants, openSync, read, writeSync } from "node:fs";
import { constants as osConstants } from "node:os";
import { numbered } from "../support/content.ts";
import { faultyFileBytes } from "../support/faulty-files.ts";

const libc = dlopen("libc.so.6", {
  mount: { args: ["cstring", "cstring", "cstring", "u64", "cstring"], returns: "i32" },
  umount2: { args: ["cstring", "i32"], returns: "i32" },
}).symbols;
const MNT_DETACH = 2;

const opcodes: Readonly<Record<number, string>> = {
  1: "lookup",
  2: "forget",
  3: "getattr",
  4: "setattr",
  14: "open",
  15: "read",
  16: "write",
  17: "statfs",
  18: "release",
  20: "fsync",
  25: "flush",
  26: "init",
  36: "interrupt",
  42: "forget", // FUSE_BATCH_FORGET: several nodes
};
const FATTR_SIZE = 8;
const FOPEN_DIRECT_IO = 1;
const FUSE_ASYNC_READ = 1;
const FUSE_ASYNC_DIO = 1 << 15;
const ENOSYS = 38;
const requestHeadBytes = 40;
const largestTransferBytes = 2 ** 17;

interface Node {
  readonly name: string;
  content: Buffer;
}

/** Nodes by node id; 1 is the root. */
const nodes: (Node | undefined)[] = [undefined, undefined];
/** Answers that are held; undefined after the release. */
let held: (() => void)[] | undefined = [];
const [folder = "", ...modes] = process.argv.slice(2);
const fuse = openSync("/dev/fuse", "r+");

function reply(unique: bigint, errno: number, body: Uint8Array = Buffer.alloc(0)): void {
  const message = Buffer.alloc(16 + body.length);
  message.writeUInt32LE(message.length, 0);
  message.writeInt32LE(-errno, 4);
  message.writeBigUInt64LE(unique, 8);
  message.set(body, 16);
  writeSync(fuse, message);
}

/** A structure of `sizeBytes` that has a struct fuse_attr at offset `at`. */
function attributes(sizeBytes: number, at: number, id: number): Buffer {
  const node = nodes[id];
  const body = Buffer.alloc(sizeBytes);
  body.writeBigUInt64LE(BigInt(id), at);
  body.writeBigUInt64LE(BigInt(node?.content.length ?? 0), at + 8);
  body.writeUInt32LE(node === undefined ? constants.S_IFDIR | 0o755 : constants.S_IFREG | 0o666, at + 60);
  body.writeUInt32LE(1, at + 64);
  return body;
}

function lookUp(name: string): number {
  const known = nodes.findIndex((node) => node?.name === name);
  return known === -1 ? nodes.push({ name, content: Buffer.from(numbered(faultyFileBytes)) }) - 1 : known;
}

/** The answer that the file's name gives to this operation at this position. */
function answerOf({ name }: Node, operation: string, position: number): string | undefined {
  const [named, answer, from = "0"] = name.split("-");
  return named === operation && position >= Number(from) ? answer : undefined;
}

function transfer(node: Node, operation: "read" | "write", request: Buffer): Uint8Array {
  const position = Number(request.readBigUInt64LE(requestHeadBytes + 8));
  const length = request.readUInt32LE(requestHeadBytes + 16);
  if (operation === "read") return node.content.subarray(position, position + length);
  const end = position + length;
  if (end > node.content.length) node.content = Buffer.concat([node.content, Buffer.alloc(end - node.content.length)]);
  node.content.set(request.subarray(requestHeadBytes + 40, requestHeadBytes + 40 + length), position);
  const written = Buffer.alloc(8);
  written.writeUInt32LE(length, 0);
  return written;
}

/** The body of the answer, or a positive errno. */
function answer(operation: string | undefined, id: number, request: Buffer): Uint8Array | number {
  const node = nodes[id];
  switch (operation) {
    case "init": {
      const body = Buffer.alloc(64);
      body.writeUInt32LE(7, 0);
      body.writeUInt32LE(31, 4);
      body.writeUInt32LE(largestTransferBytes, 20);
      if (modes.includes("async")) {
        body.writeUInt32LE(FUSE_ASYNC_READ | FUSE_ASYNC_DIO, 12);
        body.writeUInt16LE(12, 16); // max_background
        body.writeUInt16LE(9, 18);
      }
      return body;
    }
    case "lookup": {
      const found = lookUp(request.toString("utf8", requestHeadBytes, request.length - 1));
      const body = attributes(128, 40, found);
      body.writeBigUInt64LE(BigInt(found), 0);
      return body;
    }
    case "setattr":
      if (node !== undefined && (request.readUInt32LE(requestHeadBytes) & FATTR_SIZE) !== 0) {
        const size = Number(request.readBigUInt64LE(requestHeadBytes + 16));
        node.content = Buffer.concat([
          node.content.subarray(0, size),
          Buffer.alloc(Math.max(0, size - node.content.length)),
        ]);
      }
      return attributes(104, 16, id);
    case "getattr":
      return attributes(104, 16, id);
    case "open": {
      const body = Buffer.alloc(16);
      if (modes.includes("direct")) body.writeUInt32LE(FOPEN_DIRECT_IO, 8);
      return body;
    }
    case "read":
    case "write":
      return node === undefined ? osConstants.errno.EISDIR : transfer(node, operation, request);
    case "statfs":
      return Buffer.alloc(80);
    case "release":
    case "fsync":
    case "flush":
      return Buffer.alloc(0);
    default:
      return ENOSYS;
  }
}

function serve(request: Buffer): void {
  const operation = opcodes[request.readUInt32LE(4)];
  const unique = request.readBigUInt64LE(8);
  const id = Number(request.readBigUInt64LE(16));
  if (operation === "forget" || operation === "interrupt") return;
  const node = nodes[id];
  const isTransfer = operation === "read" || operation === "write";
  const position = isTransfer ? Number(request.readBigUInt64LE(requestHeadBytes + 8)) : (node?.content.length ?? 0);
  const rule = node && operation && answerOf(node, operation, position);
  const errno = Object.entries(osConstants.errno).find(([name]) => name === rule)?.[1];
  const finish = () => {
    const given = errno ?? answer(operation, id, request);
    if (typeof given === "number") reply(unique, given);
    else reply(unique, 0, given);
  };
  if (rule !== "held" || held === undefined) {
    finish();
  } else {
    held.push(finish);
    console.log(`held ${node?.name}`);
  }
}

function serveNext(): void {
  const buffer = Buffer.alloc(largestTransferBytes + 65536);
  read(fuse, buffer, 0, buffer.length, null, (error, length) => {
    if (error?.code === "ENODEV") return; // unmounted
    if (error && error.code !== "EINTR" && error.code !== "ENOENT") throw error;
    if (!error) serve(buffer.subarray(0, length));
    serveNext();
  });
}

if (
  libc.mount(
    cString("faulty"),
    cString(folder),
    cString("fuse"),
    0,
    cString(`fd=${fuse},rootmode=40000,user_id=0,group_id=0`),
  ) !== 0
)
  throw new Error("mount failed");
console.log("mounted");
serveNext();
process.on("SIGTERM", end);
for await (const line of console) if (line === "release") release();
end();

function release(): void {
  for (const finish of held ?? []) finish();
  held = undefined;
}

function end(): never {
  libc.umount2(cString(folder), MNT_DETACH);
  process.exit();
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}
