/**
 * Serves a directory over HTTP: GET and HEAD, with ranges and preconditions, and optionally PUT.
 *
 * A file's content goes from the page cache into a slot of the pool, and from there into the socket. Each request opens
 * the file once and uses only that descriptor. So the headers and the body describe the same file, even if its name
 * refers to another file meanwhile.
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

  -p, --port N        port to listen on (default 3000; 0: any free port)
      --host NAME     address to listen on (default localhost)
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

/** Reads in flight for each response. */
const readsInFlight = 2;

/** The status of a response after a failed operation. An error that is not listed is the server's fault: 500. */
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

/** Returns the path below the directory that a URL names, or the status of the response if the URL names none. */
function pathOf(url: string): string | 400 | 404 {
  try {
    const segments = new URL(url).pathname.split("/").map(decodeURIComponent);
    return segments.some((segment) => segment === ".." || /[/\0]/.test(segment)) ? 404 : segments.join("/");
  } catch {
    return 400; // a percent sign that does not start an escape sequence, or bytes that are not UTF-8
  }
}

/**
 * Returns the body, with exactly this many bytes. A body that ends early, because the file was truncated meanwhile,
 * fails with an error, so that the client does not mistake it for complete.
 * @param ended - called once, no matter how the body ends
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
          throw new Error(`the file ended ${leftBytes} bytes short of the promised length`);
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 }, // a chunk is a slot, valid only until the next chunk is requested
  );
}

/** Starts a server. Disposing of it closes its connections, its ring and its pool. */
export function serveFiles({
  folder,
  port = 0,
  hostname = "localhost",
  writable = false,
  slots = 64,
  slotBytes = 65536,
}: FileServerOptions): FileServer {
  const root = realpathSync(folder);
  const rootPrefix = root.endsWith("/") ? root : `${root}/`;
  const pool = new BufferPool({ count: slots, size: slotBytes });
  const ring = new Ring({ pool });

  // A client that stops reading holds its response's slots. So zero-copy responses may use only half of the slots. The
  // bodies of the other responses are copies: they need a slot only while the disk is read, so a client cannot hold it.
  const zeroCopyLimit = Math.floor(slots / 2 / (readsInFlight + 1));
  let zeroCopies = 0;

  /**
   * Whether a file is inside the directory. This checks the descriptor, so it detects a symbolic link that leads
   * outside, whatever the path looks like and however it changes.
   */
  function isInside(file: RingFile): boolean {
    const path = readlinkSync(`/proc/self/fd/${file.fd}`);
    return path === root || path.startsWith(rootPrefix);
  }

  /** Opens the regular file that a path names. For a directory, opens its index.html. */
  async function find(path: string): Promise<{ path: string; file: RingFile; stat: Statx } | undefined> {
    await using opened = new AsyncDisposableStack();
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
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
    // Without this header, Bun sends streams with chunked encoding (https://github.com/oven-sh/bun/issues/10507). For
    // HEAD, Bun does send the header.
    headers.set("content-length", String(end - first));
    const status = range === undefined ? 200 : 206;
    if (request.method === "HEAD" || first === end) return new Response(null, { status, headers });

    // No client is left to receive the response. Bun 1.4.0 would drop a body without cancelling it, so nothing would
    // close the file.
    if (request.signal.aborted) return plain(400);
    const share = zeroCopies < zeroCopyLimit ? 1 : 0;
    zeroCopies += share;
    const body = file.readable({
      pool,
      zeroCopy: share === 1,
      position: first,
      length: end - first,
      depth: readsInFlight,
      autoClose: true,
    });
    opened.move(); // from here on, the body closes the file, no matter how it ends
    const ended = () => {
      zeroCopies -= share;
    };
    return new Response(exactly(end - first, body, ended), { status, headers });
  }

  let lastTurn: Promise<unknown> = Promise.resolve();

  /** Runs actions one after the other. */
  function inTurn<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = lastTurn.then(action);
    lastTurn = result.catch(() => undefined);
    return result;
  }

  /**
   * Stores a file. The content goes into a temporary file in the same directory, is made durable, and then replaces the
   * target with one rename. Others see either the old file or the new one, and a failed upload leaves nothing behind.
   */
  async function put(request: Request, path: string): Promise<Response> {
    if (path.endsWith("/")) return plain(409);
    if (request.headers.has("content-range")) return plain(400); // part of a file must not be stored as the whole file
    await using folderFile = await ring.open(dirname(path), constants.O_RDONLY | constants.O_DIRECTORY);
    if (!isInside(folderFile)) return plain(404);
    // A path through the descriptor always refers to this directory, even if another directory has its name by now.
    const target = `/proc/self/fd/${folderFile.fd}/${basename(path)}`;
    const temporary = `/proc/self/fd/${folderFile.fd}/.upload-${randomUUID()}`;

    /** AT_SYMLINK_NOFOLLOW, because the rename replaces a symbolic link, not its target. */
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
    // Bun 1.4.0 ends the body of an interrupted upload as if it were complete.
    if (announced !== null && BigInt(announced) !== stored.size) return plain(400);
    const { etag } = validatorsOf(stored);
    const status = await inTurn(async () => {
      const current = await replaced(); // another upload may have finished first
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
    if (!isUpload && request.method !== "GET" && request.method !== "HEAD")
      return plain(405, { allow: writable ? "GET, HEAD, PUT" : "GET, HEAD" });
    const path = pathOf(request.url);
    if (typeof path === "number") return plain(path);
    try {
      return await (isUpload ? put : get)(request, join(root, path));
    } catch (error) {
      if (request.signal.aborted) return plain(400); // no client is left to receive it
      const status = error instanceof UringError ? statusOfCode[error.code] : undefined;
      if (status === undefined) throw error;
      return plain(status);
    }
  }

  const responding = new Set<Promise<Response>>();
  const server = Bun.serve({
    port,
    hostname,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER, // an upload is never in memory as a whole
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
      await Promise.allSettled(responding); // uploads that are interrupted remove their temporary files
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
  const options = {
    folder,
    hostname: values.host,
    writable: values.writable,
    port: number("port"),
    slots: number("slots"),
    slotBytes: number("slot-bytes"),
  };
  try {
    const server = serveFiles(options);
    console.log(`${folder} at ${server.url}`);
    for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => server[Symbol.asyncDispose]());
  } catch (error) {
    fail(error instanceof Error ? error.message : String(error));
  }
}

if (import.meta.main) main();
