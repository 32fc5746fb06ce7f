/** The functions of node:fs/promises that a ring carries out faster, for bun-uring/promises. */
import { isSignal } from "../base/arguments.ts";
import { Buffer, process } from "../base/globals.ts";
import { isUrl } from "../base/path.ts";
import { isView } from "../base/view.ts";
import { nodeError } from "../errors/node.ts";
import { UringError } from "../errors/uring-error.ts";
import type { PathFiles } from "../ring/path-files.ts";
import { coreOf } from "../ring/ring.ts";
import { threadRing } from "../ring/thread-ring.ts";
import { writeFileBy } from "../ring/write-file.ts";

const node = () => process.getBuiltinModule("node:fs/promises");

let isRefused = false;

/** The files of this thread's ring. Undefined if there can be no ring, or it is broken: node:fs does everything then. */
function pathFiles(): PathFiles | undefined {
  if (isRefused) return undefined;
  try {
    const { paths, requests } = coreOf(threadRing());
    isRefused = requests.broken;
    return isRefused ? undefined : paths;
  } catch (error) {
    const isShort = error instanceof UringError && (error.code === "EMFILE" || error.code === "ENFILE");
    isRefused = !isShort; // there may be descriptors again
    return undefined;
  }
}

const names = ["encoding", "flag", "signal", "mode", "flush"] as const;

/**
 * The options if a ring can do what they say: those of node:fs/promises in their usual form. Each is read once. Others,
 * and wrong ones, are left to node:fs. Options that node:fs does not know are ignored, as it does.
 */
function usualOptions(given: unknown, usualFlag: string): object | undefined {
  if (given === undefined || given === null) return {};
  if (typeof given === "string") return Buffer.isEncoding(given) ? { encoding: given } : undefined;
  if (typeof given !== "object") return undefined;
  const options: Partial<Record<(typeof names)[number], unknown>> = {};
  for (const name of names) {
    const value: unknown = Reflect.get(given, name);
    if (value !== undefined && value !== null) options[name] = value;
  }
  const { encoding, flag = usualFlag, signal, mode = 0, flush = false } = options;
  const isUsual =
    (encoding === undefined || (typeof encoding === "string" && Buffer.isEncoding(encoding))) &&
    flag === usualFlag &&
    (signal === undefined || isSignal(signal)) &&
    typeof mode === "number" &&
    Number.isInteger(mode) &&
    mode >= 0 &&
    mode <= 0o7777 &&
    flush === false;
  return isUsual ? options : undefined;
}

/** Shorter paths fit the kernel's limit of 4095 bytes, whatever their characters are. */
const shortPath = 1300;

function isUsualPath(path: unknown): path is string | URL {
  if (typeof path !== "string") return isUrl(path) && path.protocol === "file:" && path.href.length < shortPath;
  return path.length < shortPath && !path.includes("\0");
}

function isUsualData(data: unknown): data is string | NodeJS.ArrayBufferView {
  return typeof data === "string" || isView(data);
}

/** What `read` returns. Undefined if a getter of the program's throws: node:fs then meets it, and rejects. */
function unlessThrown<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

type NodePromises = typeof import("node:fs/promises");

function readFile(path: unknown, options?: unknown): Promise<Buffer | string> {
  const files = pathFiles();
  const given = unlessThrown(() => (isUsualPath(path) ? { path, options: usualOptions(options, "r") } : undefined));
  if (files === undefined || given?.options === undefined)
    return Reflect.apply(node().readFile, undefined, [path, options]);
  return files.readFile(given.path, given.options, nodeError);
}

function writing(name: "writeFile" | "appendFile", flag: "w" | "a") {
  return (path: unknown, data: unknown, options?: unknown): Promise<void> => {
    const files = pathFiles();
    const given = unlessThrown(() => (isUsualPath(path) ? { path, options: usualOptions(options, flag) } : undefined));
    if (files === undefined || given?.options === undefined || !isUsualData(data))
      return Reflect.apply(node()[name], undefined, [path, data, options]);
    return writeFileBy(files, given.path, data, given.options, flag, nodeError);
  };
}

/**
 * What replaces functions of node:fs/promises.
 * @hidden
 */
export const nodePromises = {
  readFile: readFile as NodePromises["readFile"],
  writeFile: writing("writeFile", "w") as NodePromises["writeFile"],
  appendFile: writing("appendFile", "a") as NodePromises["appendFile"],
} as const;
