/** Collects garbage, and lets what follows from that run, until something has come of it, or `turns` times. */
export async function collect(until: () => boolean, turns = 500): Promise<void> {
  for (let turn = 0; turn < turns && !until(); turn++) {
    Bun.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
