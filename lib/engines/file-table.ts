import { assert } from "../base/assert.ts";
import { UringError } from "../errors/uring-error.ts";
import { clonesOf, kernel } from "../uring/kernel.ts";
import { addressOf } from "../uring/native.ts";
import { registerSparseFiles, unregister, updateFiles } from "../uring/registration.ts";
import { IORING_UNREGISTER_FILES } from "../uring/uapi.ts";
import type { Uring } from "../uring/uring.ts";
import type { EngineFiles } from "./engine.ts";

/** 32-bit words of an entry: descriptor + 1, and the operation that closes it + 1. The teardown in C knows the layout. */
const entryWords = 2;

/**
 * The descriptors that a ring opened and has not closed, in memory that the teardown of an ended thread can read: it closes what is still here.
 * Under the same indexes they are in the ring's registered file table, as far as there is one, which saves the kernel a look-up in each request.
 */
export class FileTable implements EngineFiles {
  readonly #uring: Uring;
  #words: Int32Array;
  readonly #unused: number[] = [];
  #used = 0;
  /** Descriptors that threads of node:fs may be about to write to. */
  readonly #written = new Map<number, { readonly fd: number; count: number }>();
  /** Entries of the registered table, and which of them hold their descriptor. */
  #registeredEntries = 0;
  readonly #installed: boolean[] = [];
  /** Before Linux 6.13 what is taken out of the table stays open as long as any request of the ring is in flight: a pipe's end would, too. */
  #isUsable = clonesOf(kernel().cloneAbility).ranges;

  constructor(uring: Uring) {
    this.#uring = uring;
    this.#words = this.#publish(64);
  }

  /** Notes an open descriptor; returns its entry. */
  add(fd: number): number {
    const entry = this.#unused.pop() ?? this.#used++;
    if ((entry + 1) * entryWords > this.#words.length) this.#words = this.#publish(2 * entry, this.#words);
    this.#words[entry * entryWords] = fd + 1;
    return entry;
  }

  /** Whether requests may name the entry instead of its descriptor. */
  isInstalled(entry: number): boolean {
    return this.#installed[entry] === true;
  }

  /** Puts an entry's descriptor into the registered table as well, which grows with it. Where that cannot be, requests name the descriptor. */
  install(entry: number): void {
    if (!this.#isUsable) return;
    try {
      this.#installed[entry] = true;
      if (entry < this.#registeredEntries) updateFiles(this.#uring, entry, [this.#fdOf(entry)]);
      else this.#grow(entry);
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      // The limit of open files, or memory; a descriptor that requests can name and tables cannot. A table that is gone is not tried again.
      this.#installed[entry] = false;
      this.#isUsable = this.#registeredEntries > 0;
    }
  }

  /**
   * Hides a descriptor from the teardown until `writtenOutside`: a thread of node:fs is to write to it, and would write to whatever has its number after a close. A thread's
   * end in between leaves it open.
   */
  writeOutside(entry: number): void {
    const writes = this.#written.get(entry) ?? { fd: this.#fdOf(entry), count: 0 };
    writes.count++;
    this.#written.set(entry, writes);
    this.#words[entry * entryWords] = 0;
  }

  writtenOutside(entry: number): void {
    const writes = this.#written.get(entry);
    assert(writes !== undefined, "a write that was begun");
    if (--writes.count > 0) return;
    this.#written.delete(entry);
    this.#words[entry * entryWords] = writes.fd + 1;
  }

  /** Notes which operation closes a descriptor: its completion, not its submission, is the end of it. */
  closing(entry: number, operation: number): void {
    this.#words[entry * entryWords + 1] = operation + 1;
    if (!this.isInstalled(entry)) return;
    this.#installed[entry] = false;
    try {
      updateFiles(this.#uring, entry, [-1]);
    } catch (error) {
      if (!(error instanceof UringError)) throw error; // a broken ring, as its next submission says
    }
  }

  /** Notes that a descriptor is not closed after all. */
  notClosed(entry: number): void {
    this.#words[entry * entryWords + 1] = 0;
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
    return this.#written.get(entry)?.fd ?? (this.#words[entry * entryWords] ?? 0) - 1;
  }

  /** The kernel cannot lengthen a table: it is made anew, with room for `entry`. */
  #grow(entry: number): void {
    this.#uring.submit(); // what is prepared names entries of this one
    const entries = Math.max(64, 2 ** Math.ceil(Math.log2(entry + 1)));
    if (this.#registeredEntries > 0) unregister(this.#uring, IORING_UNREGISTER_FILES, "io_uring_unregister_files");
    this.#registeredEntries = 0;
    const installed = this.#installed.splice(0);
    registerSparseFiles(this.#uring, entries);
    this.#registeredEntries = entries;
    // Without those that are being closed: their descriptors may be gone.
    const fds = Array.from(installed, (isInstalled, index) => (isInstalled ? this.#fdOf(index) : -1));
    const updated = updateFiles(this.#uring, 0, fds);
    this.#installed.push(...installed.slice(0, updated));
  }

  #publish(entries: number, old?: Int32Array): Int32Array {
    const words = new Int32Array(new SharedArrayBuffer(entries * entryWords * 4));
    if (old !== undefined) words.set(old);
    this.#uring.setFileTable(addressOf(words), entries);
    return words;
  }
}
