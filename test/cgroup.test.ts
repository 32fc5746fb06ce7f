import { expect, test } from "bun:test";
import { cgroupWithout } from "../lib/pool/cgroup.ts";
import { needs } from "./support/capabilities.ts";
import { MemoryCgroup } from "./support/cgroups.ts";

const hint = "A pool's memory is pinned, so it has to fit into physical memory. Make the pool smaller.";

async function linesOf(args: readonly string[]): Promise<string[]> {
  using group = new MemoryCgroup(2 ** 28);
  const { exitCode, signal, stdout, stderr } = await group.run("cgroup", args);
  expect([exitCode, signal, stderr]).toEqual([0, null, ""]);
  return stdout.trim().split("\n");
}

const inCgroup = needs("control groups that limit memory");

inCgroup(
  "a pool above the cgroup's limit fails with ENOMEM, not SIGKILL; a smaller one can be made again and again",
  async () => {
    expect(await linesOf(["0", "64", "512", "64"])).toEqual([
      "64 MiB, sync: 64 slots",
      "64 MiB, async: 64 slots",
      `512 MiB, sync: ENOMEM mmap true ${hint}`,
      `512 MiB, async: ENOMEM mmap true ${hint}`,
      "64 MiB, sync: 64 slots",
      "64 MiB, async: 64 slots",
    ]);
  },
);

needs("control groups that limit memory", "test folders on a disk")(
  "the page cache does not count as memory in use: the kernel reclaims it for a pool",
  async () => {
    // Both pools fit next to each other: the kernel may free the first one's memory only after the second is made.
    expect(await linesOf(["220", "48"])).toEqual(["48 MiB, sync: 48 slots", "48 MiB, async: 48 slots"]);
  },
);

const GiB = 2 ** 30;

/** Reads made-up files of /proc and /sys, given by path. Any other file is empty. */
function machine(files: Readonly<Record<string, string>>) {
  return (path: string) => files[path] ?? "";
}

/** systemd's layout: a service with a limit, in a slice with a smaller limit. */
const service = {
  "/proc/self/cgroup": "0::/app.slice/app.service\n",
  "/proc/self/mountinfo": "31 24 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
  "/proc/meminfo": "MemTotal: 8000000 kB\nSwapFree:       0 kB\n",
  "/sys/fs/cgroup/app.slice/memory.max": `${GiB}\n`,
  "/sys/fs/cgroup/app.slice/memory.current": `${GiB / 2}\n`,
  "/sys/fs/cgroup/app.slice/memory.stat":
    "anon 1\ninactive_anon 268435456\nactive_anon 0\ninactive_file 0\nactive_file 0\nslab_reclaimable 0\n",
  "/sys/fs/cgroup/app.slice/memory.swap.max": "max\n",
  "/sys/fs/cgroup/app.slice/app.service/memory.max": `${2 * GiB}\n`,
  "/sys/fs/cgroup/app.slice/app.service/memory.current": `${GiB / 4}\n`,
};
const slice = "/sys/fs/cgroup/app.slice";

test("version 2: the cgroup or ancestor with too little memory left is reported, with how much that is", () => {
  expect(cgroupWithout(GiB / 2, machine(service))).toBeUndefined();
  expect(cgroupWithout(GiB / 2 + 1, machine(service))).toEqual({
    limitBytes: GiB,
    availableBytes: GiB / 2,
    path: slice,
  });
  const tight = { ...service, [`${slice}/memory.max`]: "max\n" };
  expect(cgroupWithout(1.75 * GiB, machine(tight))).toBeUndefined();
  expect(cgroupWithout(1.75 * GiB + 1, machine(tight))).toEqual({
    limitBytes: 2 * GiB,
    availableBytes: 1.75 * GiB,
    path: `${slice}/app.service`,
  });
});

test("version 2: caches count as available, and so does anonymous memory as far as swap can take it", () => {
  const stat = "inactive_anon 268435456\nactive_anon 0\ninactive_file 100\nactive_file 20\nslab_reclaimable 3\n";
  const cached = { ...service, [`${slice}/memory.stat`]: stat };
  expect(cgroupWithout(GiB, machine(cached))?.availableBytes).toBe(GiB / 2 + 123);
  const swapping = { ...cached, "/proc/meminfo": "SwapFree:     1000 kB\n" };
  expect(cgroupWithout(GiB, machine(swapping))?.availableBytes).toBe(GiB / 2 + 123 + 1_024_000);
  const forbidden = { ...swapping, [`${slice}/memory.swap.max`]: "0\n" };
  expect(cgroupWithout(GiB, machine(forbidden))?.availableBytes).toBe(GiB / 2 + 123);
});

test("version 1, in a container without its own cgroup namespace: the host's path is resolved below the mount", () => {
  const container = {
    "/proc/self/cgroup": "12:cpu,cpuacct:/docker/a b\n4:memory:/docker/a b/inner\n0::/\n",
    "/proc/self/mountinfo":
      "33 31 0:30 /docker/a\\040b /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n35 31 0:32 /docker/a\\040b /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": `${GiB}\n`,
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
    "/sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
    "/sys/fs/cgroup/memory/inner/memory.limit_in_bytes": "9223372036854771712\n",
  };
  expect(cgroupWithout(GiB, machine(container))).toEqual({
    limitBytes: GiB,
    availableBytes: GiB - 500,
    path: "/sys/fs/cgroup/memory",
  });
});

test("in a cgroup namespace the mounted cgroup counts, both at the namespace's root and outside of it", () => {
  for (const cgroup of ["/", "/../elsewhere"]) {
    const container = {
      "/proc/self/cgroup": `0::${cgroup}\n`,
      "/proc/self/mountinfo": "31 24 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n",
      "/sys/fs/cgroup/memory.max": `${GiB}\n`,
      "/sys/fs/cgroup/memory.current": "0\n",
    };
    expect(cgroupWithout(GiB + 1, machine(container))?.limitBytes).toBe(GiB);
  }
});

test("without cgroups, without /proc or without a limit, no cgroup is reported", () => {
  expect(cgroupWithout(2 ** 40, machine({}))).toBeUndefined();
  expect(cgroupWithout(2 ** 40, machine({ ...service, "/proc/self/mountinfo": "" }))).toBeUndefined();
  const free = { ...service, [`${slice}/memory.max`]: "max\n", [`${slice}/app.service/memory.max`]: "" };
  expect(cgroupWithout(2 ** 40, machine(free))).toBeUndefined();
});
