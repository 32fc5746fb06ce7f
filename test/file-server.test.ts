import { expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { Agent, request as undiciRequest } from "undici/index.js";
import { type FileServer, type FileServerOptions, serveFiles } from "../examples/file-server.ts";
import { parseDate } from "../examples/file-server-http.ts";
import { needs } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { Folder } from "./support/files.ts";
import { type Asked, ask, askThroughSmallBuffer, dial, requestText } from "./support/http.ts";
import { fc } from "./support/properties.ts";
import { fdsUnder, leavingNothing } from "./support/resources.ts";

const program = new URL("../examples/file-server.ts", import.meta.url).pathname;
const network = needs("a loopback interface", "a processor that is not emulated");

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await Bun.sleep(1);
}

/**
 * Whether the server is done with every request: all slots are back, nothing is in flight, and no file of the folder is
 * open. Collects garbage first: a chunk that was never sent keeps its slot until it is collected.
 */
function isIdle({ pool, ring }: FileServer, folder: Folder): boolean {
  Bun.gc(true);
  return pool.available === pool.count && ring.inFlight === 0 && fdsUnder(folder.path) === 0;
}

/** Runs `body` with a server of a new folder. The server has to become idle by itself; only then is it closed. */
async function serving(
  options: Omit<FileServerOptions, "folder">,
  body: (server: FileServer, folder: Folder) => Promise<void>,
): Promise<void> {
  await leavingNothing(async () => {
    using folder = new Folder();
    await using server = serveFiles({ folder: folder.path, hostname: "127.0.0.1", ...options });
    await body(server, folder);
    await until(() => isIdle(server, folder));
  });
}

/** When files of `aged` were changed: at a whole second, long ago. */
const lastModified = "Sun, 06 Nov 1994 08:49:37 GMT";
function aged(folder: Folder, name: string, content: string | Uint8Array): string {
  const path = folder.write(name, content);
  utimesSync(path, new Date(lastModified), new Date(lastModified));
  return path;
}
const before = "Sun, 06 Nov 1994 08:49:36 GMT";
const after = "Sun, 06 Nov 1994 08:49:38 GMT";

network("GET and HEAD answer as RFC 9110 specifies", () =>
  serving({}, async (server, folder) => {
    aged(folder, "ten.txt", "0123456789");
    aged(folder, "empty", "");
    aged(folder, "with space & ü%.html", "<p>");
    mkdirSync(`${folder.path}/sub`);
    mkdirSync(`${folder.path}/bare`);
    aged(folder, "sub/index.html", "<h1>");
    const etag = (await ask(server.url, "/ten.txt")).headers["etag"] ?? "";
    expect(etag).toMatch(/^"[^"]+"$/);

    const whole = {
      status: 200,
      body: "0123456789",
      headers: { etag, "last-modified": lastModified, "accept-ranges": "bytes" },
    };
    const part = (first: number, last: number) => ({
      status: 206,
      body: "0123456789".slice(first, last + 1),
      headers: { etag, "last-modified": lastModified, "content-range": `bytes ${first}-${last}/10` },
    });
    const unsatisfiable = { status: 416, headers: { "content-range": "bytes */10" } };
    const unchanged = { status: 304, body: "", headers: { etag } };
    const refused = { status: 412 };
    const range = "bytes=2-4";
    const cases: [
      path: string,
      asked: Asked,
      expected: { status: number; body?: string; headers?: Record<string, string> },
    ][] = [
      ["/ten.txt", {}, { ...whole, headers: { ...whole.headers, "content-type": "text/plain;charset=utf-8" } }],
      ["/ten.txt?query", {}, whole],
      ["/ten.txt", { method: "HEAD" }, { ...whole, body: "", headers: { ...whole.headers, "content-length": "10" } }],
      [
        "/empty",
        {},
        { status: 200, body: "", headers: { "content-length": "0", "content-type": "application/octet-stream" } },
      ],
      ["/empty", { method: "HEAD" }, { status: 200, body: "", headers: { "content-length": "0" } }],
      [
        "/with%20space%20&%20%C3%BC%25.html",
        {},
        { status: 200, body: "<p>", headers: { "content-type": "text/html;charset=utf-8" } },
      ],
      ["/sub", {}, { status: 200, body: "<h1>", headers: { "content-type": "text/html;charset=utf-8" } }],
      ["/sub/", {}, { status: 200, body: "<h1>" }],

      ["/ten.txt", { headers: { range: "bytes=0-0" } }, part(0, 0)],
      ["/ten.txt", { headers: { range } }, part(2, 4)],
      ["/ten.txt", { headers: { range: "BYTES= 2-4 " } }, part(2, 4)],
      ["/ten.txt", { headers: { range: "bytes=9-" } }, part(9, 9)],
      ["/ten.txt", { headers: { range: "bytes=0-" } }, part(0, 9)],
      ["/ten.txt", { headers: { range: "bytes=5-99999999999999999999999" } }, part(5, 9)],
      ["/ten.txt", { headers: { range: "bytes=-3" } }, part(7, 9)],
      ["/ten.txt", { headers: { range: "bytes=-11" } }, part(0, 9)],
      ["/ten.txt", { headers: { range: "bytes=10-" } }, unsatisfiable],
      ["/ten.txt", { headers: { range: "bytes=99999999999999999999999-" } }, unsatisfiable],
      ["/ten.txt", { headers: { range: "bytes=-0" } }, unsatisfiable],
      ["/empty", { headers: { range: "bytes=0-" } }, { status: 416, headers: { "content-range": "bytes */0" } }],
      ["/empty", { headers: { range: "bytes=-5" } }, { status: 200, body: "" }],
      [
        "/ten.txt",
        { method: "HEAD", headers: { range } },
        { status: 200, body: "", headers: { "content-length": "10" } },
      ],
      // A server may ignore these: several ranges, other units, and invalid ranges.
      ["/ten.txt", { headers: { range: "bytes=0-1,3-4" } }, whole],
      ["/ten.txt", { headers: { range: "lines=0-1" } }, whole],
      ["/ten.txt", { headers: { range: "bytes=4-2" } }, whole],
      ["/ten.txt", { headers: { range: "bytes=99999999999999999999-9999999999999999999" } }, whole],
      ["/ten.txt", { headers: { range: "bytes=-" } }, whole],
      ["/ten.txt", { headers: { range: "bytes=1" } }, whole],
      ["/ten.txt", { headers: { range: "bytes=a-b" } }, whole],
      ["/ten.txt", { headers: { range: "bytes=0x1-2" } }, whole],
      ["/ten.txt", { headers: { range: "2-4" } }, whole],

      ["/ten.txt", { headers: { range, "if-range": etag } }, part(2, 4)],
      ["/ten.txt", { headers: { range, "if-range": `W/${etag}` } }, whole],
      ["/ten.txt", { headers: { range, "if-range": '"other"' } }, whole],
      ["/ten.txt", { headers: { range, "if-range": lastModified } }, part(2, 4)],
      ["/ten.txt", { headers: { range, "if-range": after } }, whole],
      ["/ten.txt", { headers: { range, "if-range": before } }, whole],
      ["/ten.txt", { headers: { range: "bytes=10-", "if-range": '"other"' } }, whole],
      ["/ten.txt", { headers: { range: "bytes=10-", "if-range": etag } }, unsatisfiable],

      ["/ten.txt", { headers: { "if-none-match": etag } }, unchanged],
      ["/ten.txt", { method: "HEAD", headers: { "if-none-match": etag } }, unchanged],
      ["/ten.txt", { headers: { "if-none-match": `"a", W/${etag} ,"b"` } }, unchanged],
      ["/ten.txt", { headers: { "if-none-match": "*" } }, unchanged],
      ["/ten.txt", { headers: { "if-none-match": '"other"' } }, whole],
      ["/ten.txt", { headers: { "if-modified-since": lastModified } }, unchanged],
      ["/ten.txt", { headers: { "if-modified-since": after } }, unchanged],
      ["/ten.txt", { headers: { "if-modified-since": before } }, whole],
      ["/ten.txt", { headers: { "if-modified-since": "yesterday" } }, whole],
      ["/ten.txt", { headers: { "if-match": etag } }, whole],
      ["/ten.txt", { headers: { "if-match": "*" } }, whole],
      ["/ten.txt", { headers: { "if-match": `"other", ${etag}` } }, whole],
      ["/ten.txt", { headers: { "if-match": '"other"' } }, refused],
      ["/ten.txt", { headers: { "if-match": `W/${etag}` } }, refused],
      ["/ten.txt", { headers: { "if-unmodified-since": lastModified } }, whole],
      ["/ten.txt", { headers: { "if-unmodified-since": before } }, refused],
      ["/ten.txt", { headers: { "if-unmodified-since": "yesterday" } }, whole],
      // The precedence of preconditions.
      ["/ten.txt", { headers: { "if-none-match": '"other"', "if-modified-since": after } }, whole],
      ["/ten.txt", { headers: { "if-none-match": etag, "if-modified-since": before } }, unchanged],
      ["/ten.txt", { headers: { "if-match": etag, "if-unmodified-since": before } }, whole],
      ["/ten.txt", { headers: { "if-match": '"other"', "if-none-match": etag } }, refused],
      ["/ten.txt", { headers: { "if-match": etag, "if-none-match": etag } }, unchanged],
      ["/ten.txt", { headers: { range: "bytes=10-", "if-none-match": etag } }, unchanged],
      ["/ten.txt", { headers: { range: "bytes=10-", "if-match": '"other"' } }, refused],

      ["/absent", {}, { status: 404 }],
      ["/absent", { method: "HEAD" }, { status: 404, body: "" }],
      ["/", {}, { status: 404 }],
      ["/bare", {}, { status: 404 }],
      ["/ten.txt/", {}, { status: 404 }],
      ["/ten.txt/more", {}, { status: 404 }],
      [`/${"x".repeat(300)}`, {}, { status: 404 }],
      ["/%zz", {}, { status: 400 }],
      ["/%", {}, { status: 400 }],
      ["/%ff", {}, { status: 400 }],
      ["/ten.txt", { method: "POST" }, { status: 405, headers: { allow: "GET, HEAD" } }],
      [
        "/ten.txt",
        { method: "PUT", headers: { "content-length": "1" }, body: "x" },
        { status: 405, headers: { allow: "GET, HEAD" } },
      ],
      ["/ten.txt", { method: "DELETE" }, { status: 405, headers: { allow: "GET, HEAD" } }],
    ];
    for (const [path, asked, { status, body, headers = {} }] of cases) {
      const answer = await ask(server.url, path, asked);
      const seen = Object.fromEntries(Object.keys(headers).map((name) => [name, answer.headers[name]]));
      const what = `${asked.method ?? "GET"} ${path} ${JSON.stringify(asked.headers ?? {})}`;
      expect({
        what,
        status: answer.status,
        headers: seen,
        body: body === undefined ? body : answer.body.toString(),
      }).toEqual({ what, status, headers, body });
      expect({ what, complete: answer.complete || status === 304 }).toEqual({ what, complete: true });
      if (status === 304) expect(answer.headers["content-length"]).toBeUndefined();
    }
  }),
);

network("only regular files inside the folder are served", () =>
  serving({}, async (server, folder) => {
    using outside = new Folder();
    outside.write("secret", "secret");
    outside.write("index.html", "secret");
    aged(folder, "inside", "fine");
    mkdirSync(`${folder.path}/sub`);
    symlinkSync("../inside", `${folder.path}/sub/link`);
    symlinkSync(`${outside.path}/secret`, `${folder.path}/out`);
    symlinkSync(outside.path, `${folder.path}/way`);
    symlinkSync("index.html", `${folder.path}/index.html`);
    symlinkSync(".", `${folder.path}/sub/index.html`);
    execFileSync("mkfifo", [`${folder.path}/fifo`]);
    const listening = createServer().listen(`${folder.path}/socket`);
    const name = outside.path.slice(1);
    const paths = [
      `/../${name}/secret`,
      `/../../../../../../${name}/secret`,
      `/..%2f..%2f..%2f..%2f${name}/secret`,
      `/%2e%2e/%2e%2e/%2e%2e/${name}/secret`,
      `/sub/..%2f..%2f..%2f${name}%2fsecret`,
      `//${name}/secret`,
      `/${encodeURIComponent(`${outside.path}/secret`)}`,
      `/..\\..\\${name}\\secret`,
      "/sub%2flink",
      "/inside%00",
      "/out",
      "/way/secret",
      "/way",
      "/",
      "/sub",
      "/fifo",
      "/socket",
    ];
    for (const path of paths) expect([path, (await ask(server.url, path)).status]).toEqual([path, 404]);
    expect((await ask(server.url, "/sub/link")).body.toString()).toBe("fine");
    listening.close();

    symlinkSync(`${folder.path}-beside`, `${folder.path}/beside`);
    mkdirSync(`${folder.path}-beside`);
    writeFileSync(`${folder.path}-beside/secret`, "secret");
    expect((await ask(server.url, "/beside/secret")).status).toBe(404);
    rmSync(`${folder.path}-beside`, { recursive: true });

    if (process.getuid?.() === 0) return; // root may read everything
    chmodSync(`${folder.path}/inside`, 0);
    expect((await ask(server.url, "/inside")).status).toBe(403);
  }),
);

network(
  "a file has no Last-Modified until its second is over, since it may change again; its entity tag changes every time",
  () =>
    serving({}, async (server, folder) => {
      const path = folder.write("file", "one");
      const now = Math.floor(Date.now() / 1000);
      utimesSync(path, now, now);
      const early = await ask(server.url, "/file");
      if (Math.floor(Date.now() / 1000) === now) expect(early.headers["last-modified"]).toBeUndefined();
      utimesSync(path, now + 10, now + 10);
      const first = await ask(server.url, "/file", {
        headers: { "if-modified-since": new Date((now + 20) * 1000).toUTCString() },
      });
      expect([first.status, first.headers["last-modified"]]).toEqual([200, undefined]);
      writeFileSync(path, "two");
      const second = await ask(server.url, "/file", { headers: { "if-none-match": first.headers["etag"] ?? "" } });
      expect([second.status, second.body.toString()]).toEqual([200, "two"]);
      utimesSync(path, now - 10, now - 10);
      expect((await ask(server.url, "/file")).headers["last-modified"]).toBe(new Date((now - 10) * 1000).toUTCString());
    }),
);

test("parseDate accepts the three date formats of HTTP, and nothing else", () => {
  const wanted = Date.UTC(1994, 10, 6, 8, 49, 37);
  for (const text of ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"])
    expect(parseDate(text)).toBe(wanted);
  const years = (two: string) =>
    new Date(parseDate(`Sunday, 06-Nov-${two} 08:49:37 GMT`) ?? 0).getUTCFullYear() - new Date().getUTCFullYear();
  for (const two of Array.from({ length: 100 }, (_, year) => String(year).padStart(2, "0"))) {
    expect(years(two)).toBeGreaterThan(-50);
    expect(years(two)).toBeLessThanOrEqual(50);
  }
  for (const text of [
    null,
    "",
    "yesterday",
    "1994-11-06",
    "784111777",
    "Sun, 06 Nov 1994 08:49:37 CET",
    "Sun, 06 Foo 1994 08:49:37 GMT",
  ])
    expect(parseDate(text)).toBeUndefined();
});

/** What a client asks for: a whole file or one range of it. */
interface Wanted {
  readonly name: string;
  readonly range: string | undefined;
  readonly expected: Buffer;
}

/** Clients. Each returns the body that it received, or undefined if it was incomplete. */
const clients = {
  "Bun's fetch": async (url: URL, { name, range }: Wanted) =>
    Buffer.from(
      await (await fetch(new URL(name, url), { headers: range === undefined ? {} : { range } })).arrayBuffer(),
    ),
  undici: async (url: URL, { name, range }: Wanted, agent: Agent) => {
    const { body } = await undiciRequest(new URL(name, url), {
      dispatcher: agent,
      headers: range === undefined ? {} : { range },
    });
    return Buffer.from(await body.arrayBuffer());
  },
  curl: (url: URL, { name, range }: Wanted) => curl(url, name, range),
  "curl, slowly": (url: URL, { name, range }: Wanted) => curl(url, name, range, "--limit-rate", "4M"),
  "a slow socket": async (url: URL, { name, range }: Wanted) => {
    const { body, complete } = await ask(url, `/${name}`, { headers: range === undefined ? {} : { range } }, () =>
      Bun.sleep(0),
    );
    return complete ? body : undefined;
  },
  "a small socket": async (url: URL, { name, range }: Wanted) => {
    const { body, complete } = await askThroughSmallBuffer(url, `/${name}`, 4096, () => Bun.sleep(0), {
      headers: range === undefined ? {} : { range },
    });
    return complete ? body : undefined;
  },
} as const;
type Client = keyof typeof clients;
const clientNames: readonly Client[] = [
  "Bun's fetch",
  "undici",
  "curl",
  "curl, slowly",
  "a slow socket",
  "a small socket",
];

async function curl(url: URL, name: string, range: string | undefined, ...options: string[]): Promise<Buffer> {
  const ranged = range === undefined ? [] : ["--header", `Range: ${range}`];
  const child = Bun.spawn(
    ["curl", "--silent", "--show-error", "--fail", ...options, ...ranged, new URL(name, url).href],
    { stdout: "pipe" },
  );
  const content = Buffer.from(await child.stdout.bytes());
  expect(await child.exited).toBe(0);
  return content;
}

/** Clients that disconnect: before their request is complete, right after it, or in the middle of the body. */
const leavers = [
  async (url: URL, name: string) => {
    const socket = dial(url, requestText(`/${name}`).slice(0, -10));
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.destroy();
  },
  async (url: URL, name: string) => {
    const socket = dial(url, requestText(`/${name}`));
    await new Promise((resolve) => socket.once("connect", resolve));
    socket.destroy();
  },
  async (url: URL, name: string) => {
    const socket = dial(url, requestText(`/${name}`));
    await new Promise((resolve) => socket.once("data", resolve));
    socket.destroy();
  },
  async (url: URL, name: string) => {
    const socket = dial(url, requestText(`/${name}`));
    let received = 0;
    for await (const part of socket) {
      received += part.length;
      if (received > 300_000) break; // leaving the loop destroys the socket
    }
  },
] as const;

network(
  "64 connections of curl, undici, fetch and slow sockets get every range while others disconnect; nothing leaks",
  () =>
    serving({ slots: 32, slotBytes: 16384 }, async (server, folder) => {
      const names = [0, 1, 4095, 65536, 65537, 3 * 2 ** 20 + 11].map((sizeBytes, index) => {
        const name = `file${index}`;
        return { name, content: folder.random(name, sizeBytes).content };
      });
      const wanted = fc.constantFrom(...names).chain(({ name, content }) => {
        const last = Math.max(0, content.length - 1);
        const whole = fc.constant({ name, range: undefined, expected: content });
        if (content.length === 0) return whole;
        const range = fc.tuple(fc.nat(last), fc.nat(last)).map(([one, other]) => {
          const [first, end] = [Math.min(one, other), Math.max(one, other)];
          return { name, range: `bytes=${first}-${end}`, expected: content.subarray(first, end + 1) };
        });
        const from = fc
          .nat(last)
          .map((first) => ({ name, range: `bytes=${first}-`, expected: content.subarray(first) }));
        const suffix = fc
          .integer({ min: 1, max: content.length })
          .map((length) => ({ name, range: `bytes=-${length}`, expected: content.subarray(-length) }));
        return fc.oneof(whole, range, from, suffix);
      });
      const available = clientNames.filter((client) => !client.startsWith("curl") || Bun.which("curl") !== null);
      const downloads = fc.array(
        fc.record({ client: fc.constantFrom(...available), wanted, leaver: fc.nat(leavers.length - 1) }),
        {
          minLength: 64,
          maxLength: 64,
        },
      );
      const agent = new Agent({ connections: 64 });
      // The plain specifier "undici" would be Bun's built-in replacement.
      expect(import.meta.resolve("undici/index.js")).toContain("/node_modules/undici/");
      await fc.assert(
        fc.asyncProperty(downloads, async (plans) => {
          await Promise.all(
            plans.map(async ({ client, wanted: one, leaver }, index) => {
              if (index % 4 === 0) await leavers[leaver]?.(server.url, one.name);
              const got = await clients[client](server.url, one, agent);
              if (got === undefined || !got.equals(one.expected))
                throw new Error(
                  `${client}: wrong body for ${one.range} of ${one.name}: ${got?.length} bytes instead of ${one.expected.length}`,
                );
            }),
          );
        }),
        { numRuns: times(8), endOnFailure: true },
      );
      await agent.close();
    }),
);

// If the client is gone, Bun 1.4.0 drops the body of the response; later versions cancel it. A file that is dropped is
// closed, too, but only when it is collected, and with a warning.
network(
  "clients that disconnect before their response leave no file open, and none for the garbage collector to close",
  async () => {
    const warnings: string[] = [];
    const note = ({ message }: Error) => warnings.push(message);
    let path = "";
    process.on("warning", note);
    await serving({}, async (server, folder) => {
      ({ path } = folder.random("file", 2 ** 20));
      for (let round = 0; round < times(10); round++) {
        await Promise.all(
          Array.from({ length: 32 }, async () => {
            const socket = dial(server.url, requestText("/file"));
            await new Promise((resolve) => socket.once("connect", resolve));
            socket.destroy();
          }),
        );
      }
    }).finally(() => process.off("warning", note));
    expect(warnings.filter((message) => message.includes(path))).toEqual([]);
  },
);

network("clients that read nothing do not keep others from being served", () =>
  serving({ slots: 6, slotBytes: 65536 }, async (server, folder) => {
    truncateSync(folder.write("large", ""), 2 ** 28); // more than fits into the kernel's socket buffers
    const { content } = folder.random("file", 2 ** 20);
    // Each takes its share of the slots, and gives it back.
    for (let download = 0; download < 4; download++) await ask(server.url, "/file");
    const getStuck = async () => {
      const socket = dial(server.url, requestText("/large"));
      await new Promise((resolve) => socket.once("data", resolve));
      return socket.pause();
    };
    const stuck = [await getStuck()];
    await until(() => server.pool.stats().held === 3); // its share: one being sent, two read ahead
    stuck.push(...(await Promise.all(Array.from({ length: 11 }, getStuck))));
    // Wait until the server reads nothing more for them.
    for (let reads = -1; reads !== server.ring.stats().submitted; await Bun.sleep(20))
      reads = server.ring.stats().submitted;
    const { complete, body } = await ask(server.url, "/file");
    expect([complete, body.equals(content)]).toEqual([true, true]);
    for (const socket of stuck) socket.destroy();
  }),
);

network("a file that is truncated while it is sent gives an incomplete response, not a shorter file", () =>
  serving({}, async (server, folder) => {
    const { path } = folder.random("file", 16 * 2 ** 20);
    let isCut = false;
    const { status, complete } = await ask(server.url, "/file", {}, async () => {
      if (!isCut) truncateSync(path, 2 ** 20);
      isCut = true;
    });
    expect([status, complete]).toEqual([200, false]);
  }),
);

network("a file that is replaced while it is sent is sent with its old content", () =>
  serving({}, async (server, folder) => {
    const { path, content } = folder.random("file", 16 * 2 ** 20);
    let isReplaced = false;
    const { body } = await ask(server.url, "/file", {}, async () => {
      if (!isReplaced) execFileSync("mv", [folder.write("other", "other"), path]);
      isReplaced = true;
    });
    expect(body.equals(content)).toBe(true);
    expect((await ask(server.url, "/file")).body.toString()).toBe("other");
  }),
);

network("closing the server ends its connections, whatever their state, and leaves nothing open", () =>
  leavingNothing(async () => {
    using folder = new Folder();
    folder.random("large", 8 * 2 ** 20);
    const server = serveFiles({ folder: folder.path, hostname: "127.0.0.1", writable: true });
    const requests = [
      requestText("/large"),
      "GET /large HT",
      `${requestText("/new", { method: "PUT", headers: { "content-length": "9" } })}part`,
    ];
    const sockets = await Promise.all(
      requests.map(async (text) => {
        const socket = dial(server.url, text);
        await new Promise((resolve) => socket.once("connect", resolve));
        return socket;
      }),
    );
    await until(() => readdirSync(folder.path).length === 2); // the upload has begun
    const closed = sockets.map((socket) => new Promise((resolve) => socket.resume().once("close", resolve)));
    await server[Symbol.asyncDispose]();
    await Promise.all(closed);
    expect([fdsUnder(folder.path), server.ring.inFlight, readdirSync(folder.path)]).toEqual([0, 0, ["large"]]);
    await until(() => isIdle(server, folder));
  }),
);

network("PUT creates or replaces a file, and honours preconditions", () =>
  serving({ writable: true, slots: 4, slotBytes: 4096 }, async (server, folder) => {
    mkdirSync(`${folder.path}/sub`);
    const content = Buffer.alloc(300_000, "0123456789abcde");
    const put = (name: string, body: string | Buffer | undefined, headers: Record<string, string> = {}) =>
      fetch(new URL(name, server.url), { method: "PUT", headers, ...(body === undefined ? {} : { body }) });

    const created = await put("file", content);
    expect([created.status, readFileSync(`${folder.path}/file`).equals(content)]).toEqual([201, true]);
    const etag = created.headers.get("etag") ?? "";
    expect((await ask(server.url, "/file", { method: "HEAD" })).headers["etag"]).toBe(etag);
    const inode = statSync(`${folder.path}/file`).ino;

    for (const headers of [
      { "if-none-match": "*" },
      { "if-none-match": etag },
      { "if-match": '"other"' },
      { "if-unmodified-since": lastModified },
    ])
      expect((await put("file", "no", headers)).status).toBe(412);
    expect((await put("absent", "no", { "if-match": "*" })).status).toBe(412);
    expect((await put("file", "no", { "content-range": "bytes 0-1/5" })).status).toBe(400);
    for (const [name, status] of [
      ["sub", 409],
      ["sub/", 409],
      ["absent/file", 404],
      ["file/more", 404],
      ["%2e%2e%2fout", 404],
    ] as const)
      expect([name, (await put(name, "no")).status]).toEqual([name, status]);
    expect(readFileSync(`${folder.path}/file`).equals(content)).toBe(true);
    expect(statSync(`${folder.path}/file`).ino).toBe(inode);

    const replaced = await put("file", "new", { "if-match": etag });
    expect([replaced.status, readFileSync(`${folder.path}/file`, "utf8")]).toEqual([204, "new"]);
    expect([
      (await put("sub/empty", undefined, { "if-none-match": "*" })).status,
      statSync(`${folder.path}/sub/empty`).size,
    ]).toEqual([201, 0]);
    expect([readdirSync(folder.path).sort(), readdirSync(`${folder.path}/sub`)]).toEqual([["file", "sub"], ["empty"]]);
  }),
);

network("PUT follows no symbolic link: it replaces a link, and refuses paths through one that leaves the folder", () =>
  serving({ writable: true }, async (server, folder) => {
    using outside = new Folder();
    const secret = outside.write("secret", "secret");
    symlinkSync(secret, `${folder.path}/link`);
    symlinkSync(outside.path, `${folder.path}/way`);
    const put = async (name: string) => (await fetch(new URL(name, server.url), { method: "PUT", body: "new" })).status;
    expect([await put("link"), await put("way/new"), await put("way")]).toEqual([204, 404, 204]);
    expect([
      readFileSync(secret, "utf8"),
      readFileSync(`${folder.path}/link`, "utf8"),
      readdirSync(outside.path),
    ]).toEqual(["secret", "new", ["secret"]]);
  }),
);

network(
  "of concurrent uploads to one name with If-None-Match: *, exactly one succeeds, and the file has its whole content",
  () =>
    serving({ writable: true, slots: 4, slotBytes: 4096 }, async (server, folder) => {
      for (let round = 0; round < times(10); round++) {
        const contents = Array.from({ length: 16 }, (_, index) => Buffer.alloc(10_000, index));
        const statuses = await Promise.all(
          contents.map(
            async (body) =>
              (await fetch(new URL("file", server.url), { method: "PUT", body, headers: { "if-none-match": "*" } }))
                .status,
          ),
        );
        expect(statuses.toSorted()).toEqual([201, ...Array.from({ length: 15 }, () => 412)]);
        expect(readFileSync(`${folder.path}/file`).equals(contents[statuses.indexOf(201)] ?? Buffer.alloc(0))).toBe(
          true,
        );
        expect(readdirSync(folder.path)).toEqual(["file"]);
        rmSync(`${folder.path}/file`);
      }
    }),
);

network("closing the server at any moment of an upload leaves the whole file or nothing", () =>
  leavingNothing(async () => {
    for (let round = 0; round < times(30); round++) {
      using folder = new Folder();
      const server = serveFiles({
        folder: folder.path,
        hostname: "127.0.0.1",
        writable: true,
        slots: 4,
        slotBytes: 4096,
      });
      const sockets = Array.from({ length: 8 }, (_, index) => {
        const socket = dial(
          server.url,
          requestText(`/new${index}`, {
            method: "PUT",
            headers: { "content-length": "20000" },
            body: "x".repeat(20_000),
          }),
        );
        return new Promise((resolve) => socket.resume().once("close", resolve));
      });
      await until(() => readdirSync(folder.path).length > round % 8);
      for (let turn = 0; turn < round % 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      await server[Symbol.asyncDispose]();
      await Promise.all(sockets);
      expect(
        readdirSync(folder.path).filter(
          (name) => !name.startsWith("new") || statSync(`${folder.path}/${name}`).size !== 20_000,
        ),
      ).toEqual([]);
      expect(fdsUnder(folder.path)).toBe(0);
    }
  }),
);

network("an upload whose client disconnects leaves the old file, and nothing else", () =>
  serving({ writable: true, slots: 4, slotBytes: 4096 }, async (server, folder) => {
    folder.write("file", "old");
    const chunked = `${requestText("/file", { method: "PUT", headers: { "transfer-encoding": "chunked" } })}5\r\nhello\r\n`;
    const sized = `${requestText("/file", { method: "PUT", headers: { "content-length": "2000000" } })}${"x".repeat(1_000_000)}`;
    for (const text of [chunked, sized]) {
      const socket = dial(server.url, text);
      await until(() => readdirSync(folder.path).length === 2);
      socket.destroy();
      await until(() => readdirSync(folder.path).length === 1);
      expect(readFileSync(`${folder.path}/file`, "utf8")).toBe("old");
    }
  }),
);

needs(
  "a loopback interface",
  "a processor that is not emulated",
  "curl",
)("the program serves a folder, accepts an upload from curl, and ends on SIGTERM", async () => {
  using folder = new Folder();
  const { path, content } = folder.random("file", 200_000);
  const child = Bun.spawn([process.execPath, program, "--port", "0", "--writable", folder.path], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const reader = child.stdout.getReader();
  const url = / at (http:\S+)/.exec(new TextDecoder().decode((await reader.read()).value))?.[1] ?? "";
  expect((await curl(new URL(url), "file", "bytes=100-")).equals(content.subarray(100))).toBe(true);
  const upload = Bun.spawn(["curl", "--silent", "--fail", "--upload-file", path, `${url}copy`]);
  expect([await upload.exited, readFileSync(`${folder.path}/copy`).equals(content)]).toEqual([0, true]);
  child.kill("SIGTERM");
  expect([await child.exited, await child.stderr.text()]).toEqual([0, ""]);
});

needs("a processor that is not emulated")(
  "--help prints the options; invalid arguments are refused with status 2",
  async () => {
    const run = (...args: string[]) => Bun.spawnSync([process.execPath, program, ...args]);
    const help = run("--help");
    expect([help.exitCode, help.stderr.toString()]).toEqual([0, ""]);
    for (const option of ["--port", "--host", "--writable", "--slots", "--slot-bytes", "--help"])
      expect(help.stdout.toString()).toContain(option);
    for (const args of [
      [],
      ["a", "b"],
      ["--nonsense", "."],
      ["--port", "x", "."],
      ["--slots", "0", "."],
      ["/absent"],
    ]) {
      const { exitCode, stdout, stderr } = run(...args);
      expect([exitCode, stdout.toString()]).toEqual([2, ""]);
      expect(stderr.toString()).toContain("file-server:");
    }
  },
);
