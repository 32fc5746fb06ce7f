import { expect, spyOn, test } from "bun:test";
import { blockCount, Slots, slotsPerBlock } from "../lib/pool/slots.ts";
import { fc } from "./support/properties.ts";

function memory(count: number): { hints: Int32Array; owners: Int32Array } {
  return {
    hints: new Int32Array(new SharedArrayBuffer(4 * blockCount(count))).fill(1),
    owners: new Int32Array(new SharedArrayBuffer(4 * count)),
  };
}

/** What the C teardown does for a thread that has ended. */
function tearDown({ hints, owners }: ReturnType<typeof memory>, owner: number): void {
  for (const [index, value] of owners.entries()) if (value === owner) owners[index] = 0;
  hints.fill(1);
}

test("in any order of any threads' steps, a slot has one owner at a time, every free slot is found, and a ticket is valid once", () => {
  const step = fc.record({
    action: fc.constantFrom("acquire", "release", "give", "take", "end"),
    thread: fc.integer({ min: 1, max: 3 }),
    pick: fc.nat(),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 * slotsPerBlock + 5 }),
      fc.array(step, { maxLength: 300, size: "max" }),
      (size, steps) => {
        // Mostly a few slots, so that they run out, and sometimes several blocks.
        const count = size % 7 === 0 ? size : (size % 6) + 1;
        const shared = memory(count);
        const threads = [1, 2, 3].map(() => new Slots(shared.hints, shared.owners));
        const model = new Map<number, number>();
        const tickets: { index: number; ticket: number; used: boolean }[] = [];
        for (const { action, thread, pick } of steps) {
          const slots = threads[thread - 1] ?? new Slots(shared.hints, shared.owners);
          const own = [...model].filter(([, owner]) => owner === thread).map(([index]) => index);
          const chosen = own[pick % Math.max(1, own.length)];
          if (action === "acquire") {
            const index = slots.tryAcquire(thread);
            expect(index === -1).toBe(model.size === count);
            if (index === -1) continue;
            expect(model.has(index)).toBe(false);
            model.set(index, thread);
          } else if (action === "release" && chosen !== undefined) {
            slots.release(chosen, thread);
            model.delete(chosen);
          } else if (action === "give" && chosen !== undefined) {
            const ticket = tickets.length + 1;
            slots.giveAway(chosen, thread, ticket);
            model.set(chosen, -ticket);
            tickets.push({ index: chosen, ticket, used: false });
          } else if (action === "take" && tickets.length > 0) {
            const token = tickets[pick % tickets.length];
            if (token === undefined) continue;
            expect(slots.takeOver(token.index, thread, token.ticket)).toBe(!token.used);
            if (!token.used) model.set(token.index, thread);
            token.used = true;
          } else if (action === "end") {
            tearDown(shared, thread);
            for (const index of own) model.delete(index);
          }
          const { free, own: held } = slots.census(thread);
          expect(free).toBe(count - model.size);
          expect(held).toBe([...model.values()].filter((owner) => owner === thread).length);
        }
      },
    ),
  );
});

test("releasing another owner's slot fails an assertion and does not free the slot", () => {
  const { hints, owners } = memory(4);
  const slots = new Slots(hints, owners);
  const index = slots.tryAcquire(1);
  expect(() => slots.release(index, 2)).toThrow("broken invariant");
  expect(owners[index]).toBe(1);
});

test("a million slots are all granted, each exactly once", () => {
  const count = 1_000_000;
  const { hints, owners } = memory(count);
  const slots = new Slots(hints, owners);
  const seen = new Uint8Array(count);
  for (let granted = 0; granted < count; granted++) {
    const index = slots.tryAcquire(7);
    seen[index] = (seen[index] ?? 0) + 1;
  }
  expect(slots.tryAcquire(7)).toBe(-1);
  expect(seen.every((times) => times === 1)).toBe(true);
  slots.release(654_321, 7);
  expect(slots.tryAcquire(7)).toBe(654_321);
});

test("a slot released while another thread marks its block as full is still found", () => {
  const { hints, owners } = memory(3);
  const one = new Slots(hints, owners);
  const two = new Slots(hints, owners);
  const held = [one.tryAcquire(1), one.tryAcquire(1), one.tryAcquire(1)];
  // The other thread releases a slot between the scan that finds none and the store that marks the block as full.
  const releaseFirst = (words: Int32Array, index: number, value: number) => {
    one.release(held[1] ?? -1, 1);
    store.mockRestore();
    return Atomics.store(words, index, value);
  };
  const store = spyOn(Atomics, "store").mockImplementationOnce(releaseFirst as typeof Atomics.store);
  expect(two.tryAcquire(2)).toBe(held[1] ?? -1);
  one.release(held[0] ?? -1, 1);
  expect(two.tryAcquire(2)).toBe(held[0] ?? -1);
});

test("after a hint was wrong for a moment, threads that looked meanwhile are told to look again", () => {
  const { hints, owners } = memory(2);
  const one = new Slots(hints, owners);
  const three = new Slots(hints, owners);
  let told = 0;
  const two = new Slots(hints, owners, () => told++);
  const held = [one.tryAcquire(1), one.tryAcquire(1)];
  const original = Atomics.store;
  let seen: number | undefined;
  const interleave = (words: Int32Array, index: number, value: number) => {
    // Both slots are released before the hint is cleared. A third thread looks before the hint is restored.
    if (words === hints && value === 0) for (const slot of held.splice(0)) one.release(slot, 1);
    if (words === hints && value === 1 && seen === undefined) {
      seen = -1;
      seen = three.tryAcquire(3);
    }
    return original(words, index, value);
  };
  const store = spyOn(Atomics, "store").mockImplementation(interleave as typeof Atomics.store);
  expect(two.tryAcquire(2)).not.toBe(-1);
  store.mockRestore();
  expect([seen, told]).toEqual([-1, 1]);
  expect(three.tryAcquire(3)).not.toBe(-1);
});

test("hasFree(2) is true if two slots are free, in whichever blocks", () => {
  const count = 2 * slotsPerBlock + 1;
  const { hints, owners } = memory(count);
  const slots = new Slots(hints, owners);
  const found: boolean[] = [];
  for (let acquired = 0; acquired < count; acquired++) {
    slots.tryAcquire(1);
    if (acquired >= count - 3) found.push(slots.hasFree(2));
  }
  expect(found).toEqual([true, false, false]);
  slots.release(0, 1);
  expect(slots.hasFree(2)).toBe(false);
  slots.release(count - 1, 1);
  expect(slots.hasFree(2)).toBe(true);
});
