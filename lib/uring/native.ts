/**
 * Compiles the C shim and binds its functions, once in each thread, on first use. No other module imports bun:ffi.
 */

import { CString, cc, dlopen, linkSymbols, type Pointer, ptr, read, toArrayBuffer } from "bun:ffi";
import { assert } from "../base/assert.ts";
import { Buffer, Bun, process } from "../base/globals.ts";
import { root } from "../base/hold.ts";
import { openFiles } from "../base/machine.ts";
import { hintFor } from "../errors/hints.ts";
import * as remedies from "../errors/remedies.ts";
import { oldest } from "../errors/requirements.ts";
import { UringError } from "../errors/uring-error.ts";

/** The signatures of FUNCTIONS in shim.c. Addresses are numbers; results are values or -errno. */
const signatures = {
  ringInit: { args: ["u32", "u32", "u32", "u32", "u64"], returns: "i32" },
  ringClose: { args: ["u64"], returns: "i32" },
  ringFinish: { args: ["u64"], returns: "i32" },
  ringSubmit: { args: ["u64", "u32"], returns: "i32" },
  ringSubmitAndWait: { args: ["u64", "u32", "u32"], returns: "i32" },
  ringGetEvents: { args: ["u64"], returns: "i32" },
  ringRegister: { args: ["u64", "u32", "u64", "u32"], returns: "i32" },
  ringRegisterRingFd: { args: ["u64"], returns: "i32" },
  ringUnregisterRingFd: { args: ["u64"], returns: "i32" },
  ringClone: { args: ["u64", "i32", "u32", "u32", "u32", "u32"], returns: "i32" },
  ringEventfd: { args: ["u64"], returns: "i32" },
  ringFiles: { args: ["u64", "u64", "u32"], returns: "void" },
  poolCreate: { args: ["u64", "u64", "u32", "u64"], returns: "i32" },
  poolAttach: { args: ["u64", "u64"], returns: "i32" },
  poolClose: { args: ["u64"], returns: "void" },
  poolLeave: { args: ["u64"], returns: "void" },
  poolLock: { args: ["u64"], returns: "i32" },
  poolUnlock: { args: ["u64"], returns: "i32" },
  poolWake: { args: ["u64"], returns: "void" },
  poolEventfd: { args: ["u64"], returns: "i32" },
  threadId: { args: [], returns: "i32" },
  descriptorFlags: { args: ["i32"], returns: "i32" },
  fileSeek: { args: ["i32", "i64_fast", "i32"], returns: "i64_fast" },
  fileStatus: { args: ["i32", "u32", "u64"], returns: "i32" },
  fileMode: { args: ["i32", "u32"], returns: "i32" },
  removeAt: { args: ["i32", "u64", "i32"], returns: "i32" },
  mountMagic: { args: ["u64"], returns: "i64_fast" },
  advise: { args: ["u64", "u64", "i32"], returns: "i32" },
  reflinkStart: { args: ["i32", "i32", "u64"], returns: "i32" },
  reflinkResult: { args: ["u64"], returns: "i32" },
  probe: { args: ["u64"], returns: "i32" },
} as const;

type Signatures = typeof signatures;
/** A 64-bit integer is a bigint if it is beyond 2^53. */
type Value<Type> = Type extends "i64_fast" | "u64" ? number | bigint : number;
type Values<Types extends readonly unknown[]> = { [Index in keyof Types]: Value<Types[Index]> };

/** The functions of the shim. */
export type Native = {
  readonly [Name in keyof Signatures]: (
    ...values: Values<Signatures[Name]["args"]>
  ) => Signatures[Name]["returns"] extends "void" ? void : Value<Signatures[Name]["returns"]>;
};

interface Loaded {
  readonly native: Native;
  /** The address of shim.c's `table`. */
  readonly table: Pointer;
}

let loaded: Loaded | undefined;

function pointer(address: unknown): Pointer {
  assert(typeof address === "number" && address > 0, `an address, not ${address}`);
  return address as Pointer;
}

/** The address of memory that cannot move: a SharedArrayBuffer, or a view of one. */
export function addressOf(memory: ArrayBufferLike | NodeJS.TypedArray): number {
  return ptr(memory);
}

/** Native memory as an ArrayBuffer. The caller must drop all views of it before the memory is freed. */
export function mapped(address: number, sizeBytes: number): ArrayBuffer {
  return toArrayBuffer(pointer(address), 0, sizeBytes);
}

function unavailable(code: string, syscall: string, message: string, hint: string, cause?: unknown): UringError {
  return new UringError(code, syscall, { message, hint, cause });
}

/**
 * The address of dlsym. Opens the C library by its soname (musl's by its path), because libc.so exists only where
 * development packages are installed.
 */
function symbolResolver(): Pointer {
  const musl = process.arch === "arm64" ? "libc.musl-aarch64.so.1" : "libc.musl-x86_64.so.1";
  const libraries = ["libc.so.6", "libdl.so.2", `/lib/${musl}`];
  let cause: unknown;
  for (const library of libraries) {
    try {
      const { dlsym } = dlopen(library, { dlsym: { args: ["ptr", "ptr"], returns: "ptr" } }).symbols;
      const address: unknown = Reflect.get(dlsym, "ptr");
      if (typeof address === "number") return pointer(address);
    } catch (error) {
      cause = error;
    }
  }
  throw unavailable("ENOENT", "dlopen", "the C library was not found", `Looked for ${libraries.join(" and ")}.`, cause);
}

/** The C string at an address. Undefined for a null pointer. */
export function text(address: number): string | undefined {
  return address === 0 ? undefined : new CString(pointer(address)).toString();
}

/** The names in a list of shim.c, given the address of its text. Each name ends with a newline. */
function namesAt(address: number): string[] {
  return new CString(pointer(address)).trimEnd().split("\n");
}

/** Calls memfd_create(2), with MFD_CLOEXEC. Returns a descriptor, or -1. */
function createMemoryFile(resolve: Pointer, name: string): number {
  const MFD_CLOEXEC = 1;
  const { dlsym } = linkSymbols({ dlsym: { args: ["ptr", "ptr"], returns: "ptr", ptr: resolve } }).symbols;
  const address = dlsym(null, Buffer.from("memfd_create\0"));
  if (address === null) return -1;
  return linkSymbols({ create: { args: ["ptr", "u32"], returns: "i32", ptr: address } }).symbols.create(
    Buffer.from(`${name}\0`),
    MFD_CLOEXEC,
  );
}

function compileFile(source: string) {
  return cc({
    source,
    flags: ["-nostdlib"],
    symbols: { bun_uring_start: { args: ["napi_env", "napi_value", "ptr"], returns: "ptr" } },
  });
}

function property(error: unknown, name: "code" | "syscall"): string | undefined {
  const value: unknown = error instanceof Error ? Reflect.get(error, name) : undefined;
  return typeof value === "string" ? value : undefined;
}

/** The most descriptors that the compiler has open at once. */
const compilersFiles = 2;

/**
 * EMFILE or ENFILE if too few descriptors are left to compile or load the shim: the compiler and the loader do not
 * report that. Counts descriptors instead of opening some, which terminate() could leave open.
 */
function lackOfDescriptors(): string | undefined {
  try {
    const { limit, open } = openFiles();
    return open + compilersFiles > limit ? "EMFILE" : undefined;
  } catch (error) {
    const code = property(error, "code");
    return code === "EMFILE" || code === "ENFILE" ? code : undefined;
  }
}

/**
 * The error to throw if the shim could not be compiled.
 * @param packaged - the path of the source; undefined if the source was bundled as text
 */
function uncompiled(error: unknown, packaged: string | undefined): UringError {
  const code = property(error, "code");
  const shim = packaged === undefined ? "the C shim" : `the C shim ${packaged}`;
  if (code === "ERR_FFI_CC_DISABLED")
    return unavailable(code, "cc", "the C compiler of bun:ffi is switched off", remedies.compilerOff.hint, error);
  if (
    packaged === undefined ? code === "ERR_MODULE_NOT_FOUND" : !process.getBuiltinModule("node:fs").existsSync(packaged)
  )
    return unavailable("ENOENT", "cc", `${shim} is not there`, remedies.noShim.hint, error);
  const lack = lackOfDescriptors();
  if (lack !== undefined) return new UringError(lack, "cc", { cause: error });
  const syscall = property(error, "syscall");
  if (code !== undefined && syscall !== undefined)
    return unavailable(
      code,
      syscall,
      `${shim} could not be written to a temporary file`,
      hintFor(code, syscall) ?? remedies.noTemporaryFile.hint,
      error,
    );
  return unavailable(
    "ENOEXEC",
    "cc",
    `${shim} could not be compiled`,
    "Please report this, with the version of Bun.",
    error,
  );
}

/**
 * The path of the shim's source in the package. Undefined if this module was bundled into a program: then a file beside
 * it could be anybody's.
 * @param moduleUrl - returns the `import.meta.url` of this module
 */
function packagedShim(moduleUrl: () => string): string | undefined {
  // A bundler that writes CommonJS replaces `import.meta.url` by the module's location at build time. Where the program
  // runs, that folder may be anybody's.
  if (!String(moduleUrl).includes("import.meta.url")) return undefined;
  const [, folder] = /^(.*)\/(?:lib\/uring\/native\.ts|dist\/bun-uring\.js)$/.exec(moduleUrl()) ?? [];
  return folder === undefined ? undefined : Bun.fileURLToPath(`${folder}/c/shim.c`);
}

function compileText(resolve: Pointer) {
  const { withShimFile }: typeof import("./shim-source.ts") = require("./shim-source.ts");
  return withShimFile((name) => createMemoryFile(resolve, name), compileFile);
}

function compile(resolve: Pointer) {
  const packaged = packagedShim(() => import.meta.url);
  try {
    return packaged === undefined ? compileText(resolve) : compileFile(packaged);
  } catch (error) {
    throw uncompiled(error, packaged);
  }
}

function load(): Loaded {
  if (process.platform !== "linux")
    throw unavailable(
      "EOPNOTSUPP",
      "io_uring_setup",
      `io_uring is Linux's, and this is ${process.platform}`,
      remedies.notLinux.hint,
    );
  // Older versions pass numbers to compiled code differently, and crash.
  if (!Bun.semver.satisfies(Bun.version, `>=${oldest.bun}`))
    throw unavailable(
      "EOPNOTSUPP",
      "cc",
      `Bun >=${oldest.bun} is needed, and this is ${Bun.version}`,
      remedies.oldBun.hint,
    );
  const resolve = symbolResolver();
  const library = compile(resolve);
  const table = pointer(library.symbols.bun_uring_start(undefined, root, resolve));
  const unloaded = text(read.ptr(table, 0));
  const lack = unloaded === undefined ? undefined : lackOfDescriptors();
  if (lack !== undefined) throw new UringError(lack, "dlopen");
  if (unloaded !== undefined)
    throw unavailable("ENOENT", "dlopen", `liburing.so.2 could not be loaded (${unloaded})`, remedies.noLiburing.hint);
  const missing = text(read.ptr(table, 8));
  if (missing !== undefined)
    throw unavailable("ENOSYS", "dlsym", `${missing} was not found`, remedies.oldLiburing.hint);
  root.library = library;
  const names = namesAt(read.ptr(table, 16));
  const addresses = pointer(read.ptr(table, 24));
  const entries: Record<string, { args: readonly string[]; returns: string; ptr: number }> = {};
  for (const [name, signature] of Object.entries(signatures)) {
    const index = names.indexOf(name);
    assert(index >= 0, `${name} has a signature in native.ts, but is not in FUNCTIONS of shim.c`);
    entries[name] = { ...signature, ptr: read.ptr(addresses, 8 * index) };
  }
  for (const name of names)
    assert(name in entries, `${name} is in FUNCTIONS of shim.c, but has no signature in native.ts`);
  const { symbols } = linkSymbols(entries as Parameters<typeof linkSymbols>[0]);
  return { native: symbols as unknown as Native, table };
}

/**
 * The shim of this thread. The first call compiles it.
 * @throws UringError EOPNOTSUPP: not on Linux, or Bun is too old; ERR_FFI_CC_DISABLED: under --no-ffi-cc; ENOENT: no
 *   liburing.so.2; ENOSYS: liburing is too old
 */
export function native(): Native {
  loaded ??= load();
  return loaded.native;
}

/** The sizes, offsets and constants that the shim was compiled with, under their names in shim.c. For tests. */
export function abi(): Readonly<Record<string, number>> {
  native();
  assert(loaded !== undefined, "loaded");
  const names = namesAt(read.ptr(loaded.table, 32));
  const values = pointer(read.ptr(loaded.table, 40));
  return Object.fromEntries(names.map((name, index) => [name, Number(read.u64(values, 8 * index))]));
}
