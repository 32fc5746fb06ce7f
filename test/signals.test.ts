import { describe, expect, spyOn, test } from "bun:test";
import { BufferPool, Ring } from "bun-uring";
import { Window } from "happy-dom";
import { requestKind } from "../lib/engines/engine.ts";
import { IoUringEngine } from "../lib/engines/io-uring.ts";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { execute } from "./support/programs.ts";
import { fdsUnder } from "./support/resources.ts";

const POLLIN = 1;

/** The least that the library needs of a signal: `aborted`, `reason` and listeners. */
class OwnSignal extends EventTarget {
  aborted = false;
  reason: unknown;

  abort(reason: unknown): void {
    this.aborted = true;
    this.reason = reason;
    this.dispatchEvent(new Event("abort"));
  }
}

function asSignal(value: unknown): AbortSignal {
  return value as AbortSignal; // the library has to detect what is wrong with it
}

describe("a signal", () => {
  const window = new Window();
  const kinds: Readonly<Record<string, () => { signal: AbortSignal; abort(reason: unknown): void }>> = {
    "from Bun": () => new AbortController(),
    "from happy-dom": () => {
      const controller = new window.AbortController();
      return { signal: asSignal(controller.signal), abort: (reason) => controller.abort(reason) };
    },
    "of the program's own class": () => {
      const signal = new OwnSignal();
      return { signal: asSignal(signal), abort: (reason) => signal.abort(reason) };
    },
  };
  for (const [kind, make] of Object.entries(kinds))
    test(`${kind} ends operations that wait, and refuses those started afterwards`, async () => {
      using ends = pipe();
      using pool = new BufferPool({ count: 1, size: 4096 });
      using folder = new Folder();
      await using ring = new Ring({ pool });
      using buffer = await pool.acquire();
      await using file = await ring.open(folder.write("file", "content"), "r+");
      const controller = make();
      const { signal } = controller;
      const started = [
        ring.readFixed(ends.readFd, buffer, { signal }),
        ring.poll(ends.readFd, POLLIN, { signal }),
        pool.acquire({ signal }),
      ];
      const reading = file.readable({ signal, autoClose: false }).getReader();
      const writing = file.writable({ signal, autoClose: false }).getWriter();
      const reason = new Error(kind);
      controller.abort(reason);
      for (const outcome of await Promise.allSettled([...started, reading.read(), writing.closed]))
        expect(outcome).toMatchObject({ status: "rejected", reason });
      for (const start of [
        () => ring.nop({ signal }),
        () => pool.acquire({ signal }),
        () => ring.readFixed(file, buffer, { signal }),
        () => file.writable({ signal }),
      ])
        expect(await thrown(start)).toBe(reason);
      // The same error as FileHandle's.
      expect(await thrown(() => file.readFile({ signal }))).toMatchObject({ code: "ABORT_ERR", cause: reason });
      await ring.close();
      expect(ring.inFlight).toBe(0);
    });
  test("that aborts while the library adds its listener ends the operation at once", async () => {
    await using ring = new Ring();
    const signal = new OwnSignal();
    const reason = new Error("aborted in addEventListener");
    using add = spyOn(signal, "addEventListener").mockImplementation((...given) => {
      EventTarget.prototype.addEventListener.apply(signal, given);
      signal.abort(reason);
    });
    expect(await thrown(() => ring.timeout(60_000, { signal: asSignal(signal) }))).toBe(reason);
    expect([add.mock.calls.length, ring.inFlight]).toEqual([1, 0]);
  });

  test("whose removeEventListener closes the ring while a batch settles closes no descriptor twice", async () => {
    using folder = new Folder();
    const path = folder.write("file", "content");
    const ring = new Ring();
    await ring.nop();
    const [closing, opening] = [new OwnSignal(), new OwnSignal()];
    let closed: Promise<void> | undefined;
    using _remove = spyOn(closing, "removeEventListener").mockImplementation(() => {
      closed ??= ring.close();
      opening.abort(new Error("aborted in removeEventListener"));
    });
    using start = spyOn(IoUringEngine.prototype, "start");
    let opened: Promise<unknown>;
    {
      // Both requests complete, and neither is reaped: they settle in one batch.
      using _reap = spyOn(IoUringEngine.prototype, "reap").mockImplementation(() => undefined);
      ring.nop({ signal: asSignal(closing) }).catch(() => undefined);
      opened = thrown(() => ring.open(path, { signal: asSignal(opening) }));
      while (fdsUnder(folder.path) === 0) await Bun.sleep(1);
    }
    await ring.nop();
    expect(await opened).toMatchObject({ message: "aborted in removeEventListener" });
    await closed;
    const closes = start.mock.calls.filter(([{ kind }]) => kind === requestKind.close);
    expect([closes.length, fdsUnder(folder.path), ring.inFlight]).toEqual([1, 0, 0]);
  });

  test("that is not an AbortSignal is refused, and the error says what it is", async () => {
    await using ring = new Ring();
    const wrong: Readonly<Record<string, unknown>> = {
      "an instance of AbortController": new AbortController(),
      "an instance of EventTarget": new EventTarget(),
      "an instance of Object": { aborted: false },
      '"abort"': "abort",
      null: null,
      "an instance of AbortSignal": new Proxy(new AbortController().signal, {}),
    };
    for (const [name, signal] of Object.entries(wrong))
      expect(await thrown(() => ring.nop({ signal: asSignal(signal) }))).toMatchObject({
        name: "TypeError",
        code: "ERR_INVALID_ARG_TYPE",
        message: `options.signal must be an AbortSignal, not ${name}`,
      });
    await ring.nop();
    expect(ring.inFlight).toBe(0);
  });

  test("whose addEventListener throws fails only that operation", async () => {
    await using ring = new Ring();
    const { signal } = new AbortController();
    using add = spyOn(signal, "addEventListener").mockImplementation(() => {
      throw new Error("no listeners");
    });
    expect(await thrown(() => ring.nop({ signal }))).toMatchObject({ message: "no listeners" });
    expect(ring.inFlight).toBe(0);
    add.mockRestore();
    await ring.nop({ signal });
  });

  test("whose removeEventListener throws fails no operation, and still aborts later ones", async () => {
    await using ring = new Ring();
    using ends = pipe();
    const controller = new AbortController();
    const { signal } = controller;
    using remove = spyOn(signal, "removeEventListener").mockImplementation(() => {
      throw new Error("no removal");
    });
    using add = spyOn(signal, "addEventListener");
    await Promise.all([ring.nop({ signal }), ring.nop(), ring.nop({ signal })]);
    await ring.nop({ signal });
    expect(remove).toHaveBeenCalled();
    expect(add).toHaveBeenCalledTimes(1);
    const polling = ring.poll(ends.readFd, POLLIN, { signal });
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await thrown(() => polling)).toBe(reason);
  });
});

describe("a path", () => {
  /** A URL class that is unrelated to the global one. */
  class OwnUrl {
    readonly href: string;
    readonly protocol = "file:";
    constructor(path: string) {
      this.href = `file://${path}`;
    }
  }

  test("may be a URL of any class", async () => {
    using folder = new Folder();
    const path = folder.write("a file", "content");
    const window = new Window();
    await using ring = new Ring();
    for (const url of [
      new URL(`file://${path}`),
      new window.URL(`file://${path}`),
      new OwnUrl(path.replaceAll(" ", "%20")),
    ] as URL[]) {
      await using file = await ring.open(url);
      expect(String(await file.readFile())).toBe("content");
      expect((await ring.statx(url)).size).toBe(7n);
    }
  });

  test("that is an object but not a file: URL is refused, and the error says what it is", async () => {
    await using ring = new Ring();
    const wrong: Readonly<Record<string, unknown>> = {
      "an instance of Object": { href: "file:///" },
      "an instance of Location": new (class Location {})(),
    };
    for (const [name, path] of Object.entries(wrong))
      expect(await thrown(() => ring.open(path as URL))).toMatchObject({
        code: "ERR_INVALID_ARG_TYPE",
        message: `path must be a string or a file: URL, not ${name}`,
      });
    expect(await thrown(() => ring.open(new URL("http://localhost/")))).toMatchObject({
      code: "ERR_INVALID_URL_SCHEME",
    });
  });
});

test("an abort callback that throws is reported, and the other callbacks are still called", async () => {
  const program = `
    import { onAbort } from ${JSON.stringify(new URL("../lib/base/abort.ts", import.meta.url).pathname)};
    const controller = new AbortController();
    onAbort(controller.signal, () => { throw new Error("on purpose"); });
    onAbort(controller.signal, () => console.log("the second"));
    process.once("unhandledRejection", ({ message }) => console.log("reported:", message));
    controller.abort();`;
  const { stdout, stderr } = await execute([process.execPath, "-e", program]);
  expect({ stdout, stderr }).toEqual({ stdout: "the second\nreported: on purpose\n", stderr: "" });
});
