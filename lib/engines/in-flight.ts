import { assert } from "../base/assert.ts";
import type { EngineRequest } from "./engine.ts";

/** user_data, 53 bits: kind, generation, index of the request. The teardown in C reads the kind and the index. */
export const indexSpan = 2 ** 24;
const generationSpan = 2 ** 27;
export const kindUnit = indexSpan * generationSpan;

/** The kind in user_data's upper 32 bits. */
export function kindOf(userDataHigh: number): number {
  return userDataHigh >>> 19;
}

/** The requests that a ring has, by index: what a completion's user_data names is found here, and a late one never meets a newer request. */
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

  /** The request that a completion is of. */
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

/** Kind, generation and index, in one number. */
export function userDataOf({ kind, generation, index }: EngineRequest): number {
  return kind * kindUnit + generation * indexSpan + index;
}
