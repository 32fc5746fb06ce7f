/**
 * Generates the module for runtimes other than Bun: it exports every public name, and using one throws an error that
 * says why.
 */

const head = `// bun-uring is for Bun. In other runtimes importing it works, and using it throws.
const runtime = globalThis.process?.versions?.node ? "Node.js " + process.versions.node : (globalThis.navigator?.userAgent ?? "another runtime");

export class UringError extends Error {
  name = "UringError";
  constructor(code, syscall, { message = "failed", hint } = {}) {
    super(code + ": " + message + ", " + syscall + (hint ? ". " + hint : ""));
    Object.assign(this, { code, errno: code === "EOPNOTSUPP" ? -95 : 0, syscall, hint });
  }
}

function refuse(name) {
  throw new UringError("EOPNOTSUPP", "bun:ffi", {
    message: name + " of bun-uring needs Bun, and this is " + runtime,
    hint: "Run the program with Bun on Linux: https://bun.sh",
  });
}
`;

function isClass(value: unknown): value is object {
  return typeof value === "function" && /^class\b/.test(Function.prototype.toString.call(value));
}

/** Methods that return promises stay async, so that they reject instead of throwing. */
function signature(value: unknown): string {
  return Object.prototype.toString.call(value) === "[object AsyncFunction]" ? "async " : "";
}

function exported(name: string, value: unknown): string {
  if (typeof value === "number" || typeof value === "bigint")
    return `${name} = ${value}${typeof value === "bigint" ? "n" : ""}`;
  if (typeof value === "object") return `${name} = Object.freeze(${JSON.stringify(value)})`;
  if (!isClass(value)) return `${name} = ${signature(value)}() => refuse("${name}")`;
  const statics = Object.entries(Object.getOwnPropertyDescriptors(value)).filter(
    ([, { value: method }]) => typeof method === "function",
  );
  const methods = statics.map(
    ([key, { value: method }]) => `static ${signature(method)}${key}() { refuse("${name}.${key}"); }`,
  );
  return `${name} = class ${name} { ${[`constructor() { refuse("${name}"); }`, ...methods].join(" ")} }`;
}

/** Returns the stub's source. @param library - the module that it stands for */
export function stub(library: Readonly<Record<string, unknown>>): string {
  const names = Object.entries(library).filter(([name]) => name !== "UringError");
  return `${head}\nexport const\n${names.map(([name, value]) => exported(name, value)).join(",\n")};\n`;
}
