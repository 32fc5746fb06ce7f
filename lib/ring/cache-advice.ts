import { UringError } from "../errors/uring-error.ts";

/**
 * Advice not to leave what is transferred in the page cache (RWF_DONTCACHE), for work that takes many transfers. A
 * kernel or a file system that cannot follow it refuses a transfer with EOPNOTSUPP before anything has been
 * transferred. That transfer then starts again without the advice, and so do those after it.
 */
export class CacheAdvice {
  #dontCache: boolean;

  constructor(dontCache: boolean) {
    this.#dontCache = dontCache;
  }

  /** @param transfer - starts the transfer, with or without RWF_DONTCACHE. Called again if the advice is refused. */
  follow(transfer: (dontCache: boolean) => Promise<number>): Promise<number> {
    return this.#dontCache ? this.#tryWith(transfer) : transfer(false);
  }

  async #tryWith(transfer: (dontCache: boolean) => Promise<number>): Promise<number> {
    try {
      return await transfer(true);
    } catch (error) {
      if (!(error instanceof UringError && error.code === "EOPNOTSUPP")) throw error;
      this.#dontCache = false;
      return await transfer(false);
    }
  }
}
