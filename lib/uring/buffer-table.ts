import { invalidType, outOfRange } from "../base/arguments.ts";
import { byteLengthOf, byteOffsetOf, lengthIfBytes } from "../base/view.ts";
import { addressOf } from "./native.ts";
import { type Region, regionOf } from "./registration.ts";
import { largestTransferBytes } from "./transfers.ts";

/** Bytes that a request has named, with their bounds, which do not change: to ask the engine for those takes as long as writing the request. */
export interface Named {
  readonly bytes: Uint8Array;
  /** The entry of the table that they lie in. */
  readonly region: Region | undefined;
  readonly address: number;
  readonly length: number;
}

/** A power of two. */
const namedCount = 256;

/** What a RawRing knows of its table of registered buffers, and the memory that its requests may use: as long as this is held that cannot go. */
export class BufferTable {
  /** The entries, as far as they are known: a clone of a bare descriptor is not. */
  #regions: (Region | null | undefined)[] = [];
  /** Whether these are all that the kernel's table has. */
  #isKnown = true;
  /** Whether entries may have tags. */
  hasTags = false;
  /** What has left the table, or was never seen in it, while requests may still use it. */
  readonly #retired = new Set<SharedArrayBuffer | Uint8Array>();
  /** Parts of the table's memory that requests have named. */
  readonly #named: (Named | undefined)[] = Array.from({ length: namedCount });

  /** How many entries the kernel's table has, where that is known. */
  get length(): number | undefined {
    return this.#isKnown ? this.#regions.length : undefined;
  }

  /** The entries of a range, as far as they are known; a count of 0 is all. */
  range(offset: number, count: number): readonly (Region | null | undefined)[] {
    return count === 0 ? this.#regions : Array.from({ length: count }, (_, index) => this.#regions[offset + index]);
  }

  /** There was none, and now there is this. */
  create(regions: readonly (Region | null)[], hasTags: boolean): void {
    this.#regions = [...regions];
    this.hasTags = hasTags;
  }

  /** Entries from `offset` on are these; those that were there before have left the table. */
  set(offset: number, regions: readonly (Region | null | undefined)[]): void {
    this.#retire(offset, regions.length);
    while (this.#regions.length < offset) this.#regions.push(null);
    let index = offset;
    for (const region of regions) this.#regions[index++] = region;
  }

  /** There is a table, and nothing is known of what it has. */
  setUnknown(): void {
    this.#retire(0, this.#regions.length);
    this.#regions = [];
    this.#isKnown = false;
  }

  /** There is none any more. */
  remove(): void {
    this.setUnknown();
    this.#isKnown = true;
    this.hasTags = false;
  }

  /** No request is in flight: what has left the table is used by nobody. */
  forgetRetired(): void {
    // To clear an empty set takes a twentieth of a clone's time.
    if (this.#retired.size > 0) this.#retired.clear();
  }

  #retire(from: number, count: number): void {
    if (this.#regions.length <= from) return;
    this.#named.fill(undefined);
    for (const region of this.#regions.slice(from, from + count)) if (region) this.#retired.add(region.bytes ?? region.memory);
  }

  /**
   * The bounds of bytes that have to lie within an entry.
   * @param hint - a small number: requests that have the same name the same bytes again, most often
   */
  within(bytes: Uint8Array, bufferIndex: number, hint: number, name: string): Named {
    const known = this.#named[hint & (namedCount - 1)];
    if (known !== undefined && known.bytes === bytes && known.region === this.#regions[bufferIndex]) return known;
    return this.#look(bytes, bufferIndex, hint, name);
  }

  #look(bytes: Uint8Array, bufferIndex: number, hint: number, name: string): Named {
    const length = lengthIfBytes(bytes);
    if (length === -1) throw invalidType(name, "a Uint8Array", bytes);
    if (length > largestTransferBytes) throw outOfRange(name, `at most ${largestTransferBytes} bytes long, as much as one transfer can be`, `${length} bytes`);
    const address = length > 0 ? addressOf(bytes) : 0;
    const region = this.#regions[bufferIndex];
    if (!region || address < region.start || address + length > region.end) {
      this.#checkOutside(region, bytes, bufferIndex, name);
      return { bytes, region: undefined, address, length };
    }
    const found = { bytes, region, address, length };
    if (region.grows !== true) this.#named[hint & (namedCount - 1)] = found;
    return found;
  }

  /** For bytes that no known entry holds: the kernel knows better only where the entry is unknown, or empty. */
  #checkOutside(region: Region | null | undefined, bytes: Uint8Array, bufferIndex: number, name: string): void {
    const found = regionOf(bytes, name);
    const length = byteLengthOf(bytes);
    if (region) {
      const inside = found?.memory === region.memory ? ` (byteOffset ${byteOffsetOf(bytes)}, length ${length})` : " (another SharedArrayBuffer)";
      throw outOfRange(name, `within the registered buffer ${bufferIndex}, ${region.end - region.start} bytes`, `${length} bytes outside it${inside}`);
    }
    if (found) this.#retired.add(found.memory);
  }
}
