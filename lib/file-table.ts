import { UringError } from "./errors.ts";
import { clonesOf, kernel } from "./kernel.ts";
import { addressOf } from "./native.ts";
import { type RawRing, setFileTable } from "./raw-ring.ts";

/** 32-bit words of an entry: descriptor + 1, and the operation that closes it + 1. The teardown in C knows the layout. */
const entryWords = 2;

/**
 * The descriptors that a ring opened and has not closed, in memory that the teardown of an ended thread can read: it closes what is still here.
 * Under the same indexes they are in the ring's registered file table, as far as there is one, which saves the kernel a look-up in each request.
 */
export class FileTable {
  readonly #ring: RawRing;
  #words: Int32Array;
  readonly #unused: number[] = [];
  #used = 0;
  /** Entries of the registered table. */
  #registered = 0;
  /** Before Linux 6.13 what is taken out of the table stays open as long as any request of the ring is in flight: a pipe's end would, too. */
  #registers = clonesOf(kernel().cloneAbility).ranges;

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

  /** Whether requests may name an entry, once installed, instead of its descriptor. */
  hasRegistered(entry: number): boolean {
    return entry < this.#registered;
  }

  /** Puts an entry's descriptor into the registered table as well, which grows with it. Returns false where that cannot be. */
  install(entry: number): boolean {
    if (!this.#registers) return false;
    try {
      if (this.hasRegistered(entry)) this.#ring.updateFiles(entry, [this.#fdOf(entry)]);
      else this.#grow(entry);
      return true;
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      // The limit of open files, or memory. A table that is gone is not tried again.
      this.#registers = this.#registered > 0;
      return false;
    }
  }

  /** Notes which operation closes a descriptor: its completion, not its submission, is the end of it. */
  closing(entry: number, operation: number): void {
    if (this.hasRegistered(entry)) this.#ring.updateFiles(entry, [-1]);
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
      const fd = this.#fdOf(entry);
      if (fd >= 0) yield { entry, fd };
    }
  }

  /** -1: none. */
  #fdOf(entry: number): number {
    return (this.#words[entry * entryWords] ?? 0) - 1;
  }

  /** The kernel cannot lengthen a table: it is made anew, with room for `entry`. */
  #grow(entry: number): void {
    this.#ring.submit(); // what is prepared names entries of this one
    const entries = Math.max(64, 2 ** Math.ceil(Math.log2(entry + 1)));
    const old = this.#registered;
    this.#registered = 0;
    if (old > 0) this.#ring.unregisterFiles();
    this.#ring.registerSparseFiles(entries);
    this.#ring.updateFiles(
      0,
      Array.from({ length: this.#used }, (_, index) => this.#fdOf(index)),
    );
    this.#registered = entries;
  }

  #publish(entries: number, old?: Int32Array): Int32Array {
    const words = new Int32Array(new SharedArrayBuffer(entries * entryWords * 4));
    if (old !== undefined) words.set(old);
    setFileTable(this.#ring, addressOf(words), entries);
    return words;
  }
}
