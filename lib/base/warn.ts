import { console, process } from "./globals.ts";

/** Tells the program something without breaking what it is about: a test suite's console may throw. */
export function warn(...message: readonly unknown[]): void {
  try {
    console.warn(...message);
  } catch {
    // Whoever made it throw has seen it.
  }
}

/** The same as a process warning. */
export function emitWarning(message: string, options: { readonly type: string; readonly code: string; readonly detail: string }): void {
  try {
    process.emitWarning(message, options);
  } catch {
    // As above.
  }
}
