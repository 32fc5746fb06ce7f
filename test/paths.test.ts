import { expect } from "bun:test";
import { constants, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync } from "node:fs";
import { appendFile, lstat, mkdir, open, readFile, rename, rmdir, stat, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Ring } from "bun-uring";
import { needsPlace } from "./support/capabilities.ts";
import { times } from "./support/effort.ts";
import { Folder, type Place } from "./support/files.ts";
import { fc } from "./support/properties.ts";
import { leavingNothing } from "./support/resources.ts";

const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;

type Path = string | URL;

/** One call, made with the ring and with node:fs/promises. The test compares the results and the folders afterwards. */
interface Step {
  readonly name: string;
  mine(ring: Ring, root: string): Promise<unknown>;
  theirs(root: string): Promise<unknown>;
}

/** Names in a folder that `furnish` has filled, and names that lead nowhere. */
const names = fc.constantFrom(
  ...[
    "file",
    "other",
    "new",
    "folder",
    "folder/file",
    "folder/new",
    "empty",
    "empty/new",
    "full",
    "full/folder",
    "link",
    "link to folder",
  ],
  ...[
    "link to folder/file",
    "link to folder/",
    "dangling",
    "loop",
    "loop/new",
    "missing/new",
    "file/",
    "file/new",
    "new/",
    "folder/",
    "folder/.",
    "folder/..",
  ],
  ...[
    ".",
    "..",
    "./file",
    "folder/../file",
    "//file",
    "n\u00e4me \u{1f600}",
    "lone \ud800",
    "%66ile",
    "x".repeat(255),
    "x".repeat(256),
    "x/".repeat(2100),
  ],
);

/** Paths as strings, and as URLs, whose parser resolves "." and "..". */
const paths = fc.tuple(names, fc.constantFrom("string", "URL")).map(([name, kind]) => ({
  name: `${kind} ${name.slice(0, 30)}`,
  isTooLong: name.length > 4000,
  in: (root: string): Path => (kind === "string" ? `${root}/${name}` : pathToFileURL(`${root}/${name}`)),
}));

const {
  O_RDONLY,
  O_WRONLY,
  O_RDWR,
  O_CREAT,
  O_EXCL,
  O_TRUNC,
  O_APPEND,
  O_DIRECTORY,
  O_NOFOLLOW,
  O_SYNC,
  O_DIRECT,
  O_NOATIME,
} = constants;
const invalidFlags = ["rw", "W", ""];
const flags: fc.Arbitrary<string | number | undefined> = fc.oneof(
  fc.constantFrom(
    undefined,
    "r",
    "rs",
    "r+",
    "rs+",
    "sr",
    "w",
    "wx",
    "xw",
    "w+",
    "wx+",
    "a",
    "ax",
    "a+",
    "xa+",
    "as",
    "as+",
    ...invalidFlags,
  ),
  fc
    .tuple(
      fc.constantFrom(O_RDONLY, O_WRONLY, O_RDWR),
      fc.subarray([O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_DIRECTORY, O_NOFOLLOW, O_SYNC, O_DIRECT, O_NOATIME]),
    )
    .map(([access, added]) => added.reduce((sum, flag) => sum | flag, access)),
);
/** The owner gets all permissions, so that the test can inspect and delete the result without being root. */
const mode = fc.oneof(
  fc.constant(undefined),
  fc.nat(0o77).map((others) => 0o700 | others),
);

/**
 * Leaves out a path that is too long with invalid flags, because both errors are right then: open of Bun 1.4.0 reports
 * the path, and that of Bun 1.4.5 the flags.
 */
const isClear = ({ isTooLong }: { readonly isTooLong: boolean }, how: unknown) =>
  !(isTooLong && typeof how === "string" && invalidFlags.includes(how));

const openings = fc.tuple(paths, flags, mode).filter(([path, how]) => isClear(path, how));

/** Sizes around that of the memory through which small files go. */
const contents = fc
  .tuple(fc.constantFrom(0, 1, 11, 65_535, 65_536, 65_537, 200_000), fc.constantFrom("a", "b"))
  .map(([size, letter]) => letter.repeat(size));
/**
 * Without those for which Bun's node:fs differs from Node.js: "" is refused there, and O_TRUNC without write access
 * truncates. Without O_DIRECT, which node:fs does not align for.
 */
const wholeFlags = flags.filter((how) =>
  typeof how === "number" ? (how & O_DIRECT) === 0 && ((how & O_TRUNC) === 0 || (how & 3) !== O_RDONLY) : how !== "",
);
const writings = fc
  .record({ path: paths, content: contents, flag: wholeFlags, permissions: mode })
  .filter(({ path, flag }) => isClear(path, flag));
const readings = fc.tuple(paths, wholeFlags).filter(([path, flag]) => isClear(path, flag));

/** Options without those that are not given. */
function asOptions(flag: string | number | undefined, permissions?: number): { flag?: string | number; mode?: number } {
  return Object.assign({}, flag === undefined ? {} : { flag }, permissions === undefined ? {} : { mode: permissions });
}

const steps: fc.Arbitrary<Step> = fc.oneof(
  readings.map(([path, flag]) => ({
    name: `readFile ${path.name} ${flag}`,
    mine: (ring: Ring, root: string) => ring.readFile(path.in(root), { ...asOptions(flag), encoding: "latin1" }),
    theirs: (root: string) => readFile(path.in(root), { ...asOptions(flag), encoding: "latin1" }),
  })),
  writings.map(({ path, content, flag, permissions }) => ({
    name: `writeFile ${path.name} ${content.length} ${flag} ${permissions}`,
    mine: (ring: Ring, root: string) => ring.writeFile(path.in(root), content, asOptions(flag, permissions)),
    theirs: (root: string) => writeFile(path.in(root), content, asOptions(flag, permissions)),
  })),
  writings.map(({ path, content, permissions }) => ({
    name: `appendFile ${path.name} ${content.length} ${permissions}`,
    mine: (ring: Ring, root: string) => ring.appendFile(path.in(root), content, asOptions(undefined, permissions)),
    theirs: (root: string) => appendFile(path.in(root), content, asOptions(undefined, permissions)),
  })),
  openings.map(([path, how, permissions]) => ({
    name: `open ${path.name} ${how} ${permissions}`,
    mine: async (ring: Ring, root: string) => {
      await using file = await ring.open(path.in(root), how, permissions);
      return kindOf(await file.stat());
    },
    theirs: async (root: string) => {
      await using file = await open(path.in(root), how, permissions);
      return kindOf(await file.stat());
    },
  })),
  paths.map((path) => ({
    name: `unlink ${path.name}`,
    mine: (ring: Ring, root: string) => ring.unlink(path.in(root)),
    theirs: (root: string) => unlink(path.in(root)),
  })),
  paths.map((path) => ({
    name: `rmdir ${path.name}`,
    mine: (ring: Ring, root: string) => ring.unlink(path.in(root), { flags: AT_REMOVEDIR }),
    theirs: (root: string) => rmdir(path.in(root)),
  })),
  fc.tuple(paths, paths).map(([from, to]) => ({
    name: `rename ${from.name} to ${to.name}`,
    mine: (ring: Ring, root: string) => ring.rename(from.in(root), to.in(root)),
    theirs: (root: string) => rename(from.in(root), to.in(root)),
  })),
  fc.tuple(paths, mode).map(([path, permissions]) => ({
    name: `mkdir ${path.name} ${permissions}`,
    mine: (ring: Ring, root: string) => ring.mkdir(path.in(root), permissions),
    theirs: (root: string) => mkdir(path.in(root), permissions),
  })),
  paths.map((path) => ({
    name: `stat ${path.name}`,
    mine: async (ring: Ring, root: string) => (await ring.statx(path.in(root))).mode,
    theirs: async (root: string) => (await stat(path.in(root))).mode,
  })),
  paths.map((path) => ({
    name: `lstat ${path.name}`,
    mine: async (ring: Ring, root: string) => (await ring.statx(path.in(root), { flags: AT_SYMLINK_NOFOLLOW })).mode,
    theirs: async (root: string) => (await lstat(path.in(root))).mode,
  })),
);

function kindOf(stats: { isDirectory(): boolean; readonly size: number }): string {
  return stats.isDirectory() ? "folder" : `file of ${stats.size}`;
}

async function outcomeOf(call: Promise<unknown>): Promise<unknown> {
  try {
    return await call;
  } catch (error) {
    return error instanceof Error && "code" in error ? `${error.code}` : error;
  }
}

function furnish(folder: Folder): string {
  const root = join(folder.path, "root");
  for (const made of ["", "folder", "empty", "full", "full/folder"]) mkdirSync(join(root, made));
  for (const [index, written] of ["file", "other", "folder/file", "full/file"].entries())
    folder.write(join("root", written), "x".repeat(10 + index));
  for (const [link, target] of Object.entries({
    link: "file",
    "link to folder": "folder",
    dangling: "missing",
    loop: "loop",
  }))
    symlinkSync(target, join(root, link));
  return root;
}

/** Everything below a path: names, kinds, permissions and contents. */
function inventory(path: string): unknown {
  const stats = lstatSync(path);
  if (stats.isSymbolicLink()) return readlinkSync(path);
  if (!stats.isDirectory()) return [stats.mode, readFileSync(path, "latin1")];
  // Not with readdirSync's `recursive`: Bun's implementation follows symbolic links.
  const entries = readdirSync(path).sort();
  return [stats.mode, entries.map((name) => [name, inventory(join(path, name))])];
}

async function compare(ring: Ring, place: Place, program: readonly Step[]): Promise<void> {
  using folder = new Folder(place);
  using reference = new Folder(place);
  const mine = furnish(folder);
  const theirs = furnish(reference);
  for (const step of program)
    expect([step.name, await outcomeOf(step.mine(ring, mine)), inventory(mine)]).toEqual([
      step.name,
      await outcomeOf(step.theirs(theirs)),
      inventory(theirs),
    ]);
}

for (const [place, name] of [
  ["disk", "a disk"],
  ["memory", "tmpfs"],
] as const) {
  needsPlace[place](
    `any sequence of readFile, writeFile, appendFile, open, unlink, rename, mkdir and statx on ${name} has the same results and error codes as node:fs/promises`,
    () =>
      leavingNothing(async () => {
        await using ring = new Ring();
        const property = fc.asyncProperty(fc.array(steps, { maxLength: 12, size: "max" }), (program) =>
          compare(ring, place, program),
        );
        await fc.assert(property, { numRuns: times(300) });
      }),
  );
}
