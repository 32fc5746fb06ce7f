/** Workers for tests, typed by the messages that they post. */

let source = { folder: new URL("../workers/", import.meta.url), extension: "ts" };

/** Makes TestWorkers start from another folder. Returns a function that undoes this. */
export function workersFrom(folder: URL, extension: string): () => void {
  const before = source;
  source = { folder, extension };
  return () => {
    source = before;
  };
}

/** A Worker of test/workers/. */
export class TestWorker<Answer> {
  readonly #worker: Worker;
  readonly #answers: Answer[] = [];
  #expected: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  #failure: Error | undefined;
  /** Resolves when the thread has ended and been torn down. */
  readonly ended: Promise<void>;

  constructor(name: string, workerData?: unknown) {
    this.#worker = new Worker(new URL(`${name}.${source.extension}`, source.folder).href);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#worker.addEventListener("close", () => {
      this.#fail(new Error(`the Worker ${name} ended`));
      resolve();
    });
    this.#worker.addEventListener("error", (event) =>
      this.#fail(new Error(`the Worker ${name} failed: ${event.message}`)),
    );
    this.#worker.addEventListener("message", ({ data }: MessageEvent<Answer>) => {
      if (this.#expected === undefined) this.#answers.push(data);
      else this.#expected.resolve(data);
      this.#expected = undefined;
    });
    if (workerData !== undefined) this.#worker.postMessage(workerData);
  }

  tell(message: unknown): void {
    this.#worker.postMessage(message);
  }

  /** The next message that the Worker posts. */
  answer(): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const [answer] = this.#answers.splice(0, 1);
    if (answer !== undefined) resolve(answer);
    else if (this.#failure !== undefined) reject(this.#failure);
    else this.#expected = { resolve, reject };
    return promise;
  }

  /** Terminates the Worker and waits until it has been torn down. */
  async terminate(): Promise<void> {
    this.#worker.terminate();
    await this.ended;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#expected?.reject(this.#failure);
    this.#expected = undefined;
  }
}
