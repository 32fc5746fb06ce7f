/** Ways in which programs replace globals and restore them. Imports nothing of the library. */
import { jest } from "bun:test";
import { GlobalRegistrator } from "@happy-dom/global-registrator";
import sinon from "sinon";

interface Replacement {
  replace(): void;
  restore(): void | Promise<void>;
}

/** The globals that programs replace. */
export const globalNames: readonly string[] = [
  ...[
    "AbortController",
    "AbortSignal",
    "Blob",
    "Buffer",
    "Bun",
    "DOMException",
    "Date",
    "Event",
    "EventTarget",
    "FinalizationRegistry",
    "MessageChannel",
  ],
  ...[
    "MessagePort",
    "Promise",
    "ReadableStream",
    "Request",
    "Response",
    "TextDecoder",
    "TextEncoder",
    "TransformStream",
    "URL",
    "WeakRef",
    "Worker",
  ],
  ...[
    "WritableStream",
    "clearImmediate",
    "clearInterval",
    "clearTimeout",
    "console",
    "crypto",
    "fetch",
    "navigator",
    "performance",
    "process",
  ],
  ...["queueMicrotask", "setImmediate", "setInterval", "setTimeout", "structuredClone"],
];

/** Globals that the library reads when it is loaded, and cannot do without. */
const needed = [
  "Buffer",
  "Bun",
  "DOMException",
  "FinalizationRegistry",
  "TextEncoder",
  "WeakRef",
  "console",
  "process",
];

/** Replaces each of the globals by the property that `make` returns. */
function put(names: readonly string[], make: (name: string) => PropertyDescriptor): Replacement {
  const kept = new Map<string, PropertyDescriptor | undefined>();
  return {
    replace() {
      for (const name of names) {
        const descriptor = Object.getOwnPropertyDescriptor(globalThis, name);
        if (descriptor?.configurable === false) continue;
        kept.set(name, descriptor);
        Object.defineProperty(globalThis, name, { ...make(name), configurable: true });
      }
    },
    restore() {
      for (const [name, descriptor] of kept) {
        Reflect.deleteProperty(globalThis, name);
        if (descriptor !== undefined) Object.defineProperty(globalThis, name, descriptor);
      }
    },
  };
}

let clock: sinon.SinonFakeTimers | undefined;

export const replacements: Readonly<Record<string, Replacement>> = {
  sinon: {
    replace: () => {
      clock = sinon.useFakeTimers();
    },
    restore: () => clock?.restore(),
  },
  "happy-dom": {
    replace: () => GlobalRegistrator.register({ url: "http://localhost/" }),
    restore: () => GlobalRegistrator.unregister(),
  },
  "Bun's fake timers": {
    replace: () => {
      jest.useFakeTimers();
    },
    restore: () => {
      jest.useRealTimers();
    },
  },
  "errors for all": put(globalNames, (name) => ({
    get: () => {
      throw new Error(`the global ${name} was read`);
    },
  })),
  "nothing for most": put(
    globalNames.filter((name) => !needed.includes(name)),
    () => ({ value: undefined }),
  ),
};
