/**
 * A user's program: it reads a file in the main thread and in two Workers, through one pool, and prints what each has
 * read. Argument: the file.
 */
import { BufferPool, Ring } from "bun-uring";

const [path = import.meta.path] = process.argv.slice(2);
using pool = new BufferPool({ count: 4, size: 4096 });
await using ring = new Ring({ pool });
await using file = await ring.open(path);
using buffer = await pool.acquire();
const bytesRead = await ring.readFixed(file, buffer, { position: 0 });
const read = [Buffer.from(buffer.bytes.subarray(0, bytesRead)).toString()];
for (let count = 0; count < 2; count++) {
  const worker = new Worker(new URL("./app-worker.ts", import.meta.url));
  read.push(
    await new Promise<string>((resolve, reject) => {
      worker.onmessage = ({ data }: MessageEvent<string>) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage({ handle: pool.share(), path });
    }),
  );
  worker.terminate();
}
console.log(JSON.stringify(read));
