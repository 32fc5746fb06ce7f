import { expect, test } from "bun:test";
import { readFileSync, statSync, symlinkSync } from "node:fs";
import { release } from "node:os";
import { probe } from "bun-uring";
import { diagnose, type Finding, works } from "../lib/doctor/doctor.ts";
import { examine, type Surroundings } from "../lib/doctor/surroundings.ts";
import type { Probe } from "../lib/uring/probe.ts";
import { needs } from "./support/capabilities.ts";
import { examined, failed, named, program } from "./support/doctor.ts";
import { Folder } from "./support/files.ts";
import { execute, start } from "./support/programs.ts";
import { leavingNothing } from "./support/resources.ts";

const under = new URL("./programs/under.ts", import.meta.url).pathname;
const holding = new URL("./programs/holder.ts", import.meta.url).pathname;
const refused = new URL("./programs/refused.ts", import.meta.url).pathname;
const root = new URL("../", import.meta.url);

function withMemlock(bytes: number): string[] {
  return [process.execPath, under, "--memlock-bytes", String(bytes), "--"];
}

function cli(...args: string[]) {
  return execute([process.execPath, program, ...args]);
}

// ---- the program, if io_uring works ----

test("if io_uring works, the doctor reports what probe() and /proc report, and exits with status 0", async () => {
  const report = await examined();
  const { liburing, opcodes, clone } = probe();
  expect(report.works).toBe(true);
  expect(named(report, "kernel").found).toBe(release());
  expect(named(report, "Bun").found).toBe(Bun.version);
  expect(named(report, "liburing").found).toContain(liburing?.path ?? "no path");
  expect(named(report, "io_uring").found).toStartWith(`${opcodes.length} operations`);
  expect(named(report, "fixed read").found).toMatch(
    new RegExp(`^\\d{4} bytes in a ${clone.whole ? "cloned" : "registered"} buffer`),
  );
  expect(named(report, "buffer clones").state).toBe(clone.replaceKeepsTail ? "ok" : "limited");
  for (const name of ["READV_FIXED", "FTRUNCATE"])
    expect(named(report, name).state).toBe(opcodes.includes(name) ? "ok" : "limited");
  const limit = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  expect(named(report, "open files").found).toStartWith(`limit ${limit}, `);
});

test("examine() leaves no ring and no pinned page behind", () =>
  leavingNothing(async () => {
    expect((await examine()).surroundings.trial).toMatchObject({ error: undefined, readBytes: expect.any(Number) });
  }));

needs("a processor that is not emulated")(
  "the README's sample of the doctor's output lists the same findings",
  async () => {
    const readme = readFileSync(new URL("README.md", root), "utf8");
    const sample = /^\$ bunx bun-uring doctor\n(.*?)^```$/ms.exec(readme)?.[1] ?? "";
    const names = Array.from(sample.matchAll(/^[✓!✗] (\S+(?: \S+)*) {2,}/gm), ([, name]) => name);
    expect(names).toEqual((await examined()).findings.map(({ name }) => name));
  },
);

test("package.json's bin is this program, which is executable, starts with Bun, and is published", () => {
  const { bin, files } = JSON.parse(readFileSync(new URL("package.json", root), "utf8"));
  expect(new URL(bin["bun-uring"], root).pathname).toBe(program);
  expect(statSync(program).mode & 0o111).toBe(0o111);
  expect(readFileSync(program, "utf8")).toStartWith("#!/usr/bin/env bun\n");
  expect(files).toContain("bin");
});

needs("a processor that is not emulated")(
  "without a command, or with --help, the program prints its usage and exits with status 0",
  async () => {
    for (const args of [[], ["--help"], ["-h"], ["doctor", "--help"]]) {
      const { exitCode, stdout, stderr } = await cli(...args);
      expect([exitCode, stderr]).toEqual([0, ""]);
      for (const part of ["Usage: bun-uring doctor", "--json", "Exit status"]) expect(stdout).toContain(part);
    }
  },
);

needs("a processor that is not emulated")(
  "a missing or unknown command, argument or option is reported on stderr with the usage, and the exit status is 2",
  async () => {
    for (const args of [
      ["nurse"],
      ["doctor", "nurse"],
      ["doctor", "--nurse"],
      ["--nurse"],
      ["--json"],
      ["doctor", "--json=nurse"],
    ]) {
      const { exitCode, stdout, stderr } = await cli(...args);
      expect([args, exitCode, stdout]).toEqual([args, 2, ""]);
      expect(stderr).toContain("Usage: bun-uring doctor");
      expect(stderr).toMatch(/nurse|a command is needed|--json/);
    }
  },
);

/** Runs the doctor on a terminal and returns what it prints. */
async function onTerminal(env: Readonly<Record<string, string>>): Promise<string> {
  let printed = "";
  const decoder = new TextDecoder();
  const append = (_terminal: unknown, bytes: Uint8Array) => {
    printed += decoder.decode(bytes, { stream: true });
  };
  const child = Bun.spawn([process.execPath, program, "doctor"], {
    env: { ...process.env, ...env },
    terminal: { cols: 200, rows: 50, data: append },
  });
  expect(await child.exited).toBe(0);
  child.terminal?.close();
  return printed;
}

needs("a processor that is not emulated")(
  "output is coloured on terminals only, and not if NO_COLOR is set to a value",
  async () => {
    const sequence = "\u001b[";
    expect(await onTerminal({ NO_COLOR: "" })).toContain(`${sequence}32m✓`);
    const plain = await onTerminal({ NO_COLOR: "1" });
    expect(plain).toContain("✓");
    expect(plain).not.toContain(sequence);
    const { stdout } = await execute([process.execPath, program, "doctor"], { env: { NO_COLOR: "" } });
    expect(stdout).not.toContain(sequence);
  },
);

// ---- the program, if something keeps io_uring from working; test/refused/ has the other causes ----

for (const [code, profile] of [
  ["EPERM", "the default profiles of Docker and Kubernetes"],
  ["ENOSYS", "Podman's default profile"],
] as const) {
  needs("a processor that is not emulated")(
    `if seccomp refuses with ${code}, the doctor reports whose profile it is and how to allow io_uring, and exits with 1`,
    async () => {
      const report = await examined({ under: [process.execPath, under, "--refuse", code, "--"] });
      const { name, found, why = "", fix = [] } = failed(report);
      expect([name, found]).toEqual(["io_uring", expect.stringContaining("seccomp filters system calls")]);
      expect(why).toContain(profile);
      const ways = [
        "docker run --security-opt seccomp=io_uring.json",
        "security_opt:",
        "podman run --security-opt",
        "type: Localhost",
        "SystemCallFilter=@aio",
      ];
      for (const way of ways) expect(fix.join("\n")).toContain(way);
      expect(fix.join("\n")).not.toContain("unconfined");
      expect(named(report, "locked memory").found).toContain("pinned by this process");
      const { stderr } = await execute([process.execPath, under, "--refuse", code, "--", process.execPath, refused]);
      // The program fails with an uncaught error, which has the same hint.
      expect(stderr).toContain(`${code}: `);
      expect(stderr).toContain(why);
    },
  );
}

needs("a processor that is not emulated")("on a system other than Linux the doctor reports only that", async () => {
  using folder = new Folder();
  const preloaded = folder.write("darwin.ts", 'Object.defineProperty(process, "platform", { value: "darwin" });');
  const report = await examined({ bunArgs: ["--preload", preloaded] });
  expect(report.findings.map(({ name }) => name)).toEqual(["Linux"]);
  expect(failed(report)).toMatchObject({
    found: expect.stringContaining("darwin"),
    why: "Use bun-uring on Linux only.",
  });
});

needs("--no-ffi-cc (Bun 1.4.1)")(
  "if bun:ffi's compiler is switched off, the doctor says how to switch it on",
  async () => {
    expect(failed(await examined({ bunArgs: ["--no-ffi-cc"] }))).toMatchObject({
      name: "bun:ffi",
      why: "Run Bun without --no-ffi-cc.",
    });
  },
);

needs("a processor that is not emulated")(
  "if no liburing can be loaded, the doctor says how to install it on each distribution",
  async () => {
    using folder = new Folder();
    folder.write("liburing.so.2", "no library"); // the loader finds this file first
    const { name, fix } = failed(await examined({ env: { LD_LIBRARY_PATH: folder.path } }));
    expect(name).toBe("liburing");
    for (const command of [
      "apt-get install liburing2",
      "dnf install liburing",
      "apk add liburing",
      "pacman -S liburing",
    ])
      expect(fix).toContainEqual(expect.stringContaining(command));
  },
);

needs("a processor that is not emulated")(
  "if liburing lacks a function that is needed, the doctor says which version has it",
  async () => {
    using folder = new Folder();
    const other = /\S*\/libm\.so\.6$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[0] ?? "no libm";
    symlinkSync(other, `${folder.path}/liburing.so.2`); // it loads, but has none of liburing's functions
    expect(failed(await examined({ env: { LD_LIBRARY_PATH: folder.path } }))).toMatchObject({
      name: "liburing",
      why: "liburing 2.3 or newer is needed.",
    });
  },
);

/** Ways to raise the limit on locked memory. */
const waysToLock = [
  "/etc/security/limits.d/",
  "LimitMEMLOCK=infinity",
  "docker run --ulimit memlock=-1:-1",
  "ulimits:",
  "IPC_LOCK",
];

test("if little memory may be locked, the doctor reports how much, the largest pool, and how to raise the limit", async () => {
  const limitBytes = 4 * 2 ** 20;
  const report = await examined({ under: withMemlock(limitBytes) });
  expect(report.works).toBe(true);
  const { state, found, fix = [] } = named(report, "locked memory");
  expect([state, found]).toEqual(["limited", expect.stringContaining("limit 4 MiB for all processes of this user")]);
  const largestBytes = Number(/no pool much larger than (\d+) bytes/.exec(found)?.[1]);
  expect(largestBytes).toBeGreaterThanOrEqual(65536);
  expect(largestBytes).toBeLessThan(limitBytes);
  for (const way of waysToLock) expect(fix.join("\n")).toContain(way);
});

needs("a processor that is not emulated")(
  "memory that the user's other processes have locked does not count as available to a pool",
  async () => {
    const limitBytes = 4 * 2 ** 20;
    const heldBytes = 3 * 2 ** 20;
    const holder = start("under", [
      "--memlock-bytes",
      String(limitBytes),
      "--",
      process.execPath,
      holding,
      String(heldBytes),
    ]);
    await holder.until("registered");
    const { found } = named(await examined({ under: withMemlock(limitBytes) }), "locked memory");
    const largestBytes = Number(/no pool much larger than (\d+) bytes/.exec(found)?.[1]);
    expect(largestBytes).toBeGreaterThanOrEqual(65536);
    expect(largestBytes).toBeLessThanOrEqual(limitBytes - heldBytes);
    holder.end();
    expect(await holder.outcome()).toMatchObject({ exitCode: 0, stderr: "" });
  },
);

needs("a processor that is not emulated")(
  "if no memory may be locked, the doctor reports the limit as the cause",
  async () => {
    const { name, found, why, fix = [] } = failed(await examined({ under: withMemlock(0) }));
    expect([name, found]).toEqual(["locked memory", expect.stringMatching(/^limit 0 bytes .*: ENOMEM: /)]);
    expect(why).toContain("CAP_IPC_LOCK");
    for (const way of waysToLock) expect(fix.join("\n")).toContain(way);
  },
);

needs("a processor that is not emulated")(
  "if few descriptors are allowed, the doctor reports that, and that files are not registered",
  async () => {
    const report = await examined({ under: ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"] });
    expect(report.works).toBe(true);
    expect(named(report, "registered files")).toMatchObject({ state: "limited" });
    const { state, found, fix = [] } = named(report, "open files");
    expect([state, found]).toEqual(["limited", expect.stringMatching(/^limit 40, \d+ open$/)]);
    for (const way of ["/etc/security/limits.d/", "LimitNOFILE=65536", "--ulimit nofile=65536:65536"])
      expect(fix.join("\n")).toContain(way);
  },
);

needs("a processor that is not emulated")(
  "if no descriptors are left, or too few, the doctor reports that as the cause",
  async () => {
    const counts: boolean[] = [];
    for (const free of [0, 1, 2, 3, 4, 5, 6, 8, 12]) {
      const path = new URL("./programs/doctor.ts", import.meta.url).pathname;
      const { exitCode, stdout, stderr } = await execute([
        "sh",
        "-c",
        'ulimit -n 64; exec "$@"',
        "sh",
        process.execPath,
        path,
        String(free),
      ]);
      expect([free, exitCode, stderr]).toEqual([free, 0, ""]);
      const report = JSON.parse(stdout);
      counts.push(report.works);
      if (!report.works)
        expect(failed(report)).toMatchObject({ name: "open files", found: expect.stringContaining("EMFILE") });
    }
    expect([counts[0], counts.at(-1)]).toEqual([false, true]);
  },
);

needs("a processor that is not emulated")(
  "if two findings need the same steps, the doctor prints them once",
  async () => {
    const { text } = await examined({ under: ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"] });
    if (!probe().clone.ranges) return expect(text).toContain("What to do: as for buffer clones.");
    expect(text.split("docker run --ulimit nofile").length).toBe(2);
    expect(text).toContain("What to do: as for registered files.");
  },
);

// ---- the diagnosis, for causes that cannot be provoked here ----

const good: Probe = {
  available: true,
  reason: undefined,
  kernel: "6.18.44",
  liburing: { version: "2.9", path: "/usr/lib/liburing.so.2.9" },
  features: ["NODROP"],
  opcodes: ["READ_FIXED", "FTRUNCATE", "READV_FIXED"],
  clone: { whole: true, ranges: true, replace: true, replaceKeepsTail: true },
  memlock: { limitBytes: Number.POSITIVE_INFINITY, unlimited: true, pinnedBytes: 0 },
  ioUringDisabled: 0,
  seccomp: 0,
};

const home: Surroundings = {
  platform: "linux",
  architecture: "x64",
  bun: "1.4.5",
  hasProc: true,
  refusing: { ioUringDisabled: 0, ioUringGroup: -1, exempt: true, seccomp: 0, gvisor: false },
  container: undefined,
  openFiles: { limit: 1024, open: 10 },
  trial: { error: undefined, readBytes: 4096, bufferSource: "cloned", largestPoolBytes: undefined },
};

const none = { whole: false, ranges: false, replace: false, replaceKeepsTail: false };

/** The findings if a call of the kernel or of a library fails with an error. */
function refusedWith(
  code: string,
  syscall: string,
  surroundings: Partial<Surroundings> = {},
  found: Partial<Probe> = {},
): Finding[] {
  const reason = { code, syscall, message: `${code}: no, ${syscall}`, hint: undefined };
  const lacking = { available: false, reason, liburing: undefined, features: [], opcodes: [], clone: none };
  return diagnose({ ...good, ...lacking, ...found }, { ...home, trial: undefined, ...surroundings });
}

/** The finding that failed, with the lines of its fix as one text. */
function failure(findings: Finding[]): { name: string; why: string; fix: string } {
  expect(works(findings)).toBe(false);
  const { name, why = "", fix = [] } = failed({ works: false, findings });
  return { name, why, fix: fix.join("\n") };
}

test("if everything works, every finding is ok", () => {
  const findings = diagnose(good, home);
  expect(works(findings)).toBe(true);
  expect(findings.filter(({ state }) => state !== "ok")).toEqual([]);
  expect(findings.map(({ name }) => name)).toEqual([
    "Linux",
    "Bun",
    "kernel",
    "bun:ffi",
    "liburing",
    "io_uring",
    "fixed read",
    "buffer clones",
    "registered files",
    "READV_FIXED",
    "FTRUNCATE",
    "locked memory",
    "open files",
  ]);
});

const refuses = home.refusing;

test("EPERM under kernel.io_uring_disabled=2 is attributed to the sysctl, with or without seccomp or root", () => {
  for (const seccomp of [0, 2])
    for (const exempt of [true, false]) {
      const { name, why, fix } = failure(
        refusedWith("EPERM", "io_uring_setup", { refusing: { ...refuses, ioUringDisabled: 2, seccomp, exempt } }),
      );
      expect([name, why]).toEqual(["io_uring", expect.stringContaining("kernel.io_uring_disabled is 2")]);
      expect(why).not.toContain("seccomp");
      for (const way of ["sudo sysctl -w kernel.io_uring_disabled=0", "/etc/sysctl.d/"]) expect(fix).toContain(way);
    }
});

test("EPERM under kernel.io_uring_disabled=1 is attributed to the sysctl for those outside its group, which is named", () => {
  for (const [ioUringGroup, says] of [
    [-1, "currently none"],
    [990, "id 990"],
  ] as const) {
    const { why, fix } = failure(
      refusedWith("EPERM", "io_uring_setup", {
        refusing: { ...refuses, ioUringDisabled: 1, ioUringGroup, exempt: false },
      }),
    );
    for (const part of ["kernel.io_uring_disabled is 1", "kernel.io_uring_group", says]) expect(why).toContain(part);
    expect(fix).toContain("sudo sysctl -w kernel.io_uring_group=$(id -g)");
  }
});

test("EPERM under kernel.io_uring_disabled=1 is attributed to seccomp for those whom the sysctl exempts", () => {
  const { why } = failure(
    refusedWith("EPERM", "io_uring_setup", { refusing: { ...refuses, ioUringDisabled: 1, exempt: true, seccomp: 2 } }),
  );
  expect(why).toContain("seccomp profile denies this process io_uring");
  expect(why).not.toContain("io_uring_disabled");
});

test("EPERM that nothing in /proc explains is attributed to seccomp or the sysctl", () => {
  const { why } = failure(refusedWith("EPERM", "io_uring_setup"));
  for (const part of ["seccomp", "io_uring_disabled"]) expect(why).toContain(part);
});

test("in a container the steps for its own runtime come first, followed by the others", () => {
  for (const [container, way] of [
    ["docker", "docker run"],
    ["podman", "podman run"],
    ["kubernetes", "localhostProfile: profiles/io_uring.json"],
  ] as const) {
    const { fix } = failure(
      refusedWith("EPERM", "io_uring_setup", { container, refusing: { ...refuses, seccomp: 2 } }),
    );
    const ways = ["docker run", "podman run", "localhostProfile: profiles/io_uring.json"].map((other) => ({
      other,
      at: fix.indexOf(other),
    }));
    expect(ways.toSorted((a, b) => a.at - b.at)[0]?.other).toBe(way);
    expect(ways.every(({ at }) => at >= 0)).toBe(true);
  }
});

test("ENOSYS is attributed to gVisor or a seccomp filter if there is one, and otherwise to the kernel", () => {
  expect(failure(refusedWith("ENOSYS", "io_uring_setup", { refusing: { ...refuses, gvisor: true } })).why).toContain(
    "gVisor",
  );
  expect(failure(refusedWith("ENOSYS", "io_uring_setup", { refusing: { ...refuses, seccomp: 2 } })).why).toContain(
    "Podman",
  );
  expect(failure(refusedWith("ENOSYS", "io_uring_setup")).why).toContain("CONFIG_IO_URING");
});

test("EACCES is attributed to a security module", () => {
  expect(failure(refusedWith("EACCES", "io_uring_setup"))).toMatchObject({
    name: "io_uring",
    why: expect.stringContaining("SELinux"),
  });
});

test("an old Bun is reported, and the findings after it are omitted", () => {
  const findings = refusedWith("EOPNOTSUPP", "cc", { bun: "1.3.14" });
  expect(findings.map(({ name }) => name)).toEqual(["Linux", "Bun"]);
  expect(failure(findings)).toMatchObject({ name: "Bun", fix: "bun upgrade" });
});

test("a missing shim, or one that does not compile, fails bun:ffi; a lack of descriptors to compile it fails open files", () => {
  expect(failure(refusedWith("ENOENT", "cc"))).toMatchObject({
    name: "bun:ffi",
    fix: expect.stringContaining("--external:bun-uring"),
  });
  expect(failure(refusedWith("ENOEXEC", "cc")).name).toBe("bun:ffi");
  expect(failure(refusedWith("EMFILE", "cc")).name).toBe("open files");
});

test("if only the trial's ring fails with EINVAL, the cause is the kernel before Linux 6.1, and otherwise the trial", () => {
  const error = { code: "EINVAL", syscall: "io_uring_setup", message: "EINVAL: no, io_uring_setup", hint: "a hint" };
  const old = failure(diagnose({ ...good, kernel: "5.15.0-91-generic", clone: none }, { ...home, trial: { error } }));
  expect(old).toMatchObject({
    name: "kernel",
    why: "Linux 6.1 or newer is needed, and this is 5.15.0-91-generic.",
    fix: expect.stringContaining("apt-get install"),
  });
  expect(failure(diagnose({ ...good, kernel: "6.1.0-9-amd64" }, { ...home, trial: { error } }))).toMatchObject({
    name: "fixed read",
    why: "a hint",
  });
  // Distributions backport newer versions of io_uring.
  expect(works(diagnose({ ...good, kernel: "5.14.0-503.el9" }, home))).toBe(true);
});

test("ENOMEM is attributed to the limit on locked memory if there is one, and otherwise to the machine", () => {
  const memlock = { limitBytes: 65536, unlimited: false, pinnedBytes: 0 };
  expect(failure(refusedWith("ENOMEM", "io_uring_setup", {}, { memlock }))).toMatchObject({
    name: "locked memory",
    fix: expect.stringContaining("LimitMEMLOCK="),
  });
  expect(failure(refusedWith("ENOMEM", "io_uring_setup"))).toMatchObject({
    name: "memory",
    why: expect.stringContaining("cgroup"),
  });
});

test("ENFILE is attributed to the machine's limit on open files", () => {
  expect(failure(refusedWith("ENFILE", "io_uring_setup"))).toMatchObject({
    name: "open files",
    fix: expect.stringContaining("fs.file-max"),
  });
});

test("a feature that an older kernel lacks is reported as limited, with the Linux version that has it", () => {
  const lacking = (found: Partial<Probe>, surroundings: Partial<Surroundings> = {}) => {
    const findings = diagnose({ ...good, ...found }, { ...home, ...surroundings });
    expect(works(findings)).toBe(true);
    return findings.flatMap(({ name, state, why = "", fix = [] }) => {
      if (state !== "ok") expect(fix.join("\n")).toContain("# on the machine itself");
      return state === "ok" ? [] : [`${name}: ${/Linux [\d.]*\d/.exec(why)?.[0]}`];
    });
  };
  expect(lacking({ clone: none })).toEqual(["buffer clones: Linux 6.12", "registered files: Linux 6.13"]);
  expect(lacking({ clone: { ...none, whole: true } })).toEqual([
    "buffer clones: Linux 6.13",
    "registered files: Linux 6.13",
  ]);
  expect(lacking({ clone: { ...good.clone, replaceKeepsTail: false } })).toEqual(["buffer clones: Linux 6.18.44"]);
  expect(lacking({ opcodes: ["READ_FIXED"] })).toEqual(["READV_FIXED: Linux 6.15", "FTRUNCATE: Linux 6.9"]);
});

test("a limit on locked memory is ok if it leaves enough room, and limited if it leaves none", () => {
  const limited = (limitBytes: number, largestPoolBytes: number) =>
    diagnose(
      { ...good, memlock: { limitBytes, unlimited: false, pinnedBytes: 4096 } },
      { ...home, trial: { error: undefined, readBytes: 4096, bufferSource: "cloned", largestPoolBytes } },
    ).find(({ name }) => name === "locked memory");
  expect(limited(2 ** 33, 2 ** 26)).toEqual({
    name: "locked memory",
    state: "ok",
    found: "limit 8 GiB for all processes of this user, 4 KiB pinned by this process",
  });
  expect(limited(2 ** 17, 0)).toMatchObject({
    state: "limited",
    found: expect.stringContaining("no pool of 64 KiB could be made"),
  });
});

test("without /proc the limits are unknown, which is reported but is not a failure", () => {
  const memlock = { ...good.memlock, unlimited: false };
  const findings = diagnose(
    { ...good, memlock },
    { ...home, hasProc: false, openFiles: { limit: Number.POSITIVE_INFINITY, open: 0 } },
  );
  expect(works(findings)).toBe(true);
  expect(named({ works: true, findings }, "/proc").state).toBe("limited");
  for (const name of ["locked memory", "open files"])
    expect(named({ works: true, findings }, name).found).toBe("limit not known");
});
