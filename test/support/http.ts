/**
 * HTTP clients for tests. They speak HTTP over a plain TCP socket, so that they can be slow, disconnect early, and see
 * exactly what is sent.
 */

import { dlopen } from "bun:ffi";
import { connect, type Socket } from "node:net";

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Whether the whole body has arrived: as long as its content-length, or up to its last chunk. */
  readonly complete: boolean;
}

export interface Asked {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** The text of a request. The path is sent as given, and the connection closes after the answer. */
export function requestText(path: string, { method = "GET", headers = {}, body = "" }: Asked = {}): string {
  const lines = Object.entries({ host: "test", connection: "close", ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return `${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n${body}`;
}

/** The content of a chunked body, and whether its last chunk has arrived. */
function joinChunks(bytes: Buffer): { body: Buffer; complete: boolean } {
  const parts: Buffer[] = [];
  for (let at = 0; ; ) {
    const lineEnd = bytes.indexOf("\r\n", at);
    const length = lineEnd < 0 ? Number.NaN : Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    if (Number.isNaN(length) || length === 0) return { body: Buffer.concat(parts), complete: length === 0 };
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + length));
    at = lineEnd + 2 + length + 2;
  }
}

/** Parses everything that was received until the connection closed. */
function parseAnswer(bytes: Buffer, method = "GET"): Answer {
  const headEnd = bytes.indexOf("\r\n\r\n");
  const [statusLine = "", ...lines] = bytes.toString("latin1", 0, Math.max(0, headEnd)).split("\r\n");
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const rest = headEnd < 0 ? Buffer.alloc(0) : bytes.subarray(headEnd + 4);
  const isChunked = headers["transfer-encoding"] === "chunked" && method !== "HEAD";
  const expected = method === "HEAD" ? 0 : Number(headers["content-length"] ?? 0);
  const { body, complete } = isChunked
    ? joinChunks(rest)
    : { body: rest, complete: headEnd >= 0 && rest.length === expected };
  return { status: Number(statusLine.split(" ")[1]), headers, body, complete };
}

/** Opens a connection and sends `text`. */
export function dial(url: URL, text: string): Socket {
  const socket = connect({ port: Number(url.port), host: url.hostname });
  socket.on("error", () => undefined); // "close" follows
  socket.write(text);
  return socket;
}

/**
 * Sends a request, and resolves to the answer when the server has closed the connection. `pace` is awaited after each
 * piece that arrives.
 */
export async function ask(url: URL, path: string, asked: Asked = {}, pace?: () => Promise<void>): Promise<Answer> {
  const parts: Buffer[] = [];
  try {
    for await (const part of dial(url, requestText(path, asked))) {
      parts.push(part);
      await pace?.();
    }
  } catch {
    // A reset ends the answer, too. Whether the answer was complete can be seen from what has arrived.
  }
  return parseAnswer(Buffer.concat(parts), asked.method);
}

const {
  socket,
  setsockopt,
  connect: connectSocket,
  poll,
  recv,
  send,
  close,
} = dlopen("libc.so.6", {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  setsockopt: { args: ["i32", "i32", "i32", "ptr", "u32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
  recv: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
  send: { args: ["i32", "ptr", "u64", "i32"], returns: "i64" },
  close: { args: ["i32"], returns: "i32" },
}).symbols;
const AF_INET = 2;
const SOCK_STREAM_CLOEXEC = 0o2000001;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const POLLIN = 1;

/**
 * Like `ask`, but through a socket with a small receive buffer, so that the server's own buffers, not the kernel's,
 * have to hold what the client does not read.
 */
export async function askThroughSmallBuffer(
  url: URL,
  path: string,
  bufferBytes: number,
  pace: () => Promise<void>,
  asked: Asked = {},
): Promise<Answer> {
  const memory = () => new Uint8Array(new SharedArrayBuffer(65536));
  const fd = socket(AF_INET, SOCK_STREAM_CLOEXEC, 0);
  try {
    const size = memory();
    new DataView(size.buffer).setUint32(0, bufferBytes, true);
    const address = memory();
    new DataView(address.buffer).setUint16(0, AF_INET, true);
    new DataView(address.buffer).setUint16(2, Number(url.port));
    address.set([127, 0, 0, 1], 4);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, size, 4) !== 0 || connectSocket(fd, address, 16) !== 0)
      throw new Error("no connection");
    const text = memory();
    const { written } = new TextEncoder().encodeInto(requestText(path, asked), text);
    if (Number(send(fd, text, written, 0)) !== written) throw new Error("the request was not sent");

    const request = memory();
    const events = new DataView(request.buffer);
    const piece = memory();
    const parts: Buffer[] = [];
    for (;;) {
      await pace();
      events.setInt32(0, fd, true);
      events.setInt16(4, POLLIN, true);
      if (poll(request, 1, 0) === 0) {
        await Bun.sleep(0);
        continue;
      }
      const received = Number(recv(fd, piece, piece.length, 0));
      if (received <= 0) return parseAnswer(Buffer.concat(parts), asked.method);
      parts.push(Buffer.from(piece.subarray(0, received)));
    }
  } finally {
    close(fd);
  }
}
