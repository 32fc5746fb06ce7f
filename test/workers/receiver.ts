/** Receives slots, checks their content, writes its own, and hands them back. */
import { BufferPool, type PoolHandle, type SlotToken } from "bun-uring";

declare const self: Worker;

let pool: BufferPool | undefined;

self.addEventListener(
  "message",
  ({ data }: MessageEvent<{ attach: PoolHandle } | { token: SlotToken; expected: number; answer: number }>) => {
    if ("attach" in data) {
      pool = BufferPool.attach(data.attach);
      return;
    }
    const buffer = pool?.receive(data.token);
    if (buffer === undefined) throw new Error("no pool");
    const right = buffer.bytes.every((byte) => byte === data.expected);
    buffer.bytes.fill(data.answer);
    self.postMessage({ right, token: buffer.handOver() });
  },
);
