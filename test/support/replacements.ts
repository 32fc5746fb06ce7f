/** What programs put in the place of globals, and how they take it back. Loads nothing of the library. */
import { jest } from "bun:test";
import { GlobalRegistrator } from "@happy-dom/global-registrator";
import sinon from "sinon";

interface Replacement {
  replace(): void;
  restore(): void | Promise<void>;
}

/** Of the globals, those that programs replace. */
export const globalNames: readonly string[] = [
  ...["AbortController", "AbortSignal", "Blob", "Buffer", "Bun", "DOMException", "Date", "Event", "EventTarget", "FinalizationRegistry", "MessageChannel"],
  ...["MessagePort", "Promise", "ReadableStream", "Request", "Response", "TextDecoder", "TextEncoder", "TransformStream", "URL", "WeakRef", "Worker"],
  ...["WritableStream", "clearImmediate", "clearInterval", "clearTimeout", "console", "crypto", "fetch", "navigator", "performance", "process"],
  ...["queueMicrotask", "setImmediate", "setInterval", "setTimeout", "structuredClone"],
];

/** What the library takes when it is loaded: without these it cannot be. */
const needed = ["Buffer", "Bun", "DOMException", "FinalizationRegistry", "TextEncoder", "WeakRef", "console", "process"];

/** Has each of the globals be what `make` says. */
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
  "happy-dom": { replace: () => GlobalRegistrator.register({ url: "http://localhost/" }), restore: () => GlobalRegistrator.unregister() },
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
      throw new Error(`somebody has asked for the global ${name}`);
    },
  })),
  "nothing for most": put(
    globalNames.filter((name) => !needed.includes(name)),
    () => ({ value: undefined }),
  ),
};
