import { expect, test } from "bun:test";
import * as uapi from "../lib/uring/uapi.ts";
import { examplesOf } from "./api-reference/examples.ts";
import { lackingIn, sinceOfRequest } from "./api-reference/lacking.ts";
import { brokenLinksOf, differencesOf } from "./api-reference/pages.ts";
import { type PublicSymbol, type Reflection, symbolsOf } from "./api-reference/symbols.ts";
import { Folder } from "./support/files.ts";

const documented: PublicSymbol = {
  name: "Ring.fsync",
  kind: "method",
  summary: "Resolves when the content is on stable storage.",
  throws: ["UringError EIO"],
  examples: ['```ts\nimport { Ring } from "bun-uring";\n```'],
  see: ["io_uring_prep_fsync(3)"],
  undocumented: [],
  value: undefined,
};

function lacking(part: Partial<PublicSymbol>): string[] {
  return lackingIn([{ ...documented, ...part }]);
}

test("a method with a summary, @throws, an example, a manual page and all parameters is documented completely", () => {
  expect(lacking({})).toEqual([]);
  expect(lacking({ undocumented: ["options"] })).toEqual([]);
});

test("each missing part of a symbol's documentation is reported", () => {
  expect(lacking({ summary: " " })).toEqual(["Ring.fsync lacks a summary"]);
  expect(lacking({ throws: [] })).toEqual(["Ring.fsync lacks @throws"]);
  expect(lacking({ examples: [] })).toEqual(["Ring.fsync lacks an @example"]);
  expect(lacking({ see: [] })).toEqual(["Ring.fsync lacks @see with the manual's page"]);
  expect(lacking({ undocumented: ["file"] })).toEqual(["Ring.fsync lacks @param file"]);
  expect(lacking({ name: "Ring", kind: "class", examples: [] })).toEqual(["Ring lacks an @example"]);
  expect(lacking({ name: "Ring.constructor", kind: "constructor", throws: [] })).toEqual([
    "Ring.constructor lacks @throws",
  ]);
  expect(lacking({ name: "RingStats.waiting", kind: "property", summary: "", examples: [] })).toEqual([
    "RingStats.waiting lacks a summary",
  ]);
});

test('a constant needs a summary, which says "Since Linux" if the oldest supported Linux lacks the constant', () => {
  const constant = { kind: "constant", summary: "What it is.", throws: [], examples: [], see: [] } as const;
  const dated = { ...constant, summary: "What it is. Since Linux 6.3." };
  const newest: Readonly<Record<string, number>> = {
    FALLOC_FL_UNSHARE_RANGE: 0x40,
    IORING_CQE_F_NOTIF: 8,
    IORING_FEAT_LINKED_FILE: 4096,
    IORING_SETUP_DEFER_TASKRUN: 8192,
    STATX_ATTR_DAX: 0x200000,
    STATX_DIOALIGN: 0x2000,
  };
  const undocumented = { ...constant, name: "constants.POLLIN", value: 1, summary: "" };
  expect(lacking(undocumented)).toEqual(["constants.POLLIN lacks a summary"]);
  for (const [ownName, value] of Object.entries(newest)) {
    const name = `constants.${ownName}`;
    expect(lacking({ ...constant, name, value })).toEqual([]);
    expect(lacking({ ...constant, name, value: value * 2 })).toEqual([`${name} lacks "Since Linux"`]);
    expect(lacking({ ...dated, name, value: value * 2 })).toEqual([]);
  }
});

test('an operation needs "Since Linux" or "before Linux" if the oldest supported Linux lacks its request', () => {
  const versions = { ftruncate: "6.9", readv_fixed: "6.15", writev_fixed: "6.15" };
  for (const [request, version] of Object.entries(versions)) {
    const see = [`fsync(2), io_uring_prep_${request}(3)`];
    const complaint = `Ring.fsync lacks "Since Linux ${version}"`;
    expect(lacking({ see })).toEqual([complaint]);
    expect(lacking({ see, summary: "What it does. Since Linux 6.2." })).toEqual([complaint]);
    expect(lacking({ see, summary: `What it does. Since Linux ${version}.` })).toEqual([]);
    expect(lacking({ see, summary: `It copies before Linux ${version}.` })).toEqual([]);
  }
  expect(lacking({ see: ["io_uring_prep_readv(3)"] })).toEqual([]);
});

test("requirements.ts has the version of each request that the oldest supported Linux lacks", () => {
  const [prefix, highestOfOldest] = ["IORING_OP_", 48];
  const opcodes = Object.entries(uapi).filter(([name]) => name.startsWith(prefix));
  const newer = opcodes.filter(([, opcode]) => opcode > highestOfOldest).map(([name]) => name.slice(prefix.length));
  expect(newer).toContain("FTRUNCATE");
  expect(newer.filter((name) => sinceOfRequest(name) === undefined)).toEqual([]);
});

test("symbolsOf() finds the members of classes, interfaces, object types and constants, and each overload", () => {
  const comment = { summary: [{ text: "What it is." }] };
  const inPlace: Reflection = { name: "__type", kind: 65536, children: [{ name: "whole", kind: 1024, comment }] };
  const literals: Reflection = {
    name: "__type",
    kind: 65536,
    children: [
      { name: "POLLIN", kind: 1024, comment, type: { type: "literal", value: 1 } },
      { name: "POLLPRI", kind: 1024, type: { type: "literal", value: 2 } },
    ],
  };
  const frozen = { type: "reference", typeArguments: [{ type: "reflection", declaration: literals }] };
  const project: Reflection = {
    name: "bun-uring",
    kind: 1,
    children: [
      {
        name: "Probe",
        kind: 256,
        children: [{ name: "clone", kind: 1024, type: { type: "reflection", declaration: inPlace } }],
      },
      {
        name: "Ring",
        kind: 128,
        children: [
          {
            name: "stat",
            kind: 2048,
            signatures: [
              { name: "stat", kind: 4096, comment },
              { name: "stat", kind: 4096 },
            ],
          },
        ],
      },
      { name: "constants", kind: 32, comment, type: frozen },
    ],
  };
  const symbols = symbolsOf(project);
  expect(symbols.map(({ name, kind, summary }) => `${kind} ${name}: ${summary}`)).toEqual([
    "interface Probe: ",
    "property Probe.clone: ",
    "property Probe.clone.whole: What it is.",
    "class Ring: ",
    "method Ring.stat: What it is.",
    "method Ring.stat: ",
    "constant constants: What it is.",
    "constant constants.POLLIN: What it is.",
    "constant constants.POLLPRI: ",
  ]);
  expect(symbols.slice(-3).map(({ value }) => value)).toEqual([undefined, 1, 2]);
});

test("each program in a doc comment becomes an example, with the oldest Linux that can run it", () => {
  const symbol: PublicSymbol = {
    ...documented,
    summary: "Since Linux 6.9.",
    examples: ["```ts\none();\n```", "```ts\ntwo();\n```"],
  };
  expect(examplesOf([symbol, symbol])).toEqual([
    { name: "Ring.fsync", program: "one();\n", since: "6.9" },
    { name: "Ring.fsync-2", program: "two();\n", since: "6.9" },
  ]);
});

test("missing, obsolete and outdated pages are reported, and so are broken links", () => {
  using made = new Folder();
  using there = new Folder();
  made.write("same.md", "# A heading, of `code`\n");
  there.write("same.md", "# A heading, of `code`\n");
  made.write(
    "new.md",
    "[it](same.md#a-heading-of-code), [not](same.md#no), [nor](none.md), [outside](https://example.org/)\n",
  );
  made.write("changed.md", "one\n");
  there.write("changed.md", "two\n");
  there.write("old.md", "");
  expect(differencesOf(made.path, there.path)).toEqual([
    "changed.md is out of date",
    "new.md is missing",
    "old.md is obsolete",
  ]);
  expect(brokenLinksOf(made.path)).toEqual([
    "new.md links to same.md#no, which does not exist",
    "new.md links to none.md, which does not exist",
  ]);
});
