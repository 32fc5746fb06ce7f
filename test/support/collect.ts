/**
 * Collects garbage and lets finalizers and their consequences run, until `until` returns true, but at most `turns`
 * times.
 */
export async function collect(until: () => boolean, turns = 500): Promise<void> {
  for (let turn = 0; turn < turns && !until(); turn++) {
    Bun.gc(true);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}
