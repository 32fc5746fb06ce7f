/** Registers a ring's tables of buffers and files by io_uring_register(2). */
import { checkInteger, invalidType, outOfRange } from "../base/arguments.ts";
import { bufferOf, byteLengthOf, isBytes, isGrowable, isSharedMemory } from "../base/view.ts";
import { checked } from "../errors/uring-error.ts";
import { checkedRegistration } from "./memlock.ts";
import { addressOf } from "./native.ts";
import { type Scratch, scratch } from "./scratch.ts";
import {
  IORING_REGISTER_BUFFERS_UPDATE,
  IORING_REGISTER_BUFFERS2,
  IORING_REGISTER_FILES_SKIP,
  IORING_REGISTER_FILES_UPDATE2,
  IORING_REGISTER_FILES2,
  IORING_RSRC_REGISTER_SPARSE,
} from "./uapi.ts";
import type { Uring } from "./uring.ts";

/** What can be registered: memory that cannot move. `null` is an entry that holds nothing. */
export type Registrable = Uint8Array | SharedArrayBuffer | null;

/** Registered memory, from `start` up to and excluding `end`. */
export interface Region {
  readonly memory: SharedArrayBuffer;
  readonly start: number;
  readonly end: number;
  /** Whether the memory can grow. A view of it may then grow, too. */
  readonly grows?: boolean;
  /** The view that was registered, if it was one. Keeping a slot's bytes keeps the slot. */
  readonly bytes?: Uint8Array;
}

/** What to register, with the tags if there are any. The caller's arrays have been read exactly once. */
export interface Registration {
  readonly regions: readonly (Region | null)[];
  readonly tags: readonly number[] | undefined;
}

/** The most entries that a buffer table can have: IORING_MAX_REG_BUFFERS. */
export const largestTable = 16384;
export const largestFd = 2 ** 31 - 1;
const largestTag = Number.MAX_SAFE_INTEGER;
export const largestFileTable = 2 ** 20;
/** The size in bytes of struct io_uring_rsrc_register and struct io_uring_rsrc_update2. */
const argumentBytes = 32;

/** The memory of something to be registered. */
export function regionOf(buffer: Registrable, name: string): Region | null {
  if (buffer === null) return null;
  const bytes = isSharedMemory(buffer) ? new Uint8Array(buffer) : buffer;
  const memory = isBytes(bytes) ? bufferOf(bytes) : undefined;
  if (!isSharedMemory(memory))
    throw invalidType(
      name,
      "a SharedArrayBuffer, a Uint8Array of one, or null (other memory can move or be freed while the kernel uses it)",
      buffer,
    );
  const length = byteLengthOf(bytes);
  if (length === 0) throw outOfRange(name, "at least 1 byte long", "0 bytes");
  const start = addressOf(bytes);
  const region = { memory, start, end: start + length, grows: isGrowable(memory) };
  return bytes === buffer ? { ...region, bytes } : region;
}

function tagsOf(given: readonly number[] | undefined, count: number): readonly number[] | undefined {
  if (given === undefined) return undefined;
  if (!Array.isArray(given)) throw invalidType("tags", "an array", given);
  const tags: readonly number[] = Array.from(given);
  if (tags.length !== count) throw outOfRange("tags.length", `${count}, one for each`, tags.length);
  for (const [index, tag] of tags.entries()) checkInteger(`tags[${index}]`, tag, 0, largestTag);
  return tags;
}

export function registrationOf(buffers: readonly Registrable[], tags: readonly number[] | undefined): Registration {
  if (!Array.isArray(buffers)) throw invalidType("buffers", "an array", buffers);
  const regions = Array.from(buffers, (buffer: Registrable, index) => regionOf(buffer, `buffers[${index}]`));
  if (regions.length === 0) throw outOfRange("buffers.length", `from 1 to ${largestTable}`, 0);
  return { regions, tags: tagsOf(tags, regions.length) };
}

/** The total size of the regions, in bytes. */
export function regionBytes(regions: readonly (Region | null)[]): number {
  return regions.reduce((sum, region) => sum + (region === null ? 0 : region.end - region.start), 0);
}

/** The addresses of what was laid out, and the memory of the struct before it. */
interface Argument extends Scratch {
  /** Of the iovecs or descriptors. */
  readonly data: number;
  readonly count: number;
  /** 0 without tags. */
  readonly tags: number;
}

/** Writes tags at an offset of the memory. Returns their address, or 0 if there are none. */
function layOutTags({ address, longs }: Scratch, offset: number, tags: readonly number[] | undefined): number {
  if (tags === undefined) return 0;
  for (const [index, tag] of tags.entries()) longs[offset / 8 + index] = BigInt(tag);
  return address + offset;
}

/** Lays out iovecs, and tags if there are any, after `headBytes` bytes. */
export function layOut(headBytes: number, { regions, tags }: Registration): Argument {
  const count = regions.length;
  const tagsOffset = headBytes + 16 * count;
  const memory = scratch(tagsOffset + (tags === undefined ? 0 : 8 * count));
  for (const [index, region] of regions.entries()) {
    if (region === null) continue;
    memory.longs[headBytes / 8 + 2 * index] = BigInt(region.start);
    memory.longs[headBytes / 8 + 2 * index + 1] = BigInt(region.end - region.start);
  }
  return { ...memory, data: memory.address + headBytes, count, tags: layOutTags(memory, tagsOffset, tags) };
}

/** Lays out descriptors, and tags if there are any, after a struct of `argumentBytes`. */
function layOutFiles(given: readonly number[], givenTags: readonly number[] | undefined): Argument {
  if (!Array.isArray(given)) throw invalidType("fds", "an array", given);
  const fds: readonly number[] = Array.from(given);
  const count = fds.length;
  if (count < 1 || count > largestFileTable) throw outOfRange("fds.length", `from 1 to ${largestFileTable}`, count);
  for (const [index, fd] of fds.entries()) checkInteger(`fds[${index}]`, fd, IORING_REGISTER_FILES_SKIP, largestFd);
  const tags = tagsOf(givenTags, count);
  const tagsOffset = argumentBytes + 8 * Math.ceil(count / 2);
  const memory = scratch(tagsOffset + (tags === undefined ? 0 : 8 * count));
  memory.words.set(fds, argumentBytes / 4);
  return { ...memory, data: memory.address + argumentBytes, count, tags: layOutTags(memory, tagsOffset, tags) };
}

/** Creates a table. Returns 0 or -errno. */
function create(uring: Uring, opcode: number, { address, words, longs, data, count, tags }: Argument): number {
  words[0] = count;
  longs[2] = BigInt(data);
  longs[3] = BigInt(tags);
  return uring.register(opcode, address, argumentBytes);
}

/** Replaces entries of a table, from `offset` on. Returns how many, or -errno. */
function update(
  uring: Uring,
  opcode: number,
  offset: number,
  { address, words, longs, data, count, tags }: Argument,
): number {
  words[0] = offset;
  longs[1] = BigInt(data);
  longs[2] = BigInt(tags);
  words[6] = count;
  return uring.register(opcode, address, argumentBytes);
}

/** Creates a table whose entries hold nothing yet. */
function registerSparse(uring: Uring, opcode: number, count: number, syscall: string): void {
  const { address, words } = scratch(argumentBytes);
  words[0] = count;
  words[1] = IORING_RSRC_REGISTER_SPARSE;
  checked(uring.register(opcode, address, argumentBytes), syscall);
}

/**
 * Creates a ring's table of buffers.
 * @throws UringError: io_uring_register_buffers(3)'s errors; the hint of an ENOMEM names the limit
 */
export function registerBuffers(uring: Uring, registration: Registration): void {
  const result = create(uring, IORING_REGISTER_BUFFERS2, layOut(argumentBytes, registration));
  checkedRegistration(result, "io_uring_register_buffers", regionBytes(registration.regions));
}

/**
 * Replaces entries of the table of buffers. Returns how many.
 * @throws UringError: io_uring_register_buffers_update_tag(3)'s errors
 */
export function updateBuffers(uring: Uring, offset: number, registration: Registration): number {
  const result = update(uring, IORING_REGISTER_BUFFERS_UPDATE, offset, layOut(argumentBytes, registration));
  return checkedRegistration(result, "io_uring_register_buffers_update", regionBytes(registration.regions));
}

export function registerSparseBuffers(uring: Uring, count: number): void {
  registerSparse(uring, IORING_REGISTER_BUFFERS2, count, "io_uring_register_buffers_sparse");
}

export function registerSparseFiles(uring: Uring, count: number): void {
  registerSparse(uring, IORING_REGISTER_FILES2, count, "io_uring_register_files_sparse");
}

/**
 * Creates a ring's table of files.
 * @throws TypeError, RangeError: a descriptor or a tag is not valid; UringError: io_uring_register_files(3)'s errors
 */
export function registerFiles(uring: Uring, fds: readonly number[], tags?: readonly number[]): void {
  checked(create(uring, IORING_REGISTER_FILES2, layOutFiles(fds, tags)), "io_uring_register_files");
}

/** Replaces entries of the table of files. Returns how many. */
export function updateFiles(uring: Uring, offset: number, fds: readonly number[], tags?: readonly number[]): number {
  const result = update(uring, IORING_REGISTER_FILES_UPDATE2, offset, layOutFiles(fds, tags));
  return checked(result, "io_uring_register_files_update");
}

/** Removes a table: that of buffers (IORING_UNREGISTER_BUFFERS) or that of files (IORING_UNREGISTER_FILES). */
export function unregister(uring: Uring, opcode: number, syscall: string): void {
  checked(uring.register(opcode, 0, 0), syscall);
}
