import { console, process } from "./globals.ts";

/**
 * Prints a warning. Never throws, so that it cannot disturb the operation it is about: the console of a test suite may
 * throw.
 */
export function warn(...message: readonly unknown[]): void {
  try {
    console.warn(...message);
  } catch {
    // The program itself made its console throw, so it knows.
  }
}

/** Emits a process warning. Never throws. */
export function emitWarning(message: string, code: string, detail: string): void {
  try {
    process.emitWarning(message, { type: "BunUringWarning", code, detail });
  } catch {
    // As above: the program itself made this throw.
  }
}
