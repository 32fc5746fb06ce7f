/**
 * Imports the library, then uses each class, and prints the outcomes. Arguments: what to break before the first use
 * ("platform"), and "probe" to probe as well.
 */
const [breakage, alsoProbe] = process.argv.slice(2);

const bun = await import("bun-uring");
console.log("imported");

if (breakage === "platform") Object.defineProperty(process, "platform", { value: "darwin" });

const uses = {
  RawRing: () => new bun.RawRing(),
  Ring: () => new bun.Ring(),
  BufferPool: () => new bun.BufferPool({ count: 1, size: 4096 }),
  "BufferPool.create": () => bun.BufferPool.create({ count: 1, size: 4096 }),
};
for (const [name, use] of Object.entries(uses)) {
  try {
    await use();
    console.log(JSON.stringify({ name, works: true }));
  } catch (error) {
    if (!(error instanceof bun.UringError)) throw error;
    const { code, errno, syscall, hint, message } = error;
    console.log(JSON.stringify({ name, code, errno, syscall, hint, message }));
  }
}
if (alsoProbe === "probe") console.log(JSON.stringify(bun.probe()));
