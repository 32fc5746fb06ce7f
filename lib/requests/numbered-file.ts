import { type Descriptor, describe } from "./descriptor.ts";
import type { Usable } from "./operation.ts";

/** What is behind a descriptor that was given as a number, from the first request that uses it to the last: so long it may not be closed, nor its number be another file's. */
class NumberedFile implements Usable {
  readonly descriptor: Descriptor;
  /** For an operation to have. */
  readonly asUses: readonly Usable[] = [this];
  readonly #end: () => void;
  #uses = 0;

  constructor(descriptor: Descriptor, end: () => void) {
    this.descriptor = descriptor;
    this.#end = end;
  }

  assertUsable(): void {
    // What is wrong with it the kernel says.
  }

  beginUse(): void {
    this.#uses++;
  }

  endUse(): void {
    if (--this.#uses === 0) this.#end();
  }
}

/** Those that a ring's requests use. */
export class NumberedFiles {
  readonly #files = new Map<number, NumberedFile>();

  /** It is looked at once, however many requests use it at a time. Each has to begin a use of it. */
  of(fd: number): NumberedFile {
    const known = this.#files.get(fd);
    if (known !== undefined) return known;
    const file = new NumberedFile(describe(fd), () => this.#files.delete(fd));
    this.#files.set(fd, file);
    return file;
  }
}
