import { expect, test } from "bun:test";
import { Turns } from "../lib/pool/turns.ts";

const [first, second, third] = [0, 1, 2];

function turnsOfThree(): Turns {
  const words = new Int32Array(new SharedArrayBuffer(4 * 16));
  words[0] = 3;
  return new Turns(words, { participantLimit: 0, turn: 1, passes: 2, waits: 3, firstWaiting: 4, stride: 4 });
}

/** Notes as many releases as it takes until the longest waiter has a turn. */
function pass(turns: Turns): void {
  for (let releases = 0; releases < 129; releases++) turns.notePass();
}

test("any participant may take the last slot until another has waited through 128 releases; then the longest waiter has a turn", () => {
  const turns = turnsOfThree();
  turns.setWaiting(second, true);
  turns.setWaiting(third, true);
  for (let releases = 0; releases < 128; releases++) turns.notePass();
  expect([first, second, third].map((participant) => turns.mayTakeLast(participant))).toEqual([true, true, true]);
  turns.notePass();
  expect([first, second, third].map((participant) => turns.mayTakeLast(participant))).toEqual([false, true, false]);
  expect([turns.end(first), turns.end(third), turns.end(second), turns.end(second)]).toEqual([
    false,
    false,
    true,
    false,
  ]);
  expect(turns.mayTakeLast(first)).toBe(true);
  pass(turns); // the second waits again, and now the third has waited longer
  expect([first, second, third].map((participant) => turns.mayTakeLast(participant))).toEqual([false, false, true]);
});

test("a turn lapses when its participant stops waiting", () => {
  const turns = turnsOfThree();
  turns.setWaiting(second, true);
  pass(turns);
  expect(turns.mayTakeLast(first)).toBe(false);
  turns.setWaiting(second, false);
  expect([turns.mayTakeLast(first), turns.mayTakeLast(third)]).toEqual([true, true]);
  expect(turns.end(second)).toBe(false);
});

test("releases give nobody a turn while nobody waits", () => {
  const turns = turnsOfThree();
  pass(turns);
  expect([first, second, third].map((participant) => turns.mayTakeLast(participant))).toEqual([true, true, true]);
  expect([turns.othersWait(first), turns.isWaiting(first)]).toEqual([false, false]);
});
