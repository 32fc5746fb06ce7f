/** Several writers append records durably to one file: an operation is a record on stable storage. */
import { open } from "node:fs/promises";
import { BufferPool, Ring } from "bun-uring";
import { serveRounds } from "./rounds.ts";

const [way = "", folder = "", writers] = process.argv.slice(2);

const record = Buffer.alloc(200, "r");
const path = `${folder}/records-${process.pid}`;

/** Returns the function that appends a record and resolves when it is durable. */
async function appendOf(): Promise<() => Promise<unknown>> {
  if (way === "FileHandle") {
    const file = await open(path, "a");
    return async () => {
      await file.write(record);
      await file.datasync();
    };
  }
  const ring = new Ring({ pool: new BufferPool({ count: 16, size: 2 ** 16 }) });
  const file = await ring.open(path, "a");
  if (way === "writeDurably") return () => file.writeDurably(record);
  if (way !== "appender") throw new Error(`no way ${way}`);
  const appender = await file.appender();
  return () => appender.append(record);
}

const append = await appendOf();
let records = 0;

await serveRounds(async (operations) => {
  let started = 0;
  const write = async () => {
    for (; started < operations; ) {
      started++;
      await append();
    }
  };
  await Promise.all(Array.from({ length: Number(writers) }, write));
  records += operations;
  const { size } = Bun.file(path);
  if (size !== records * record.length) throw new Error(`${way}: ${size} bytes of ${records} records`);
});
