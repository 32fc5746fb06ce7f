/** The environments of the compatibility table: what each consists of, and how the tests run there. */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { session } from "./commands.ts";
import { boot, kernelImage, packInitramfs } from "./machine.ts";
import { type Architecture, bunBinary, type Debian, newestBun } from "./packages.ts";
import { copyPackage, makeRoot, packageFolder } from "./root.ts";

/** One row of the table. */
export interface Environment {
  readonly name: string;
  /** "all" tests, or test/refused/ for an environment that refuses the library with this error code. */
  readonly suite: "all" | "EPERM" | "ENOSYS" | "ENOENT" | "EOPNOTSUPP";
  /** The path on this machine of the bun that runs there. The example hashes this file. */
  readonly bun: string;
  /** Runs session.sh there, with an empty folder to use, and returns everything that it printed. */
  run(folder: string): Promise<string>;
}

/** The oldest Bun that works, as in `engines` of package.json. */
const oldestBun = "1.4.0";
/** The newest Bun that does not work. */
const tooOldBun = "1.3.14";
const limitMs = 25 * 60_000;

const sessionScript = new URL("./session.sh", import.meta.url).pathname;
const under = new URL("../programs/under.ts", import.meta.url).pathname;
/** The Bun of package.json. */
const ownBun = process.execPath;

/**
 * The environment variables of sessions on this machine's kernel. They repeat less, because `npm test` runs all
 * repetitions there.
 */
function environment(more: Readonly<Record<string, string>> = {}): Record<string, string> {
  return {
    PATH: process.env["PATH"] ?? "",
    HOME: process.env["HOME"] ?? "",
    NO_COLOR: "1",
    BUN_URING_TEST_EFFORT: "0.2",
    ...more,
  };
}

/** Runs the tests on this machine's kernel, in the repository itself. */
function here(
  name: string,
  suite: Environment["suite"],
  options: { bun?: string; libraries?: string; under?: readonly string[] } = {},
): Environment {
  const { bun = ownBun, libraries, under: restrictions } = options;
  const restricted = restrictions === undefined ? [] : [ownBun, under, ...restrictions, "--"];
  return {
    name,
    suite,
    bun,
    run: () =>
      session(
        [...restricted, "sh", sessionScript, bun, suite],
        environment(libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries }),
        limitMs,
      ),
  };
}

/** Runs the tests in a virtual machine. */
function machine(
  name: string,
  debian: Debian,
  architecture: Architecture,
  bun: string,
  image: Promise<string>,
  options: { suite?: Environment["suite"]; sysctls?: Readonly<Record<string, string>>; memoryMib?: number } = {},
): Environment {
  const { suite = "all", sysctls = {}, memoryMib = 3000 } = options;
  return {
    name,
    suite,
    bun,
    async run(folder) {
      const root = join(folder, "root");
      await makeRoot(root, debian, bun, architecture, await debian.unpacked("liburing2", architecture, "trixie"));
      const initramfs = join(folder, "initramfs");
      await packInitramfs(root, initramfs, `sh test/compat/session.sh /usr/bin/bun ${suite}`, sysctls);
      return boot(await kernelImage(debian, await image, architecture), initramfs, architecture, memoryMib, limitMs);
    },
  };
}

/** Runs the tests in a root folder that has nothing but what they need. */
function slimRoot(
  name: string,
  debian: Debian,
  liburing: string | undefined,
  suite: Environment["suite"],
): Environment {
  return {
    name,
    suite,
    bun: ownBun,
    async run(folder) {
      const root = join(folder, "root");
      await makeRoot(root, debian, ownBun, "amd64", liburing);
      const enter = `for name in dev proc sys; do mount --rbind "/$name" "$1/$name" || exit; done
exec chroot "$1" /usr/bin/busybox sh -c '/usr/bin/busybox --install -s /usr/bin; exec sh ${packageFolder}/test/compat/session.sh /usr/bin/bun ${suite}'`;
      return session(
        ["unshare", "--mount", "sh", "-c", enter, "sh", root],
        environment({ PATH: "/usr/bin:/usr/sbin:/bin:/sbin", TMPDIR: "/tmp" }),
        limitMs,
      );
    },
  };
}

/** Runs the tests as an unprivileged user who may lock 8 MiB, the default. */
function ordinaryUser(name: string): Environment {
  return {
    name,
    suite: "all",
    bun: ownBun,
    async run(folder) {
      const home = join(folder, "home");
      mkdirSync(home);
      chmodSync(folder, 0o755);
      chmodSync(home, 0o1777);
      const copy = join(folder, packageFolder);
      copyPackage(copy);
      const bun = join(folder, "bun");
      await Bun.write(bun, Bun.file(ownBun));
      chmodSync(bun, 0o755);
      const script = join(copy, "test/compat/session.sh");
      const restrictions = ["--user", String(2 ** 20 + process.pid), "--memlock-bytes", String(8 * 2 ** 20), "--"];
      return session(
        [ownBun, under, ...restrictions, "sh", script, bun, "all"],
        environment({ HOME: home, TMPDIR: home }),
        limitMs,
      );
    },
  };
}

/** All environments, the slowest first. */
export async function environments(debian: Debian): Promise<Environment[]> {
  const libraries = async (release: string) =>
    join(await debian.unpacked("liburing2", "amd64", release), "usr/lib/x86_64-linux-gnu");
  const image = (which: "oldest" | "newest", version: string, architecture: Architecture) =>
    debian.find(
      which,
      new RegExp(`^linux-image-(${version}\\.[\\w.]*(?:-\\d+)?)(?:\\+deb\\d+)?-cloud-${architecture}$`),
    );
  const [armBun, oldBun, refusedBun, newestVersion] = await Promise.all([
    bunBinary(Bun.version, "linux-aarch64"),
    bunBinary(oldestBun, "linux-x64"),
    bunBinary(tooOldBun, "linux-x64"),
    newestBun(),
  ]);
  return [
    machine("Linux 6.12, arm64", debian, "arm64", armBun, image("newest", "6\\.12", "arm64")),
    machine("Linux 6.1", debian, "amd64", ownBun, image("newest", "6\\.1", "amd64")),
    machine("Linux 6.12", debian, "amd64", ownBun, image("newest", "6\\.12", "amd64"), { memoryMib: 6500 }),
    machine("Linux 6.16", debian, "amd64", ownBun, image("oldest", "6\\.16", "amd64")),
    machine("Linux 6.18, early", debian, "amd64", ownBun, image("oldest", "6\\.18", "amd64")),
    machine("Linux 7, newest", debian, "amd64", ownBun, image("newest", "7", "amd64")),
    here("this machine", "all"),
    here("liburing 2.3", "all", { libraries: await libraries("bookworm") }),
    here("liburing 2.9", "all", { libraries: await libraries("trixie") }),
    here("liburing, newest", "all", { libraries: await libraries("sid") }),
    here("Bun, oldest", "all", { bun: oldBun }),
    // If package.json has the newest Bun, "this machine" runs it already.
    ...(newestVersion === Bun.version
      ? []
      : [here("Bun, newest", "all", { bun: await bunBinary(newestVersion, "linux-x64") })]),
    slimRoot("slim root", debian, await debian.unpacked("liburing2", "amd64", "trixie"), "all"),
    ordinaryUser("user, 8 MiB memlock"),
    here("refused: seccomp", "EPERM", { under: ["--refuse", "EPERM"] }),
    machine("refused: io_uring_disabled", debian, "amd64", ownBun, image("newest", "6\\.12", "amd64"), {
      suite: "EPERM",
      sysctls: { "kernel.io_uring_disabled": "2" },
    }),
    here("refused: no io_uring", "ENOSYS", { under: ["--refuse", "ENOSYS"] }),
    slimRoot("refused: no liburing", debian, undefined, "ENOENT"),
    here("refused: Bun too old", "EOPNOTSUPP", { bun: refusedBun }),
  ];
}
