import { expect, test } from "bun:test";
import { examplesOf } from "./api-reference/examples.ts";
import { lackingIn } from "./api-reference/lacking.ts";
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
  untold: [],
  value: undefined,
};

function lacking(part: Partial<PublicSymbol>, others: readonly PublicSymbol[] = []): string[] {
  return lackingIn([{ ...documented, ...part }, ...others]);
}

test("a method that has a summary, errors, an example, a manual's page and its parameters lacks nothing", () => {
  expect(lacking({})).toEqual([]);
  expect(lacking({ untold: ["options"] })).toEqual([]);
});

test("whatever of that a public name is without is said", () => {
  expect(lacking({ summary: " " })).toEqual(["Ring.fsync lacks a summary"]);
  expect(lacking({ throws: [] })).toEqual(["Ring.fsync lacks @throws"]);
  expect(lacking({ examples: [] })).toEqual(["Ring.fsync lacks an @example"]);
  expect(lacking({ see: [] })).toEqual(["Ring.fsync lacks @see with the manual's page"]);
  expect(lacking({ untold: ["file"] })).toEqual(["Ring.fsync lacks @param file"]);
  expect(lacking({ name: "Ring", kind: "class", examples: [] })).toEqual(["Ring lacks an @example"]);
  expect(lacking({ name: "Ring.constructor", kind: "constructor", throws: [] })).toEqual(["Ring.constructor lacks @throws"]);
  expect(lacking({ name: "RingStats.waiting", kind: "property", summary: "", examples: [] })).toEqual(["RingStats.waiting lacks a summary"]);
});

test("what is newer than the oldest supported Linux has to say since when: constants, and the operations that use them", () => {
  const constant = { kind: "constant", summary: "Cuts a file off.", throws: [], examples: [], see: [] } as const;
  const opcode: PublicSymbol = { ...documented, ...constant, name: "IORING_OP_FTRUNCATE", value: 55 };
  expect(lackingIn([opcode])).toEqual(["IORING_OP_FTRUNCATE lacks since which Linux it is"]);
  expect(lacking({ ...constant, name: "IORING_OP_SENDMSG_ZC", value: 48 })).toEqual([]);
  expect(lacking({ ...constant, name: "IORING_REGISTER_PBUF_STATUS", value: 26 })).toHaveLength(1);
  const told = { ...opcode, summary: "Cuts a file off. Since Linux 6.9." };
  expect(lackingIn([told])).toEqual([]);
  expect(lacking({ see: ["io_uring_prep_ftruncate(3)"] }, [told])).toEqual(["Ring.fsync lacks since which Linux it is, 6.9"]);
  expect(lacking({ see: ["io_uring_prep_ftruncate(3)"], summary: "Cuts it off. Since Linux 6.9." }, [told])).toEqual([]);
});

test("members of classes, of interfaces and of objects described in place are found, overloads each", () => {
  const comment = { summary: [{ text: "What it is." }] };
  const inPlace: Reflection = { name: "__type", kind: 65536, children: [{ name: "whole", kind: 1024, comment }] };
  const project: Reflection = {
    name: "bun-uring",
    kind: 1,
    children: [
      { name: "Probe", kind: 256, children: [{ name: "clone", kind: 1024, type: { type: "reflection", declaration: inPlace } }] },
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
      { name: "constants", kind: 2, children: [{ name: "IORING_OP_NOP", kind: 32, comment, type: { type: "literal", value: 0 } }] },
    ],
  };
  const found = symbolsOf(project).map(({ name, kind, summary }) => `${kind} ${name}: ${summary}`);
  expect(found).toEqual([
    "interface Probe: ",
    "property Probe.clone: ",
    "property Probe.clone.whole: What it is.",
    "class Ring: ",
    "method Ring.stat: What it is.",
    "method Ring.stat: ",
    "constant IORING_OP_NOP: What it is.",
  ]);
});

test("an example is each of a comment's programs, and runs only on the Linux that has what it shows", () => {
  const symbol: PublicSymbol = { ...documented, summary: "Since Linux 6.9.", examples: ["```ts\none();\n```", "```ts\ntwo();\n```"] };
  expect(examplesOf([symbol, symbol])).toEqual([
    { name: "Ring.fsync", program: "one();\n", since: "6.9" },
    { name: "Ring.fsync-2", program: "two();\n", since: "6.9" },
  ]);
});

test("pages that are missing, too many, or otherwise, and links that lead nowhere are named", () => {
  using made = new Folder();
  using there = new Folder();
  made.write("same.md", "# A heading, of `code`\n");
  there.write("same.md", "# A heading, of `code`\n");
  made.write("new.md", "[it](same.md#a-heading-of-code), [not](same.md#no), [nor](none.md), [outside](https://example.org/)\n");
  made.write("changed.md", "one\n");
  there.write("changed.md", "two\n");
  there.write("old.md", "");
  expect(differencesOf(made.path, there.path)).toEqual(["changed.md would be made otherwise", "new.md is missing", "old.md is there, and would not be made"]);
  expect(brokenLinksOf(made.path)).toEqual(["new.md links to same.md#no, which is not there", "new.md links to none.md, which is not there"]);
});
