/** The hand-written documents, and the code blocks in them. */
import { existsSync, readdirSync, readFileSync } from "node:fs";

export const root = new URL("../../", import.meta.url).pathname;

/** A code block: the text between its fences. */
export interface Block {
  readonly document: string;
  readonly line: number;
  readonly language: string;
  readonly text: string;
  /** The heading above it. */
  readonly heading: string;
}

const others = ["ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

/** Whether all documents are present: the package has only the README. */
export const hasAllDocuments = [...others, "docs"].every((name) => existsSync(`${root}${name}`));

/** Paths of the documents from the root. Generated documents, which are in folders of docs, are not included. */
export const documents: readonly string[] = [
  "README.md",
  ...(hasAllDocuments
    ? [...others, ...readdirSync(`${root}docs`).flatMap((name) => (name.endsWith(".md") ? `docs/${name}` : []))]
    : []),
];

export function textOf(document: string): string {
  return readFileSync(`${root}${document}`, "utf8");
}

/** A document's blocks, in order. */
export function blocksOf(document: string): Block[] {
  const blocks: Block[] = [];
  let heading = "";
  let open:
    | { readonly line: number; readonly language: string; readonly indent: string; readonly lines: string[] }
    | undefined;
  for (const [index, line] of textOf(document).split("\n").entries()) {
    if (open === undefined) {
      heading = /^#+ (.*)$/.exec(line)?.[1] ?? heading;
      const [, indent = "", language] = /^( *)```(.*)$/.exec(line) ?? [];
      if (language !== undefined) open = { line: index + 1, language, indent, lines: [] };
    } else if (line === `${open.indent}\`\`\``) {
      blocks.push({
        document,
        line: open.line,
        language: open.language,
        text: open.lines.map((one) => `${one}\n`).join(""),
        heading,
      });
      open = undefined;
    } else {
      open.lines.push(line.startsWith(open.indent) ? line.slice(open.indent.length) : line);
    }
  }
  if (open !== undefined) throw new Error(`${document}:${open.line}: a block without an end`);
  return blocks;
}

/** The links of a document and their texts, without links to the web and without those in code blocks. */
export function linksOf(
  document: string,
): { readonly text: string; readonly path: string; readonly anchor: string | undefined }[] {
  const prose = textOf(document).replaceAll(/^ *```.*?^ *```$/gms, "");
  return Array.from(prose.matchAll(/\[([^\]]*)\]\(([^)\s]*)\)/g), ([, text = "", target = ""]) => {
    const [path = "", anchor] = target.split("#");
    return { text, path, anchor };
  }).filter(({ path }) => !/^[a-z]+:/.test(path));
}

/** The anchors that GitHub makes from headings, and the explicit ones. */
export function anchorsOf(text: string): Set<string> {
  const headings = Array.from(text.matchAll(/^#+ (.+)$/gm), ([, heading = ""]) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
  const written = Array.from(text.matchAll(/<a id="([^"]+)">/g), ([, anchor = ""]) => anchor);
  return new Set([...headings, ...written]);
}
