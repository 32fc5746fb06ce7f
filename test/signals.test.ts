import { describe, expect, spyOn, test } from "bun:test";
import { BufferPool, Ring } from "bun-uring";
import { Window } from "happy-dom";
import { thrown } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { execute } from "./support/programs.ts";

const POLLIN = 1;

/** No more than a program has to have: what aborts, and who listens. */
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
  return value as AbortSignal; // what is wrong with it the library has to find out
}

describe("a signal", () => {
  const window = new Window();
  const kinds: Readonly<Record<string, () => { signal: AbortSignal; abort(reason: unknown): void }>> = {
    "of Bun": () => new AbortController(),
    "of happy-dom": () => {
      const controller = new window.AbortController();
      return { signal: asSignal(controller.signal), abort: (reason) => controller.abort(reason) };
    },
    "of a class of the program's own": () => {
      const signal = new OwnSignal();
      return { signal: asSignal(signal), abort: (reason) => signal.abort(reason) };
    },
  };
  for (const [kind, make] of Object.entries(kinds))
    test(`${kind} ends what waits, and refuses what is started then`, async () => {
      using ends = pipe();
      using pool = new BufferPool({ count: 1, size: 4096 });
      using folder = new Folder();
      await using ring = new Ring({ pool });
      using buffer = await pool.acquire();
      await using file = await ring.open(folder.write("file", "content"), "r+");
      const controller = make();
      const { signal } = controller;
      const started = [ring.readFixed(ends.readFd, buffer, { signal }), ring.poll(ends.readFd, POLLIN, { signal }), pool.acquire({ signal })];
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
      expect(await thrown(() => file.readFile({ signal }))).toMatchObject({ code: "ABORT_ERR", cause: reason }); // as FileHandle's
      await ring.close();
      expect(ring.inFlight).toBe(0);
    });

  test("that is none is refused by its name", async () => {
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

  test("whose own addEventListener throws fails that operation alone", async () => {
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

  test("whose own removeEventListener throws stops nothing, and aborts what comes later", async () => {
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
  /** Of a class that knows of no other URL. */
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
    for (const url of [new URL(`file://${path}`), new window.URL(`file://${path}`), new OwnUrl(path.replaceAll(" ", "%20"))] as URL[]) {
      await using file = await ring.open(url);
      expect(String(await file.readFile())).toBe("content");
      expect((await ring.statx(url)).size).toBe(7n);
    }
  });

  test("that is a URL of something else, or no URL, is refused by name", async () => {
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
    expect(await thrown(() => ring.open(new URL("http://localhost/")))).toMatchObject({ code: "ERR_INVALID_URL_SCHEME" });
  });
});

test("a callback that throws is reported, and keeps no other from being called", async () => {
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
