/** Packages of Debian and npm, of any release and processor, unpacked into a cache outside the repository. */
import { mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { output } from "./commands.ts";

/** Where downloads stay between runs. */
export const cache =
  process.env["BUN_URING_CACHE"] ??
  join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "bun-uring-compat");

export type Architecture = "amd64" | "arm64";

const releases: Readonly<Record<Architecture, readonly string[]>> = {
  amd64: ["bookworm", "trixie", "trixie-backports", "sid"],
  arm64: ["trixie"],
};
const listsLastMs = 24 * 3600 * 1000;

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Makes a folder atomically: if it exists, it is complete. */
async function madeOnce(folder: string, make: (folder: string) => Promise<unknown>): Promise<string> {
  if (exists(folder)) return folder;
  const partial = `${folder}.partial-${process.pid}`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  await make(partial);
  renameSync(partial, folder);
  return folder;
}

/** Debian, with a package index of its own. The machine's index is not changed. */
export class Debian {
  readonly #env: Readonly<Record<string, string>>;

  private constructor(configuration: string) {
    this.#env = { APT_CONFIG: configuration, LC_ALL: "C" };
  }

  /** Fetches the index from the mirror that this machine uses, at most once a day. */
  static async open(): Promise<Debian> {
    const apt = join(cache, "apt");
    const lists = join(apt, "lists");
    for (const folder of [join(lists, "partial"), join(apt, "cache/archives/partial"), join(cache, "debs")])
      mkdirSync(folder, { recursive: true });
    const targets = await output([
      "apt-get",
      "indextargets",
      "--format",
      "$(ORIGIN) $(CODENAME) $(REPO_URI)",
      "Created-By: Packages",
    ]);
    const mirror = /^Debian \w+ (\S+)$/m.exec(targets)?.[1];
    if (mirror === undefined)
      throw new Error(
        "compat: apt-get knows no mirror of Debian; run apt-get update first. The virtual machines are built from Debian's packages.",
      );
    const sources = Object.entries(releases).flatMap(([architecture, names]) =>
      names.map((name) => `deb [arch=${architecture}] ${mirror} ${name} main\n`),
    );
    const sourceList = join(apt, "sources.list");
    writeFileSync(sourceList, sources.join(""));
    const configuration = join(apt, "apt.conf");
    const settings = {
      "Dir::Etc::sourcelist": sourceList,
      "Dir::Etc::sourceparts": "/dev/null",
      "Dir::State::lists": lists,
      "Dir::Cache": join(apt, "cache"),
      "APT::Sandbox::User": "root",
      "Acquire::Languages": "none",
    };
    const architectures = Object.keys(releases).map((name) => `"${name}";`);
    writeFileSync(
      configuration,
      `${Object.entries(settings)
        .map(([name, value]) => `${name} "${value}";\n`)
        .join("")}APT::Architectures { ${architectures.join(" ")} };\n`,
    );
    const debian = new Debian(configuration);
    const fetched = join(apt, "fetched");
    const age = Date.now() - (statSync(fetched, { throwIfNoEntry: false })?.mtimeMs ?? 0);
    if (age > listsLastMs) {
      await output(["apt-get", "update"], debian.#env);
      writeFileSync(fetched, sources.join(""));
    }
    return debian;
  }

  /**
   * The package whose name matches the pattern: the oldest or the newest, by the version in the pattern's first group.
   */
  async find(which: "oldest" | "newest", pattern: RegExp): Promise<string> {
    const names = (await output(["apt-cache", "pkgnames"], this.#env)).split("\n");
    const found = names.flatMap((name) => {
      const version = pattern.exec(name)?.[1];
      return version === undefined ? [] : [{ name, version }];
    });
    const sorted = found.toSorted((a, b) => a.version.localeCompare(b.version, "en", { numeric: true }));
    const [name] = (which === "oldest" ? sorted : sorted.toReversed()).map((one) => one.name);
    if (name === undefined) throw new Error(`compat: Debian has no package like ${pattern} any more`);
    return name;
  }

  /** Downloads and unpacks a package. Returns its folder. */
  async unpacked(name: string, architecture: Architecture, release?: string): Promise<string> {
    const wanted = `${name}:${architecture}${release === undefined ? "" : `/${release}`}`;
    const file = /^'\S+' (\S+)/m.exec(await output(["apt-get", "download", "--print-uris", wanted], this.#env))?.[1];
    if (file === undefined) throw new Error(`compat: Debian has no package ${wanted}`);
    return madeOnce(join(cache, "debs", file.replace(/\.deb$/, "")), async (folder) => {
      const download = `${folder}.download`;
      mkdirSync(download, { recursive: true });
      await output(["apt-get", "download", wanted], this.#env, download);
      await output(["sh", "-c", 'dpkg-deb -x "$1"/*.deb "$2"', "sh", download, folder]);
      rmSync(download, { recursive: true });
    });
  }
}

/** The newest version of Bun on npm. */
export async function newestBun(): Promise<string> {
  return (await output(["npm", "view", "bun", "version"])).trim();
}

/** Downloads a Bun from npm. Returns the path of its binary. */
export async function bunBinary(version: string, platform: "linux-x64" | "linux-aarch64"): Promise<string> {
  const folder = await madeOnce(join(cache, "bun", `${version}-${platform}`), async (partial) => {
    await output(["npm", "pack", "--silent", "--pack-destination", partial, `@oven/bun-${platform}@${version}`]);
    await output(["sh", "-c", 'tar -xzf "$1"/*.tgz -C "$1" && rm "$1"/*.tgz', "sh", partial]);
  });
  return join(folder, "package/bin/bun");
}
