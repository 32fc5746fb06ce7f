import { addressOf } from "./native.ts";
import { type RawRing, setFileTable } from "./raw-ring.ts";

/** 32-bit words of an entry: descriptor + 1, and the operation that closes it + 1. The teardown in C knows the layout. */
const entryWords = 2;

/**
 * The descriptors that a ring opened and has not closed, in memory that the teardown of an ended thread can read: it closes what is still here.
 */
export class FileTable {
  readonly #ring: RawRing;
  #words: Int32Array;
  readonly #unused: number[] = [];
  #used = 0;

  constructor(ring: RawRing) {
    this.#ring = ring;
    this.#words = this.#publish(64);
  }

  /** Notes an open descriptor; returns its entry. */
  add(fd: number): number {
    const entry = this.#unused.pop() ?? this.#used++;
    if ((entry + 1) * entryWords > this.#words.length) this.#words = this.#publish(this.#words.length, this.#words);
    this.#words[entry * entryWords] = fd + 1;
    return entry;
  }

  /** Notes which operation closes a descriptor: its completion, not its submission, is the end of it. */
  closing(entry: number, operation: number): void {
    this.#words[entry * entryWords + 1] = operation + 1;
  }

  /** Forgets a descriptor that is closed. */
  remove(entry: number): void {
    this.#words[entry * entryWords] = 0;
    this.#words[entry * entryWords + 1] = 0;
    this.#unused.push(entry);
  }

  /** The entries in use, with their descriptors. */
  *[Symbol.iterator](): Generator<{ entry: number; fd: number }> {
    for (let entry = 0; entry < this.#used; entry++) {
      const fd = (this.#words[entry * entryWords] ?? 0) - 1;
      if (fd >= 0) yield { entry, fd };
    }
  }

  #publish(entries: number, old?: Int32Array): Int32Array {
    const words = new Int32Array(new SharedArrayBuffer(entries * entryWords * 4));
    if (old !== undefined) words.set(old);
    setFileTable(this.#ring, addressOf(words), entries);
    return words;
  }
}
