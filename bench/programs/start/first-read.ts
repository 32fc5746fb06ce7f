import { BufferPool, Ring } from "bun-uring";

using pool = new BufferPool({ count: 1, size: 4096 });
await using ring = new Ring({ pool });
await using file = await ring.open(import.meta.path);
using buffer = await pool.acquire();
await ring.readFixed(file, buffer, { position: 0 });
