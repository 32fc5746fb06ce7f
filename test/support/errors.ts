/** Catches what a call throws, so that a test can check it. */
import { expect } from "bun:test";
import { UringError } from "bun-uring";

/** The UringError that `call` throws or rejects with; anything else fails the test. */
export async function uringError(call: () => unknown): Promise<UringError> {
  const error = await thrown(call);
  expect(error).toBeInstanceOf(UringError);
  if (!(error instanceof UringError)) throw error;
  return error;
}

/** The Error that `call` throws or rejects with; anything else fails the test. */
export async function thrown(call: () => unknown): Promise<Error & { code?: unknown }> {
  try {
    await call();
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`not an Error: ${error}`);
  }
  throw new Error("it did not throw");
}
