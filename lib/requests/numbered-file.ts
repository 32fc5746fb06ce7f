import { type Descriptor, describe } from "./descriptor.ts";
import type { Usable } from "./operation.ts";

/**
 * The file of a descriptor that was given as a number. It exists from the beginning of the first request that uses the
 * number to the end of the last: during that time the program may not close the descriptor, so the number cannot belong
 * to another file.
 */
class NumberedFile implements Usable {
  readonly descriptor: Descriptor;
  /** The file as a list of one, for `Operation.uses`. */
  readonly asUses: readonly Usable[] = [this];
  readonly #end: () => void;
  #uses = 0;

  constructor(descriptor: Descriptor, end: () => void) {
    this.descriptor = descriptor;
    this.#end = end;
  }

  assertUsable(): void {
    // If the descriptor is not open, the kernel reports it.
  }

  beginUse(): void {
    this.#uses++;
  }

  endUse(): void {
    if (--this.#uses === 0) this.#end();
  }
}

/** The numbered files that a ring's requests are using. */
export class NumberedFiles {
  readonly #files = new Map<number, NumberedFile>();

  /**
   * Returns the descriptor's file, and describes it only if no request is using it yet. The caller must call `beginUse`
   * on it: an entry is removed by its last `endUse`.
   */
  of(fd: number): NumberedFile {
    const known = this.#files.get(fd);
    if (known !== undefined) return known;
    const file = new NumberedFile(describe(fd), () => this.#files.delete(fd));
    this.#files.set(fd, file);
    return file;
  }
}
