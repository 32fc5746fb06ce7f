import { invalidType, outOfRange } from "../base/arguments.ts";
import { byteLengthOf, byteOffsetOf, lengthIfBytes } from "../base/view.ts";
import { addressOf } from "./native.ts";
import { type Region, regionOf } from "./registration.ts";
import { largestTransferBytes } from "./transfers.ts";

/**
 * Bytes that a request named, with their address and length. Reading those from a view and asking bun:ffi for the
 * address is slow compared with writing a request, so they are cached here. They never change, unless the view's memory
 * can grow.
 */
export interface Named {
  readonly bytes: Uint8Array;
  /** The table's entry that the bytes lie in. Undefined if that entry is unknown or empty. */
  readonly region: Region | undefined;
  readonly address: number;
  readonly length: number;
}

/** The size of the cache. A power of two. */
const namedCount = 256;

/**
 * What a RawRing knows about its table of registered buffers. It also keeps the memory that its requests may use alive.
 *
 * The kernel does not know about JavaScript's references. If that memory were freed while a request may use it, the
 * allocator could use it for something else, and the kernel would write into that. A request names memory through an
 * entry of the table, and keeps using it after the entry was replaced. So memory passes through two stages:
 * - As long as an entry refers to it, `#regions` keeps it.
 * - When the entry is replaced or removed, the memory moves to `#retired`. It stays there until `forgetRetired`, which
 *   RawRing calls only when no request is prepared or in flight, and never once the ring has had tags: their
 *   completions make that impossible to know.
 *
 * Memory that the kernel may know under an entry unknown here goes to `#retired` when a request names it. `RawRingLife`
 * holds the table until the kernel is done with the ring.
 */
export class BufferTable {
  /**
   * The table's entries: null holds nothing, undefined is unknown. An entry cloned from a ring given by its descriptor
   * is unknown.
   */
  #regions: (Region | null | undefined)[] = [];
  /** Whether `#regions` has as many entries as the kernel's table. */
  #isKnown = true;
  /** Whether entries may have tags. */
  hasTags = false;
  /** Memory that requests may still use although no entry in `#regions` refers to it. */
  readonly #retired = new Set<SharedArrayBuffer | Uint8Array>();
  /**
   * The cache of `within`, by hint. An item is valid only for the same view and the same Region object. Items are
   * dropped whenever an entry is replaced, because they keep their bytes alive.
   */
  readonly #named: (Named | undefined)[] = Array.from({ length: namedCount });

  /** The number of entries in the kernel's table, if it is known. */
  get length(): number | undefined {
    return this.#isKnown ? this.#regions.length : undefined;
  }

  /** The entries of a range; undefined where they are unknown. A count of 0 means all entries. */
  range(offset: number, count: number): readonly (Region | null | undefined)[] {
    return count === 0 ? this.#regions : Array.from({ length: count }, (_, index) => this.#regions[offset + index]);
  }

  /** Notes that the ring, which had no table, now has this one. */
  create(regions: readonly (Region | null)[], hasTags: boolean): void {
    this.#regions = [...regions];
    this.hasTags = hasTags;
  }

  /**
   * Notes that the entries from `offset` on are now these. Those that were there move to the retired memory. Call it
   * after the kernel has replaced them.
   */
  set(offset: number, regions: readonly (Region | null | undefined)[]): void {
    this.#retire(offset, regions.length);
    while (this.#regions.length < offset) this.#regions.push(null);
    let index = offset;
    for (const region of regions) this.#regions[index++] = region;
  }

  /** Notes that the ring has a table whose entries are unknown. */
  setUnknown(): void {
    this.#retire(0, this.#regions.length);
    this.#regions = [];
    this.#isKnown = false;
  }

  /** Notes that the ring has no table any more. */
  remove(): void {
    this.setUnknown();
    this.#isKnown = true;
    this.hasTags = false;
  }

  /** Releases the retired memory. Call it only when no request is prepared or in flight. */
  forgetRetired(): void {
    // Even clearing an empty Set takes time, and this runs on every clone.
    if (this.#retired.size > 0) this.#retired.clear();
  }

  /**
   * Moves entries that are about to be replaced to the retired memory. A slot's bytes are kept rather than its memory
   * alone, since they keep the slot.
   */
  #retire(from: number, count: number): void {
    if (this.#regions.length <= from) return;
    this.#named.fill(undefined);
    for (const region of this.#regions.slice(from, from + count))
      if (region) this.#retired.add(region.bytes ?? region.memory);
  }

  /**
   * Returns the bounds of bytes, which must lie within an entry of the table.
   * @param hint - a small number that selects an item of the cache. Requests with the same hint usually name the same
   *   bytes again.
   * @throws TypeError, RangeError: the bytes are not within the entry
   */
  within(bytes: Uint8Array, bufferIndex: number, hint: number, name: string): Named {
    const known = this.#named[hint & (namedCount - 1)];
    if (known !== undefined && known.bytes === bytes && known.region === this.#regions[bufferIndex]) return known;
    return this.#look(bytes, bufferIndex, hint, name);
  }

  #look(bytes: Uint8Array, bufferIndex: number, hint: number, name: string): Named {
    const length = lengthIfBytes(bytes);
    if (length === -1) throw invalidType(name, "a Uint8Array", bytes);
    if (length > largestTransferBytes)
      throw outOfRange(
        name,
        `at most ${largestTransferBytes} bytes long, as much as one transfer can be`,
        `${length} bytes`,
      );
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

  /**
   * Handles bytes that do not lie within the entry as far as it is known. If the entry is known, they are refused. If
   * it is unknown or empty, the kernel decides, and the memory is kept for the request.
   */
  #checkOutside(region: Region | null | undefined, bytes: Uint8Array, bufferIndex: number, name: string): void {
    const found = regionOf(bytes, name);
    const length = byteLengthOf(bytes);
    if (region) {
      const inside =
        found?.memory === region.memory
          ? ` (byteOffset ${byteOffsetOf(bytes)}, length ${length})`
          : " (another SharedArrayBuffer)";
      throw outOfRange(
        name,
        `within the registered buffer ${bufferIndex}, ${region.end - region.start} bytes`,
        `${length} bytes outside it${inside}`,
      );
    }
    if (found) this.#retired.add(found.memory);
  }
}
