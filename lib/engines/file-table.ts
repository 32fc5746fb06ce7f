import { assert } from "../base/assert.ts";
import { hold, letGo } from "../base/hold.ts";
import { UringError } from "../errors/uring-error.ts";
import { clonesOf, kernel } from "../uring/kernel.ts";
import { addressOf } from "../uring/native.ts";
import { registerSparseFiles, updateFiles } from "../uring/registration.ts";
import type { Uring } from "../uring/uring.ts";
import type { DirectSlots, EngineFiles } from "./engine.ts";

/**
 * 32-bit words per entry: the descriptor + 1, and the index of the request that closes it + 1; 0 is none. This is
 * `struct file_slot` of c/teardown.c.
 */
const entryWords = 2;

/**
 * The number of entries of the registered table. The kernel refuses a table that is longer than the limit on open files
 * (RLIMIT_NOFILE), so a smaller one is tried then.
 */
const largestTable = 1024;
const smallestTable = 16;

/** The fraction of the registered table that is for direct descriptors. */
const directShare = 1 / 4;

/**
 * A file is put into the registered table when this many requests have named its descriptor. For fewer requests, the
 * system calls that put it in and take it out would cost more than they save.
 */
const requestsBeforeInstall = 2;
/** Instead of the number of requests: the file is in the registered table, or cannot be. */
const installed = -1;
const refused = -2;

function tableOf(entries: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(entries * entryWords * 4));
}

/**
 * The descriptors that a ring opened and has not closed.
 *
 * They are in shared memory whose address the shim knows. When the thread ends, c/teardown.c reads that memory and
 * closes what is still listed. By then JavaScript has been stopped, possibly between any two instructions of this file,
 * so the table must be right after every single store:
 * - A descriptor that is open and listed is closed once by the teardown.
 * - A descriptor that is closed must not be listed without a mark in the second word, for its number may belong to
 *   another file by then.
 * - An open or a close whose completion JavaScript has not consumed is settled by the teardown from the completion
 *   itself. Completions that JavaScript has noted here but not yet given back to the kernel are seen again, so noting
 *   one twice must be harmless.
 *
 * Where the kernel allows it, a file that is used often is also in the ring's registered file table, under the same
 * index. That saves the kernel a look-up in each request. The table is made once, since a new table would lose the
 * direct descriptors in the old one. Its last entries are for direct descriptors, see `directSlots`. Files with larger
 * indexes than the table has room for are named by their descriptors.
 */
export class FileTable implements EngineFiles {
  readonly #uring: Uring;
  #words: Int32Array;
  readonly #unused: number[] = [];
  #used = 0;
  /** Descriptors that threads of node:fs may be about to write to, by entry: see `writeOutside`. */
  readonly #written = new Map<number, { readonly fd: number; count: number }>();
  /** The registered table's entries for direct descriptors; undefined until the table was registered. */
  #direct: DirectSlots | undefined;
  /**
   * For each entry of the registered table that is for files, how many requests have named its descriptor, or
   * `installed` or `refused`.
   *
   * There is no table before Linux 6.13, where a file removed from the table stays open as long as any request of the
   * ring is in flight. A pipe's end would stay open, too. Cloning ranges came with the same version, and stands for it
   * here.
   */
  #requests = new Int8Array(clonesOf(kernel().cloneAbility).ranges ? largestTable * (1 - directShare) : 0);

  constructor(uring: Uring) {
    this.#uring = uring;
    this.#words = tableOf(64);
    this.#publish();
  }

  /**
   * Records an open descriptor, and returns its entry. Must be called before the open's completion is given back to the
   * kernel, see `Uring.takeCompletions`.
   */
  add(fd: number): number {
    const entry = this.#unused.pop() ?? this.#used++;
    if ((entry + 1) * entryWords > this.#words.length) this.#enlarge(2 * entry);
    this.#words[entry * entryWords] = fd + 1;
    return entry;
  }

  /**
   * Whether the next request may name the entry instead of the descriptor. Counts the request, and puts the descriptor
   * into the registered table if it is used often enough. If that fails, requests go on naming the descriptor.
   */
  isInstalled(entry: number): boolean {
    const requests = this.#requests[entry];
    if (requests === installed) return true;
    if (requests === undefined || requests === refused) return false;
    if (requests < requestsBeforeInstall) {
      this.#requests[entry] = requests + 1;
      return false;
    }
    if (this.#direct === undefined) {
      this.#register();
      return this.isInstalled(entry);
    }
    try {
      updateFiles(this.#uring, entry, [this.#fdOf(entry)]);
      this.#requests[entry] = installed;
      return true;
    } catch (error) {
      if (!(error instanceof UringError)) throw error;
      this.#requests[entry] = refused; // no memory, or a descriptor that requests can name but tables cannot hold
      return false;
    }
  }

  get directSlots(): DirectSlots {
    return this.#direct ?? this.#register();
  }

  /**
   * Hides a descriptor from the teardown until `writtenOutside`, because a thread of node:fs is about to write to it.
   * That thread goes on after a Worker's end. If the teardown closed the descriptor first, its number could be another
   * file's, and the thread would write to that file. If the Worker ends in between, the descriptor therefore stays
   * open. `#written` keeps the descriptor meanwhile.
   */
  writeOutside(entry: number): void {
    const writes = this.#written.get(entry) ?? { fd: this.#fdOf(entry), count: 0 };
    writes.count++;
    this.#written.set(entry, writes);
    this.#words[entry * entryWords] = 0;
  }

  /** Ends one `writeOutside`. The teardown sees the descriptor again when the last write has ended. */
  writtenOutside(entry: number): void {
    const writes = this.#written.get(entry);
    assert(writes !== undefined, "a write that was begun");
    if (--writes.count > 0) return;
    this.#written.delete(entry);
    this.#words[entry * entryWords] = writes.fd + 1;
  }

  /**
   * Records the request that closes a descriptor, before that request is submitted. From then on the entry's descriptor
   * may be gone at any time. The entry stays until the request completes: only then is it known whether the descriptor
   * is closed. The registered table must release the file now, or closing the descriptor would not close the file.
   */
  closing(entry: number, operation: number): void {
    this.#words[entry * entryWords + 1] = operation + 1;
    const wasInstalled = this.#requests[entry] === installed;
    if (entry < this.#requests.length) this.#requests[entry] = 0;
    if (!wasInstalled) return;
    try {
      updateFiles(this.#uring, entry, [-1]);
    } catch (error) {
      if (!(error instanceof UringError)) throw error; // the ring is broken, and its next submission will report that
    }
  }

  /** Records that the close did not take place. The descriptor is still open. */
  notClosed(entry: number): void {
    this.#words[entry * entryWords + 1] = 0;
  }

  /**
   * Removes a descriptor that is closed. The descriptor's word goes first: with only the mark cleared, a teardown at
   * this moment would close the number again.
   */
  remove(entry: number): void {
    this.#words[entry * entryWords] = 0;
    this.#words[entry * entryWords + 1] = 0;
    this.#unused.push(entry);
  }

  /** The open descriptors with their entries, those hidden by `writeOutside` included. */
  *[Symbol.iterator](): Generator<{ entry: number; fd: number }> {
    for (let entry = 0; entry < this.#used; entry++) {
      const fd = this.#fdOf(entry);
      if (fd >= 0) yield { entry, fd };
    }
  }

  /** The entry's descriptor, or -1 if the entry is unused. */
  #fdOf(entry: number): number {
    return this.#written.get(entry)?.fd ?? (this.#words[entry * entryWords] ?? 0) - 1;
  }

  /** Registers the largest table that the limit on open files allows. */
  #register(): DirectSlots {
    let entries = this.#requests.length === 0 ? 0 : largestTable;
    for (; entries >= smallestTable; entries /= 4) {
      try {
        registerSparseFiles(this.#uring, entries);
        break;
      } catch (error) {
        if (!(error instanceof UringError)) throw error; // otherwise the limit, or no memory
      }
    }
    if (entries < smallestTable) entries = 0;
    const count = entries * directShare;
    this.#requests = this.#requests.slice(0, entries - count);
    this.#direct = { first: entries - count, count };
    return this.#direct;
  }

  /**
   * A terminated Worker may stop at any line. At each of them the table that the shim knows is held, so that the
   * teardown can still read it.
   */
  #enlarge(entries: number): void {
    const words = tableOf(entries);
    words.set(this.#words);
    const before = this.#words;
    hold(before);
    this.#words = words;
    this.#publish();
    letGo(before);
  }

  /** Passes the table's address to the shim. */
  #publish(): void {
    this.#uring.setFileTable(addressOf(this.#words), this.#words.length / entryWords);
  }
}
