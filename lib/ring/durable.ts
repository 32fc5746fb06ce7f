import { Promise } from "../base/globals.ts";
import { UringError } from "../errors/uring-error.ts";
import * as operations from "../requests/builders.ts";
import { knownSizeOf } from "../requests/descriptor.ts";
import type { OpenFile } from "../requests/open-file.ts";
import type { Request } from "../requests/operation.ts";
import type { RequestQueue } from "../requests/queue.ts";
import { RWF_DSYNC } from "../uring/transfers.ts";
import { IOSQE_ASYNC } from "../uring/uapi.ts";

/** What has become of a durable write. */
export interface Written {
  /** May be fewer than given. */
  readonly bytesWritten: number;
  /** Whether these bytes are on stable storage. If they are not, the write was short: write the rest. */
  readonly isDurable: boolean;
}

/**
 * One file's writes that resolve when their bytes are on stable storage. There are two ways:
 * - One request: a write with RWF_DSYNC, which syncs what it has written and nothing else.
 * - A chain of a write and an fdatasync, which syncs the whole file. On a ring with IORING_SETUP_DEFER_TASKRUN the
 *   event loop has to wake up between the two, so it takes longer. But the kernel does several syncs of a file at once,
 *   and its writes one by one, so for several writers the chain is quicker.
 *
 * `write` promises what the chain does: that whatever was written to the file before is durable, too. So it chooses the
 * single request only if nothing else uses the file, and the file is clean: an fdatasync has succeeded, and since then
 * only single requests have written. That also proves that the file can be synced: RWF_DSYNC is ignored where fdatasync
 * fails, as on a pipe.
 */
export class DurableWrites {
  readonly #requests: RequestQueue;
  readonly #open: OpenFile;
  /** Returns the file; throws if it is closed. */
  readonly #opened: (syscall: string) => OpenFile;
  /**
   * The file is clean if this is `OpenFile.changes`. A durable write moves both on. A change that nothing has synced, or
   * a durable write that failed, keeps this behind until a sync of the whole file.
   */
  #syncedChanges = -1;

  constructor(requests: RequestQueue, open: OpenFile, opened: (syscall: string) => OpenFile) {
    this.#requests = requests;
    this.#open = open;
    this.#opened = opened;
  }

  /** Writes, and syncs the file. */
  async write(bytes: Uint8Array, position: number | bigint | undefined): Promise<Written> {
    const open = this.#open;
    const isSingle = open.changes === this.#syncedChanges && open.idle && !open.fuse && bytes.length > 0;
    if (!isSingle) return await this.#writeThenSync(bytes, position);
    if (!open.appends) return await this.#writeSynced(bytes, position);
    const sizeBefore = knownSizeOf(open.fd);
    return await this.#writeSynced(bytes, position, (bytesWritten) => {
      // When a write is short, the kernel tries to write the rest at once, and does not report an error of that. If only
      // its sync has failed, the rest is in the file, and must not be appended a second time.
      if (bytesWritten < bytes.length && knownSizeOf(open.fd) !== sizeBefore + BigInt(bytesWritten))
        throw new UringError("EIO", "write", {
          message: `${bytesWritten} of ${bytes.length} bytes are known to be written, and the file has grown by more`,
          path: open.path,
        });
    });
  }

  /**
   * Writes, and syncs at least what it has written, for a file that an fdatasync has found to have storage.
   * @param onWritten - called once with the number of bytes, before anything else of the ring can move the file's own
   *   position
   */
  append(bytes: Uint8Array, position: number | undefined, onWritten: (bytesWritten: number) => void): Promise<Written> {
    // Threads of node:fs carry out the transfers of FUSE files, and they have no flags.
    return this.#open.fuse
      ? this.#writeThenSync(bytes, position, onWritten)
      : this.#writeSynced(bytes, position, onWritten);
  }

  async #writeSynced(
    bytes: Uint8Array,
    position: number | bigint | undefined,
    onWritten?: (bytesWritten: number) => void,
  ): Promise<Written> {
    const bytesWritten = await this.#requests.run(() => {
      const request = this.#request(bytes, position, onWritten);
      // Through the page cache, the kernel's first attempt would sync at submission on some file systems, such as xfs,
      // and block the event loop.
      const flags = this.#open.isDirect ? (request.flags ?? 0) : IOSQE_ASYNC;
      return { ...request, flags, opFlags: RWF_DSYNC };
    });
    this.#syncedChanges++;
    return { bytesWritten, isDurable: true };
  }

  async #writeThenSync(
    bytes: Uint8Array,
    position: number | bigint | undefined,
    onWritten?: (bytesWritten: number) => void,
  ): Promise<Written> {
    // If a write is in flight, it may complete after the sync.
    const syncedChanges = this.#open.idle ? this.#open.changes : undefined;
    const [writing, syncing] = this.#requests.startChain([
      () => this.#requests.run<number | undefined>(() => this.#request(bytes, position, onWritten)),
      () => this.#requests.run<number | undefined>(() => operations.sync("fdatasync", this.#opened("fdatasync"))),
    ]);
    const [write, sync] = await Promise.allSettled([writing, syncing]);
    if (write.status === "fulfilled" && sync.status === "fulfilled") {
      this.#syncedChanges = 1 + (syncedChanges ?? this.#syncedChanges);
      return { bytesWritten: bytes.length, isDurable: true };
    }
    if (write.status === "rejected") throw write.reason;
    const bytesWritten = write.value ?? 0;
    if (sync.status === "rejected" && bytesWritten === bytes.length) throw sync.reason;
    return { bytesWritten, isDurable: false };
  }

  #request(
    bytes: Uint8Array,
    position: number | bigint | undefined,
    onWritten: ((bytesWritten: number) => void) | undefined,
  ): Request<number> {
    const request = operations.transfer("write", this.#opened("write"), bytes, position);
    if (onWritten === undefined) return request;
    return {
      ...request,
      result: (bytesWritten) => {
        onWritten(bytesWritten);
        return bytesWritten;
      },
    };
  }
}
