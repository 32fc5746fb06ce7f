/**
 * What each operation asks of the kernel: its opcode, its fields, the memory it needs, and how to read its result.
 * Nothing is started here.
 */

import { checkInteger, checkPosition, invalidType, invalidValue, outOfRange, show } from "../base/arguments.ts";
import { assert } from "../base/assert.ts";
import { TextEncoder } from "../base/globals.ts";
import { isUrl, pathText } from "../base/path.ts";
import { bufferOf, byteLengthOf, isBytes, isSharedMemory } from "../base/view.ts";
import { requestKind } from "../engines/engine.ts";
import { ETIME } from "../errors/errno.ts";
import { since } from "../errors/requirements.ts";
import { UringError } from "../errors/uring-error.ts";
import { isPoolMemory } from "../pool/memory.ts";
import { checkOpcode } from "../uring/kernel.ts";
import { addressOf } from "../uring/native.ts";
import { largestTransferBytes, largestVector } from "../uring/transfers.ts";
import {
  AT_EMPTY_PATH,
  IORING_FSYNC_DATASYNC,
  IORING_OP_FADVISE,
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_FTRUNCATE,
  IORING_OP_MKDIRAT,
  IORING_OP_NOP,
  IORING_OP_OPENAT,
  IORING_OP_OPENAT2,
  IORING_OP_POLL_ADD,
  IORING_OP_READ,
  IORING_OP_READV,
  IORING_OP_READV_FIXED,
  IORING_OP_RENAMEAT,
  IORING_OP_SPLICE,
  IORING_OP_STATX,
  IORING_OP_TIMEOUT,
  IORING_OP_UNLINKAT,
  IORING_OP_WRITE,
  IORING_OP_WRITEV,
  IORING_OP_WRITEV_FIXED,
  IORING_TIMEOUT_ETIME_SUCCESS,
  IOSQE_ASYNC,
  RESOLVE_CACHED,
} from "../uring/uapi.ts";
import type { OpenFile } from "./open-file.ts";
import { AT_FDCWD, O_DIRECT, openFlags } from "./open-flags.ts";
import type { Request } from "./operation.ts";
import { parseStatx, type Statx, statxBytes } from "./statx.ts";

/**
 * Larger reads and writes go to the kernel's workers. Copied from the page cache at submission, they would block the
 * event loop.
 */
const inlineBytes = 4 * 2 ** 20;
const largestMode = 0o7777;
const largestUnsigned = 2 ** 32 - 1;

/** The SQE flags of a transfer. */
export function transferFlags(bytes: number): number {
  return bytes > inlineBytes ? IOSQE_ASYNC : 0;
}

function bytesOfParts(parts: readonly { readonly length: number }[]): number {
  return parts.reduce((sum, { length }) => sum + length, 0);
}

const encoder = new TextEncoder();

const nothing = () => undefined;
const asIs = (value: number) => value;

/** A path as it was given, and in memory as the kernel takes it. */
function pathMemory(path: string | URL, name = "path"): { text: string; memory: SharedArrayBuffer; addr: number } {
  const text = pathText(path, name);
  if (text === "" || text.includes("\0"))
    throw invalidValue(`${name} must be a path without zero bytes, not ${JSON.stringify(text)}`);
  const encoded = encoder.encode(`${text}\0`);
  const memory = new SharedArrayBuffer(encoded.length);
  new Uint8Array(memory).set(encoded);
  return { text, memory, addr: addressOf(memory) };
}

/** A piece of memory that a request names. */
interface Part {
  readonly address: number;
  readonly length: number;
}

/** The address of memory that cannot move while the kernel uses it, and the object that keeps it alive. */
function sharedPart(bytes: Uint8Array, name: string): Part & { readonly memory: SharedArrayBuffer } {
  const memory = isBytes(bytes) ? bufferOf(bytes) : undefined;
  if (!isSharedMemory(memory))
    throw invalidType(
      name,
      "a Uint8Array of a SharedArrayBuffer (other memory can move or be freed while the kernel uses it)",
      bytes,
    );
  if (isPoolMemory(memory))
    throw invalidValue(
      `${name} is a pool's memory: use readFixed, writeFixed, readvFixed or writevFixed, which keep its slot in use`,
    );
  const length = byteLengthOf(bytes);
  return { memory, address: length === 0 ? 0 : addressOf(bytes), length };
}

/** The error for a write that wrote 0 bytes. */
export function noMoreTaken(written: number, length: number): UringError {
  return new UringError("EIO", "write", {
    message: `the file accepted ${written} of ${length} bytes, and then no more`,
  });
}

const vectorOpcodes = { read: IORING_OP_READV, write: IORING_OP_WRITEV } as const;
const fixedVectorOpcodes = { read: IORING_OP_READV_FIXED, write: IORING_OP_WRITEV_FIXED } as const;

/** Lays out an array of iovecs. */
function vectorOf(parts: readonly Part[]): { memory: SharedArrayBuffer; addr: number } {
  const memory = new SharedArrayBuffer(16 * parts.length);
  const words = new BigUint64Array(memory);
  for (const [index, { address, length }] of parts.entries()) {
    words[2 * index] = BigInt(address);
    words[2 * index + 1] = BigInt(length);
  }
  return { memory, addr: addressOf(memory) };
}

/** Requires an array of 1 to 1024 elements. */
export function checkVector(buffers: readonly unknown[]): void {
  if (!Array.isArray(buffers)) throw invalidType("buffers", "an array", buffers);
  if (buffers.length < 1 || buffers.length > largestVector)
    throw outOfRange("buffers.length", `from 1 to ${largestVector}`, buffers.length);
}

type Position = number | bigint | undefined;
/** What an operation acts on: a descriptor, or one of the ring's files. */
export type Target = number | OpenFile;

function of(target: Target): { fd: number; file?: OpenFile } {
  return typeof target === "number" ? { fd: target } : { fd: target.fd, file: target };
}

function positionOf(position: Position, target: Target, syscall: string): number | bigint {
  if (position === undefined) return -1;
  checkPosition("options.position", position, 0);
  if (typeof target !== "number") target.assertSeekable(syscall);
  return position;
}

/** @param byWorker - whether a worker thread of the kernel opens the file, and may block: see ring/opening.ts */
export function open(
  path: string | URL,
  flags: string | number | null = "r",
  mode = 0o666,
  direct = false,
  byWorker = false,
): Request<{ fd: number; fileEntry: number; openedWith: number; text: string }> {
  const { text, memory, addr } = pathMemory(path);
  const opFlags = openFlags(flags) | (direct ? O_DIRECT : 0);
  checkInteger("mode", mode, 0, largestMode);
  return {
    opcode: IORING_OP_OPENAT,
    syscall: "openat",
    flags: byWorker ? IOSQE_ASYNC : 0,
    fd: AT_FDCWD,
    addr,
    len: mode,
    opFlags,
    kind: requestKind.open,
    memory,
    path: text,
    result: (fd, fileEntry) => ({ fd, fileEntry, openedWith: opFlags, text }),
  };
}

/**
 * Opens an existing file if the kernel can do that at once. Otherwise the request fails with EAGAIN, also if the kernel
 * has nothing in its cache about the path.
 * @see openat2(2)
 */
export function openCached(
  path: string | URL,
  flags: number,
): Request<{ fd: number; fileEntry: number; openedWith: number; text: string }> {
  const { text, memory, addr } = pathMemory(path);
  const how = new BigUint64Array(new SharedArrayBuffer(24));
  const opFlags = openFlags(flags);
  how.set([BigInt(opFlags), 0n, BigInt(RESOLVE_CACHED)]);
  return {
    opcode: IORING_OP_OPENAT2,
    syscall: "openat",
    fd: AT_FDCWD,
    addr,
    len: how.byteLength,
    off: addressOf(how.buffer), // sqe->addr2
    kind: requestKind.open,
    memory: [memory, how.buffer],
    path: text,
    result: (fd, fileEntry) => ({ fd, fileEntry, openedWith: opFlags, text }),
  };
}

export function transfer(
  direction: "read" | "write",
  target: Target,
  bytes: Uint8Array,
  position: Position,
): Request<number> {
  const { memory, address: addr, length } = sharedPart(bytes, "bytes");
  assert(length <= largestTransferBytes, "longer transfers are taken apart");
  return {
    opcode: direction === "read" ? IORING_OP_READ : IORING_OP_WRITE,
    syscall: direction,
    flags: transferFlags(length),
    ...of(target),
    off: positionOf(position, target, direction),
    addr,
    len: length,
    memory,
    result: asIs,
  };
}

/**
 * A transfer with memory that only the library has until it completes. That memory may be an ArrayBuffer: one that its
 * owner has given to nobody cannot move, be detached or shrink.
 * @param rwFlags - RWF_* of preadv2(2) and pwritev2(2)
 */
export function ownTransfer(
  direction: "read" | "write",
  target: Target,
  memory: ArrayBufferLike,
  offset: number,
  length: number,
  position: Position,
  rwFlags = 0,
): Request<number> {
  return {
    opcode: direction === "read" ? IORING_OP_READ : IORING_OP_WRITE,
    syscall: direction,
    flags: transferFlags(length),
    ...of(target),
    off: position ?? -1,
    addr: length === 0 ? 0 : addressOf(memory) + offset,
    len: length,
    opFlags: rwFlags,
    memory,
    result: asIs,
  };
}

export function vectoredTransfer(
  direction: "read" | "write",
  target: Target,
  buffers: readonly Uint8Array[],
  position: Position,
): Request<number> {
  checkVector(buffers);
  const parts = Array.from(buffers, (bytes, index) => sharedPart(bytes, `buffers[${index}]`));
  const request = vectoredTransferOf(direction, target, parts, position);
  return { ...request, memory: [...parts.map(({ memory }) => memory), ...[request.memory ?? []].flat()] };
}

/**
 * For any parts that have an address. The caller keeps their memory alive.
 * @param bufferIndex - the registered buffer that all parts lie in, if there is one
 */
export function vectoredTransferOf(
  direction: "read" | "write",
  target: Target,
  parts: readonly Part[],
  position: Position,
  bufferIndex?: number,
): Request<number> {
  const isFixed = bufferIndex !== undefined;
  const { memory, addr } = vectorOf(parts);
  const syscall = `${direction}v${isFixed ? "_fixed" : ""}`;
  const vectorBytes = Math.min(bytesOfParts(parts), largestTransferBytes);
  return {
    opcode: (isFixed ? fixedVectorOpcodes : vectorOpcodes)[direction],
    syscall,
    flags: transferFlags(vectorBytes),
    ...of(target),
    off: positionOf(position, target, syscall),
    addr,
    len: parts.length,
    vectorBytes,
    bufIndex: bufferIndex ?? 0,
    memory,
    result: asIs,
  };
}

export function sync(kind: "fsync" | "fdatasync", target: Target): Request<undefined> {
  return {
    opcode: IORING_OP_FSYNC,
    syscall: kind,
    ...of(target),
    opFlags: kind === "fsync" ? 0 : IORING_FSYNC_DATASYNC,
    result: nothing,
  };
}

export function statx(subject: Target | string | URL, mask: number, flags: number): Request<Statx> {
  checkInteger("options.mask", mask, 0, largestUnsigned);
  checkInteger("options.flags", flags, 0, largestUnsigned);
  const memory = new SharedArrayBuffer(statxBytes);
  const path = typeof subject === "string" || isUrl(subject) ? pathMemory(subject) : undefined;
  const target = typeof subject === "string" || isUrl(subject) ? AT_FDCWD : subject;
  const pathBytes = path?.memory ?? new SharedArrayBuffer(1); // "", the descriptor itself
  return {
    opcode: IORING_OP_STATX,
    syscall: "statx",
    ...of(target),
    off: addressOf(memory),
    addr: addressOf(pathBytes),
    len: mask,
    opFlags: path === undefined ? flags | AT_EMPTY_PATH : flags,
    memory: [memory, pathBytes],
    path: path?.text,
    result: () => parseStatx(memory),
  };
}

export function ftruncate(target: Target, length: number | bigint): Request<undefined> {
  checkPosition("length", length, 0);
  checkOpcode(IORING_OP_FTRUNCATE, "ftruncate", since.FTRUNCATE);
  return { opcode: IORING_OP_FTRUNCATE, syscall: "ftruncate", ...of(target), off: length, result: nothing };
}

export function fallocate(
  target: Target,
  mode: number,
  position: number | bigint,
  length: number | bigint,
): Request<undefined> {
  checkInteger("options.mode", mode, 0, largestUnsigned);
  checkPosition("options.position", position, 0);
  checkPosition("length", length, 1);
  return {
    opcode: IORING_OP_FALLOCATE,
    syscall: "fallocate",
    ...of(target),
    off: position,
    addr: length,
    len: mode,
    result: nothing,
  };
}

const advices = { normal: 0, random: 1, sequential: 2, willneed: 3, dontneed: 4, noreuse: 5 } as const;

/**
 * The advice of posix_fadvise(3), without its prefix: "normal", "random", "sequential", "willneed", "dontneed" or
 * "noreuse".
 */
export type Advice = keyof typeof advices;

function isAdvice(advice: unknown): advice is Advice {
  return typeof advice === "string" && Object.hasOwn(advices, advice);
}

export function fadvise(target: Target, advice: Advice, position: number | bigint, length: number): Request<undefined> {
  if (!isAdvice(advice))
    throw invalidValue(`advice must be one of ${Object.keys(advices).join(", ")}, not ${show(advice)}`);
  checkPosition("options.position", position, 0);
  checkInteger("options.length", length, 0, largestUnsigned);
  return {
    opcode: IORING_OP_FADVISE,
    syscall: "fadvise",
    ...of(target),
    off: position,
    len: length,
    opFlags: advices[advice],
    result: nothing,
  };
}

export function unlink(path: string | URL, flags: number): Request<undefined> {
  checkInteger("options.flags", flags, 0, largestUnsigned);
  const { text, memory, addr } = pathMemory(path);
  return {
    opcode: IORING_OP_UNLINKAT,
    syscall: "unlinkat",
    fd: AT_FDCWD,
    addr,
    opFlags: flags,
    memory,
    path: text,
    result: nothing,
  };
}

export function rename(from: string | URL, to: string | URL, flags: number): Request<undefined> {
  checkInteger("options.flags", flags, 0, largestUnsigned);
  const source = pathMemory(from, "from");
  const target = pathMemory(to, "to");
  return {
    opcode: IORING_OP_RENAMEAT,
    syscall: "renameat2",
    fd: AT_FDCWD,
    addr: source.addr,
    len: AT_FDCWD,
    off: target.addr,
    opFlags: flags,
    memory: [source.memory, target.memory],
    path: source.text,
    destination: target.text,
    result: nothing,
  };
}

export function mkdir(path: string | URL, mode: number): Request<undefined> {
  checkInteger("mode", mode, 0, largestMode);
  const { text, memory, addr } = pathMemory(path);
  return {
    opcode: IORING_OP_MKDIRAT,
    syscall: "mkdirat",
    fd: AT_FDCWD,
    addr,
    len: mode,
    memory,
    path: text,
    result: nothing,
  };
}

export function splice(
  from: Target,
  to: Target,
  length: number,
  fromPosition: Position,
  toPosition: Position,
  flags: number,
): Request<number> {
  checkInteger("length", length, 0, largestUnsigned);
  checkInteger("options.flags", flags, 0, largestUnsigned);
  if (fromPosition !== undefined) checkPosition("options.fromPosition", fromPosition, 0);
  if (toPosition !== undefined) checkPosition("options.toPosition", toPosition, 0);
  return {
    opcode: IORING_OP_SPLICE,
    syscall: "splice",
    ...of(to),
    off: toPosition ?? -1,
    addr: fromPosition ?? -1,
    len: length,
    opFlags: flags,
    spliceFdIn: typeof from === "number" ? from : from.fd,
    uses: typeof from === "number" ? [] : [from],
    result: asIs,
  };
}

export function poll(target: Target, events: number): Request<number> {
  checkInteger("events", events, 1, largestUnsigned);
  return { opcode: IORING_OP_POLL_ADD, syscall: "poll", ...of(target), opFlags: events, result: asIs };
}

export function timeout(timeoutMs: number): Request<undefined> {
  if (typeof timeoutMs !== "number") throw invalidType("timeoutMs", "a number", timeoutMs);
  if (!(timeoutMs >= 0 && timeoutMs <= Number.MAX_SAFE_INTEGER))
    throw outOfRange("timeoutMs", `from 0 to ${Number.MAX_SAFE_INTEGER}`, timeoutMs);
  const memory = new SharedArrayBuffer(16);
  const seconds = Math.floor(timeoutMs / 1000);
  new BigInt64Array(memory).set([BigInt(seconds), BigInt(Math.floor((timeoutMs - seconds * 1000) * 1e6))]);
  return {
    opcode: IORING_OP_TIMEOUT,
    syscall: "timeout",
    addr: addressOf(memory),
    len: 1,
    opFlags: IORING_TIMEOUT_ETIME_SUCCESS,
    memory,
    expectedErrno: ETIME,
    result: nothing,
  };
}

export function nop(): Request<undefined> {
  return { opcode: IORING_OP_NOP, syscall: "nop", result: nothing };
}
