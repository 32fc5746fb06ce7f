import { expect, test } from "bun:test";
import { readFileSync, writeSync } from "node:fs";
import { BufferPool, RawRing, Ring } from "bun-uring";
import { needs } from "./support/capabilities.ts";
import { WrongClock } from "./support/clock.ts";
import { numbered } from "./support/content.ts";
import { times } from "./support/effort.ts";
import { uringError } from "./support/errors.ts";
import { Folder } from "./support/files.ts";
import { pipe } from "./support/pipes.ts";
import { type Running, start } from "./support/programs.ts";
import { leavingNothing } from "./support/resources.ts";
import { kinds, shared } from "./support/rings.ts";

const partsOfRound = 3 * 64;

function everything(rounds: number): string {
  return JSON.stringify({
    right: rounds * partsOfRound,
    wrong: 0,
    timeouts: 2 * rounds,
    aborts: 2 * rounds,
    inFlight: 0,
    available: 32,
  });
}

/** Sends a batch of signals in each turn of the event loop, until `ended` settles or the program ends. */
async function flood(program: Running, ended: Promise<unknown>): Promise<void> {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  ended.then(over, over);
  while (!isOver && program.running) {
    for (let signal = 0; signal < 20; signal++) program.kill("SIGUSR1");
    await new Promise(setImmediate);
  }
  await ended;
}

test("under a flood of signals all data is read correctly, and no timeout or abort is lost", async () => {
  using folder = new Folder();
  const rounds = 2 + times(10);
  const program = start("busy", [folder.write("file", numbered(2 ** 20)), String(rounds)]);
  await program.until("round 1\n");
  await flood(program, program.until(`round ${rounds}\n`));
  const { exitCode, stdout, stderr } = await program.outcome();
  expect({ exitCode, stderr, told: stdout.split("\n").at(-2) }).toEqual({
    exitCode: 0,
    stderr: "",
    told: everything(rounds),
  });
});

for (const kind of Object.keys(kinds))
  test(`signals interrupt a thread that waits with a ${kind} RawRing, and it misses no completion`, async () => {
    const program = start("blocked-reader", [kind]);
    await program.until("waiting\n");
    await flood(program, program.until("interrupted\n"));
    const text = Buffer.from(numbered(times(40) * 10_000)).toString("hex");
    const ended = program.outcome();
    const flooding = flood(program, ended);
    for (let at = 0; at < text.length; at += 20_000) {
      program.tell(text.slice(at, at + 20_000));
      await new Promise(setImmediate);
    }
    program.end();
    const { exitCode, stdout, stderr } = await ended;
    await flooding;
    expect({ exitCode, stderr, stdout }).toEqual({
      exitCode: 0,
      stderr: "",
      stdout: `waiting\ninterrupted\n${new Bun.CryptoHasher("sha256").update(text).digest("hex")}\n`,
    });
  });

test("a process that is stopped and continued reads correctly, and loses no timeout or abort", async () => {
  using folder = new Folder();
  const stops = times(8);
  const rounds = stops + 2;
  // Enough rounds that it does not end before the last stop.
  const program = start("busy", [folder.write("file", numbered(2 ** 20)), String(rounds)]);
  const isStopped = () => readFileSync(`/proc/${program.pid}/stat`, "utf8").includes(") T ");
  for (let stop = 1; stop <= stops; stop++) {
    await program.until(`round ${stop}\n`);
    program.kill("SIGSTOP");
    while (!isStopped()) await Bun.sleep(1);
    await Bun.sleep(10 * (stop % 4)); // in some rounds long enough that its timeouts expire
    program.kill("SIGCONT");
  }
  program.kill("SIGUSR1");
  const { exitCode, stdout, stderr } = await program.outcome();
  expect({ exitCode, stderr, told: stdout.split("\n").at(-2) }).toEqual({
    exitCode: 0,
    stderr: "",
    told: everything(rounds),
  });
});

needs("a machine whose clock may be set")(
  "setting the clock hours forwards or backwards does not affect timeouts, polls, aborts, waits and closes",
  () =>
    leavingNothing(async () => {
      using clock = new WrongClock();
      using folder = new Folder();
      using ends = pipe();
      const content = numbered(65536);
      const path = folder.write("file", content);
      for (const hours of [0, 10, -10, 100, -1, 1, 0]) {
        using pool = new BufferPool({ count: 1, size: 4096 });
        const ring = new Ring({ pool });
        const raw = new RawRing({ entries: 4 });
        const memory = shared(4096);
        raw.registerBuffers([memory]);
        raw.prepReadFixed(ends.readFd, memory, -1, 0, 1);
        raw.submit();
        const long = ring.timeout(1_800_000);
        const short = ring.timeout(100);
        const polled = ring.poll(ends.readFd, 1);
        const aborted = ring
          .poll(ends.readFd, 1, { signal: AbortSignal.timeout(100) })
          .catch(({ name }: Error) => name);
        const buffer = await pool.acquire();
        const acquired = pool.acquire({ signal: AbortSignal.timeout(100) }).catch(({ name }: Error) => name);
        await new Promise(setImmediate);
        clock.wrongHours = hours;
        await ring.timeout(20);
        await short;
        expect([await aborted, await acquired]).toEqual(["TimeoutError", "TimeoutError"]);
        await ring.timeout(20);
        expect([Bun.peek.status(long), Bun.peek.status(polled)]).toEqual(["pending", "pending"]);
        raw.close();
        writeSync(ends.writeFd, "x");
        expect(await polled).toBe(1);
        expect(await ring.readFixed(ends.readFd, buffer, { length: 1 })).toBe(1);
        const file = await ring.open(path);
        expect(Buffer.compare(await file.readFile(), content)).toBe(0);
        buffer.release();
        const cancelled = uringError(() => long);
        const closing = ring.close();
        clock.wrongHours = -hours;
        await closing;
        expect((await cancelled).code).toBe("ECANCELED");
      }
    }),
);
