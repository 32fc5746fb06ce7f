/** The pool of a contender. Workers of one process share the pool of their parent. */
import { isMainThread, workerData } from "node:worker_threads";
import { BufferPool } from "bun-uring";

export const pool = isMainThread ? new BufferPool({ count: 64, size: 2 ** 16 }) : BufferPool.attach(workerData);
