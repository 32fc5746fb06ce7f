/**
 * Serves a folder over HTTP: GET and HEAD, with ranges and preconditions, and PUT where that is asked for.
 *
 * A file travels from the page cache into a slot of the pool, and from there into the socket. One request opens a file once and asks everything of that descriptor, so what
 * is promised in the headers and what is sent are of the same file, whatever happens to its name meanwhile.
 */
import { randomUUID } from "node:crypto";
import { constants, readlinkSync, realpathSync } from "node:fs";
import { STATUS_CODES } from "node:http";
import { basename, dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { BufferPool, Ring, type RingFile, type Statx, UringError } from "bun-uring";
import { failedPrecondition, requestedRange, validatorsOf } from "./file-server-http.ts";

const usage = `Usage: bun examples/file-server.ts [options] FOLDER

Serves the files of FOLDER over HTTP.

  -p, --port N        where to listen (default 3000; 0: any free port)
      --host NAME     which address to listen at (default localhost)
      --writable      let clients store files with PUT
      --slots N       slots of the pool that all connections share (default 64)
      --slot-bytes N  bytes of a slot (default 65536)
  -h, --help          print this
`;

export interface FileServerOptions {
  readonly folder: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Default "localhost". */
  readonly hostname?: string;
  /** Let clients store files with PUT. Default false. */
  readonly writable?: boolean;
  /** Default 64. */
  readonly slots?: number;
  /** Default 65536. */
  readonly slotBytes?: number;
}

export interface FileServer extends AsyncDisposable {
  readonly url: URL;
  readonly pool: BufferPool;
  readonly ring: Ring;
}

/** Of each response. */
const readsInFlight = 2;

/** What a request comes to when an operation for it fails. What is not here is the server's fault, 500. */
const statusOfCode: Readonly<Record<string, number>> = {
  ENOENT: 404,
  ENOTDIR: 404,
  ELOOP: 404,
  ENAMETOOLONG: 404,
  ENXIO: 404, // a socket
  EACCES: 403,
  EISDIR: 409,
  EMFILE: 503,
  ENFILE: 503,
  ENOSPC: 507,
  EDQUOT: 507,
};

function plain(status: number, headers: Headers | Record<string, string> = {}): Response {
  return new Response(`${status} ${STATUS_CODES[status]}\n`, { status, headers });
}

/** The path below the folder that a URL names; a number: why it names none. */
function pathOf(url: string): string | 400 | 404 {
  try {
    const segments = new URL(url).pathname.split("/").map(decodeURIComponent);
    return segments.some((segment) => segment === ".." || /[/\0]/.test(segment)) ? 404 : segments.join("/");
  } catch {
    return 400; // a percent sign that begins no byte, or bytes that are not UTF-8
  }
}

/**
 * The body, of exactly so many bytes: one that ends early, as of a file that was cut off meanwhile, is an error, so that the client does not take it for complete.
 * @param ended - called once, however it ends
 */
function exactly(lengthBytes: number, body: ReadableStream<Uint8Array>, ended: () => void): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  reader.closed.then(ended, ended);
  let leftBytes = lengthBytes;
  return new ReadableStream(
    {
      async pull(controller) {
        const { value } = await reader.read();
        if (value !== undefined) {
          leftBytes -= value.length;
          controller.enqueue(value);
        } else if (leftBytes === 0) {
          controller.close();
        } else {
          throw new Error(`the file ended ${leftBytes} bytes before what was promised`);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 }, // a chunk is a slot, and valid only until the next
  );
}

/** Starts a server; its disposal ends connections, ring and pool. */
export function serveFiles({ folder, port = 0, hostname = "localhost", writable = false, slots = 64, slotBytes = 65536 }: FileServerOptions): FileServer {
  const root = realpathSync(folder);
  const rootPrefix = root.endsWith("/") ? root : `${root}/`;
  const pool = new BufferPool({ count: slots, size: slotBytes });
  const ring = new Ring({ pool });

  // A client that does not read keeps its response's slots. So only half of them go there; the others' bodies are copies, which need a slot only while the
  // disk is read, and nobody can keep those.
  const zeroCopyLimit = Math.floor(slots / 2 / (readsInFlight + 1));
  let zeroCopies = 0;

  /** Whether a file is in the folder: asked of the descriptor, so a link that leads out is seen however the path looked, and however it changes. */
  function isInside(file: RingFile): boolean {
    const path = readlinkSync(`/proc/self/fd/${file.fd}`);
    return path === root || path.startsWith(rootPrefix);
  }

  /** Opens the regular file that a path names; for a folder that is its index.html. */
  async function find(path: string): Promise<{ path: string; file: RingFile; stat: Statx } | undefined> {
    await using opened = new AsyncDisposableStack();
    // Opening a FIFO would wait for who writes it.
    const file = opened.use(await ring.open(path, constants.O_RDONLY | constants.O_NONBLOCK));
    if (!isInside(file)) return undefined;
    const stat = await ring.statx(file);
    const kind = stat.mode & constants.S_IFMT;
    if (kind === constants.S_IFDIR) return find(join(path, "index.html"));
    if (kind !== constants.S_IFREG) return undefined;
    opened.move();
    return { path, file, stat };
  }

  async function get(request: Request, requested: string): Promise<Response> {
    const found = await find(requested);
    if (found === undefined) return plain(404);
    const { path, file, stat } = found;
    await using opened = new AsyncDisposableStack();
    opened.use(file);

    const size = Number(stat.size);
    const current = validatorsOf(stat);
    const headers = new Headers({ "accept-ranges": "bytes", etag: current.etag });
    if (current.lastModified !== undefined) headers.set("last-modified", current.lastModified);
    const failed = failedPrecondition(request.method, request.headers, current);
    if (failed === 304) return new Response(null, { status: 304, headers });
    if (failed !== undefined) return plain(failed, headers);

    const range = request.method === "GET" ? requestedRange(request.headers, size, current) : undefined;
    if (range === "unsatisfiable") return plain(416, { "content-range": `bytes */${size}` });
    const { first, end } = range ?? { first: 0, end: size };
    if (range !== undefined) headers.set("content-range", `bytes ${first}-${end - 1}/${size}`);
    headers.set("content-type", Bun.file(path).type);
    // Bun sends streams in chunks, without this (https://github.com/oven-sh/bun/issues/10507); to HEAD it tells.
    headers.set("content-length", String(end - first));
    const status = range === undefined ? 200 : 206;
    if (request.method === "HEAD" || first === end) return new Response(null, { status, headers });

    if (request.signal.aborted) return plain(400); // to nobody, and Bun 1.4.0 would drop a body without a word: nothing would close the file
    const share = zeroCopies < zeroCopyLimit ? 1 : 0;
    zeroCopies += share;
    const body = file.readable({ pool, zeroCopy: share === 1, position: first, length: end - first, depth: readsInFlight, autoClose: true });
    opened.move(); // the body closes the file now, however it ends
    const ended = () => {
      zeroCopies -= share;
    };
    return new Response(exactly(end - first, body, ended), { status, headers });
  }

  let lastTurn: Promise<unknown> = Promise.resolve();

  /** Does one thing after the other. */
  function inTurn<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = lastTurn.then(action);
    lastTurn = result.catch(() => undefined);
    return result;
  }

  /**
   * Stores a file. The content goes into a file beside it, is made durable, and takes the name in one step: others see the old file or the new one, and of an
   * upload that fails nothing is left.
   */
  async function put(request: Request, path: string): Promise<Response> {
    if (path.endsWith("/")) return plain(409);
    if (request.headers.has("content-range")) return plain(400); // a part of a file must not be taken for all of it
    await using folderFile = await ring.open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    if (!isInside(folderFile)) return plain(404);
    // Named by the descriptor, it is this folder, whatever its path leads to by now.
    const target = `/proc/self/fd/${folderFile.fd}/${basename(path)}`;
    const temporary = `/proc/self/fd/${folderFile.fd}/.upload-${randomUUID()}`;

    /** AT_SYMLINK_NOFOLLOW: a link is replaced, not what it leads to. */
    const replaced = () =>
      ring.statx(target, { flags: 0x100 }).then(validatorsOf, (error: unknown) => {
        if (error instanceof UringError && error.code === "ENOENT") return undefined;
        throw error;
      });
    const early = failedPrecondition("PUT", request.headers, await replaced());
    if (early !== undefined) return plain(early);

    const file = await ring.open(temporary, "wx");
    await using leftovers = new AsyncDisposableStack();
    leftovers.defer(() => ring.unlink(temporary));
    const content = request.body ?? new Blob().stream();
    await content.pipeTo(file.writable({ pool, durable: true, autoClose: true }));
    const stored = await ring.statx(temporary);
    const announced = request.headers.get("content-length");
    if (announced !== null && BigInt(announced) !== stored.size) return plain(400); // Bun 1.4.0 ends an interrupted body as if that were all of it
    const { etag } = validatorsOf(stored);
    const status = await inTurn(async () => {
      const current = await replaced(); // another upload may have been faster
      const late = failedPrecondition("PUT", request.headers, current);
      if (late !== undefined) return late;
      await ring.rename(temporary, target);
      leftovers.move();
      return current === undefined ? 201 : 204;
    });
    if (status >= 300) return plain(status);
    await folderFile.sync();
    return new Response(null, { status, headers: { etag } });
  }

  async function respond(request: Request): Promise<Response> {
    const isUpload = writable && request.method === "PUT";
    if (!isUpload && request.method !== "GET" && request.method !== "HEAD") return plain(405, { allow: writable ? "GET, HEAD, PUT" : "GET, HEAD" });
    const path = pathOf(request.url);
    if (typeof path === "number") return plain(path);
    try {
      return await (isUpload ? put : get)(request, join(root, path));
    } catch (error) {
      if (request.signal.aborted) return plain(400); // to nobody
      const status = error instanceof UringError ? statusOfCode[error.code] : undefined;
      if (status === undefined) throw error;
      return plain(status);
    }
  }

  const responding = new Set<Promise<Response>>();
  const server = Bun.serve({
    port,
    hostname,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER, // an upload never is in memory as a whole
    fetch(request) {
      const response = respond(request).finally(() => responding.delete(response));
      responding.add(response);
      return response;
    },
    error(error) {
      console.error(error);
      return plain(500);
    },
  });
  return {
    url: server.url,
    pool,
    ring,
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      await Promise.allSettled(responding); // uploads that end now clear up behind them
      await ring.close();
      pool.close();
    },
  };
}

function fail(message: string): never {
  console.error(`file-server: ${message}`);
  process.exit(2);
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        port: { type: "string", short: "p", default: "3000" },
        host: { type: "string", default: "localhost" },
        writable: { type: "boolean", default: false },
        slots: { type: "string", default: "64" },
        "slot-bytes": { type: "string", default: "65536" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    fail(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
}

function main(): void {
  const { values, positionals } = parse();
  if (values.help) {
    console.log(usage);
    return;
  }
  const [folder, ...others] = positionals;
  if (folder === undefined || others.length > 0) fail(`one FOLDER is needed\n\n${usage}`);
  const number = (name: "port" | "slots" | "slot-bytes") => {
    if (!/^\d+$/.test(values[name])) fail(`--${name} must be a whole number, not ${values[name]}`);
    return Number(values[name]);
  };
  const options = { folder, hostname: values.host, writable: values.writable, port: number("port"), slots: number("slots"), slotBytes: number("slot-bytes") };
  try {
    const server = serveFiles(options);
    console.log(`${folder} at ${server.url}`);
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server[Symbol.asyncDispose]());
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}

if (import.meta.main) main();
