import { assert } from "../base/assert.ts";
import type { EngineRequest } from "./engine.ts";

/**
 * The layout of user_data, 53 bits: kind (2), generation (27), index of the request (24). c/teardown.c reads the kind
 * and the index.
 */
export const indexSpan = 2 ** 24;
const generationSpan = 2 ** 27;
export const kindUnit = indexSpan * generationSpan;

/** Returns the kind, given the upper 32 bits of user_data. */
export function kindOf(userDataHigh: number): number {
  return userDataHigh >>> 19;
}

/**
 * The requests that a ring has, by index. Indexes are reused, so user_data contains a generation as well: a
 * cancellation that comes late must not find a newer request with the same index. A generation comes again only after
 * 2^27 requests.
 */
export class InFlight<Request extends EngineRequest> {
  readonly #requests: (Request | undefined)[] = [];
  readonly #unused: number[] = [];
  #generation = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(request: Request): void {
    const index = this.#unused.pop() ?? this.#requests.length;
    assert(index < indexSpan, "requests have an index of 24 bits");
    this.#generation = (this.#generation + 1) % generationSpan;
    request.index = index;
    request.generation = this.#generation;
    this.#requests[index] = request;
    this.#size++;
  }

  remove(request: Request): void {
    this.#requests[request.index] = undefined;
    this.#unused.push(request.index);
    this.#size--;
  }

  /** Returns the request that a completion belongs to. */
  of(userDataLow: number, userDataHigh: number): Request {
    const request = this.#requests[userDataLow & (indexSpan - 1)];
    const generation = ((userDataLow >>> 24) | (userDataHigh << 8)) & (generationSpan - 1);
    assert(request?.generation === generation, "a completion of a request in flight");
    return request;
  }

  *[Symbol.iterator](): Generator<Request> {
    for (const request of this.#requests) if (request !== undefined) yield request;
  }
}

/** The request's user_data: kind, generation and index in one number. */
export function userDataOf({ kind, generation, index }: EngineRequest): number {
  return kind * kindUnit + generation * indexSpan + index;
}
