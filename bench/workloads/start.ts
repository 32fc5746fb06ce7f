/** Startup times of programs and Workers. */
import { type Contender, program, timed } from "../contender.ts";
import type { Workplace } from "../files.ts";
import { bun } from "../machine.ts";
import type { Workload } from "../measure.ts";

/** A command that runs once per round. */
function run(name: string, find: () => Promise<readonly string[]>): Contender {
  return {
    name,
    operations: 1,
    async start() {
      const command = await find();
      return { round: () => timed(command, 1), async [Symbol.asyncDispose]() {} };
    },
  };
}

const repositoryFile = (name: string) => new URL(`../programs/${name}.ts`, import.meta.url).pathname;

export function startWorkloads(place: Workplace): Workload[] {
  return [
    {
      id: "start",
      title: "A program, from start to exit",
      quick: true,
      effort: { leastRounds: 20, mostRounds: 20, roundsAProcess: 20 },
      contenders: [
        run("empty", async () => [bun, repositoryFile("start/empty")]),
        run("cc() of an empty function", async () => [bun, repositoryFile("start/empty-shim")]),
        run("import and first ring", async () => [bun, await place.withPackage("start/first-ring")]),
        run("import, pool, ring, first read", async () => [bun, await place.withPackage("start/first-read")]),
        run("import and first ring, the repository's files", async () => [bun, repositoryFile("start/first-ring")]),
        run("empty, compiled with bytecode", async () => [await place.compiledWithPackage("start/empty")]),
        run("import and first ring, compiled with bytecode", async () => [
          await place.compiledWithPackage("start/first-ring"),
        ]),
      ],
    },
    {
      id: "worker-start",
      title: "A Worker, from creation to first read, pool of 512 MiB",
      effort: { leastRounds: 20, mostRounds: 20, roundsAProcess: 20 },
      contenders: (["empty", "clone", "register"] as const).map((way) =>
        program(way, "worker-start", [way, 512, 2 ** 20], { operations: 3 }),
      ),
    },
  ];
}
