import { expect, test } from "bun:test";
import { UringError } from "bun-uring";
import { type AppendedFile, appenderOf } from "../lib/ring/appender.ts";
import type { Written } from "../lib/ring/durable.ts";
import { times } from "./support/effort.ts";
import { fc } from "./support/properties.ts";

const O_RDWR = 2;

/** How a write ends: it fails, or it writes this part of its bytes. */
type Ending = { readonly fails: true } | { readonly part: number; readonly isDurable: boolean };

/** A file of a machine that loses what is not durable. Each write waits until the test ends it. */
class ModelFile implements AppendedFile {
  readonly open = { fd: -1, path: "model", flags: O_RDWR, appends: false, isDirect: false, assertSeekable() {} };
  content = "";
  durableBytes = 0;
  /** Position and text of each write. */
  readonly writes: { readonly position: number; readonly text: string }[] = [];
  #end: ((ending: Ending) => void) | undefined;

  readonly durable = {
    append: (bytes: Uint8Array, position = -1, onWritten: (bytesWritten: number) => void): Promise<Written> => {
      const { promise, resolve, reject } = Promise.withResolvers<Written>();
      const text = Buffer.from(bytes).toString("latin1");
      expect(this.#end).toBeUndefined(); // one write at a time
      this.#end = (ending) => {
        this.#end = undefined;
        if ("fails" in ending) {
          reject(new UringError("EIO", "write"));
          return;
        }
        const { part, isDurable } = ending;
        const written = text.slice(0, Math.floor(part * text.length));
        this.writes.push({ position, text: written });
        this.content = this.content.slice(0, position) + written + this.content.slice(position + written.length);
        if (isDurable && written !== "") this.durableBytes = position + written.length;
        onWritten(written.length);
        resolve({ bytesWritten: written.length, isDurable });
      };
      return promise;
    },
  };

  assertNotInChain(): void {}

  async datasync(): Promise<void> {}

  async stat() {
    return { size: 0, isFile: () => true };
  }

  release(): void {}

  get isWriting(): boolean {
    return this.#end !== undefined;
  }

  end(ending: Ending): void {
    this.#end?.(ending);
  }
}

const ending: fc.Arbitrary<Ending> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Ending>({ part: 1, isDurable: true }) },
  {
    weight: 3,
    // A write that is not durable is short.
    arbitrary: fc
      .record({ part: fc.double({ min: 0, max: 0.9, noNaN: true }), isDurable: fc.boolean() })
      .map((one): Ending => one),
  },
  { weight: 1, arbitrary: fc.constant<Ending>({ fails: true }) },
);

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ append: fc.nat(12) }) },
  { weight: 1, arbitrary: fc.record({ microtasks: fc.nat(40) }) },
  { weight: 3, arbitrary: fc.record({ ending }) },
);

test("however writes end, exactly the records that are durable resolve, in order, and none is written twice", () =>
  fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 60 }), async (steps) => {
      const file = new ModelFile();
      const appender = await appenderOf(file, {});
      const records: string[] = [];
      const outcomes: Promise<PromiseSettledResult<number>[]>[] = [];
      let failed: number | undefined;
      const end = (one: Ending) => {
        file.end(one);
        if ("fails" in one) failed ??= file.writes.length;
      };
      for (const one of steps) {
        if ("append" in one) {
          const text = String.fromCharCode(97 + (records.length % 26)).repeat(one.append);
          records.push(text);
          outcomes.push(Promise.allSettled([appender.append(text)]));
        } else if ("microtasks" in one) {
          for (let microtask = 0; microtask < one.microtasks; microtask++) await undefined;
        } else if (file.isWriting) end(one.ending);
      }
      const closing = appender.close();
      let isClosed = false;
      void closing.then(() => {
        isClosed = true;
      });
      while (!isClosed) {
        if (file.isWriting) end({ part: 1, isDurable: true });
        await undefined;
      }
      const settled = (await Promise.all(outcomes)).flat();

      let next = 0;
      for (const { position, text } of file.writes) {
        expect(position).toBe(next);
        next += text.length;
      }
      expect(records.join("").startsWith(file.content)).toBe(true);
      let position = 0;
      for (const [index, outcome] of settled.entries()) {
        const text = records[index] ?? "";
        if (outcome.status === "fulfilled") {
          expect(outcome.value).toBe(position);
          expect(position + text.length).toBeLessThanOrEqual(file.durableBytes);
          expect(appender.end).toBeGreaterThanOrEqual(position + text.length);
        } else {
          expect(outcome.reason).toBeInstanceOf(UringError);
          // Those after the first that is not durable are not, either.
          expect(settled.slice(index).every(({ status }) => status === "rejected")).toBe(true);
          if (text.length > 0) expect(position + text.length).toBeGreaterThan(file.durableBytes);
        }
        position += text.length;
      }
      expect(appender.waitingBytes).toBe(0);
      expect(appender.end).toBeLessThanOrEqual(file.durableBytes);
      if (failed !== undefined) expect(file.writes.length).toBe(failed);
    }),
    { numRuns: times(1000) },
  ));

test("after a failure, every record that waits or comes later rejects with ECANCELED and the failure as its cause", async () => {
  const file = new ModelFile();
  const appender = await appenderOf(file, {});
  const settled = Promise.allSettled(["one", "two"].map((text) => appender.append(text)));
  while (!file.isWriting) await undefined;
  const waiting = Promise.allSettled([appender.append("three"), appender.flush()]);
  file.end({ fails: true });
  const failure = { code: "EIO", syscall: "write" };
  const refused = { code: "ECANCELED", syscall: "append", cause: failure };
  expect((await settled).map((one) => one.status === "rejected" && one.reason)).toMatchObject([failure, failure]);
  const later = await Promise.allSettled([appender.append("four"), appender.append(""), appender.flush()]);
  for (const one of [...(await waiting), ...later]) expect(one).toMatchObject({ status: "rejected", reason: refused });
  await appender.close();
  expect([file.writes.length, appender.end, appender.waitingBytes]).toEqual([0, 0, 0]);
});
