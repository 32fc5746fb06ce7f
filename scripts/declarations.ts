/** Reduces the declarations that tsc makes to what the public names need. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

/** One declaration, with its doc comment. */
interface Statement {
  readonly text: string;
  readonly name: string | undefined;
  readonly isImport: boolean;
  /** All words in it, which include the identifiers. */
  readonly words: ReadonlySet<string>;
}

const starts = "(?:import|export|declare|type|interface)\\b";
const comment = "/\\*\\*(?:(?!\\*/)[\\s\\S])*\\*/";
const statement = new RegExp(`^(?:${comment}\\n)?${starts}[\\s\\S]*?(?=^(?:/\\*\\*|${starts})|(?![\\s\\S]))`, "gm");

function statementOf(text: string): Statement {
  const code = text.replaceAll(new RegExp(comment, "g"), "");
  const isImport = code.trimStart().startsWith("import");
  return {
    text,
    isImport,
    name: /\b(?:class|interface|type|const|let|function) (\w+)/.exec(code)?.[1],
    words: new Set(code.match(/\w+/g)),
  };
}

/** The declarations of a module, and which of them are needed. */
class Declarations {
  readonly wanted = new Set<Statement>();
  readonly statements: readonly Statement[];
  /** By local name: the module that it is imported from, and its name there; "*" is the whole module. */
  readonly imports = new Map<string, { module: string; name: string }>();
  readonly path: string;

  constructor(path: string) {
    this.path = path;
    const text = readFileSync(path, "utf8");
    this.statements = Array.from(text.matchAll(statement), ([one]) => statementOf(one)).filter(
      ({ isImport }) => !isImport,
    );
    for (const [, whole, names = "", module = ""] of text.matchAll(
      /^import (?:type )?(?:\* as (\w+)|\{([^}]*)\}) from "([^"]*)";$/gm,
    )) {
      if (whole !== undefined) this.imports.set(whole, { module, name: "*" });
      for (const [, name = "", local = name] of names.matchAll(/(?:type )?(\w+)(?: as (\w+))?/g))
        this.imports.set(local, { module, name });
    }
  }

  text(): string {
    const kept = this.statements.filter((one) => this.wanted.has(one));
    const used = Array.from(this.imports).filter(([local]) => kept.some(({ words }) => words.has(local)));
    const lines = used.map(([local, { module, name }]) =>
      name === "*"
        ? `import type * as ${local} from "${module}";\n`
        : `import type { ${name}${name === local ? "" : ` as ${local}`} } from "${module}";\n`,
    );
    // Without an `export {}` TypeScript would export everything that the module declares.
    const end = kept.some(({ text }) => text.startsWith("export {}")) ? "" : "export {};\n";
    return (lines.join("") + kept.map(({ text }) => text).join("") + end).replaceAll(
      /(["'])(\.{1,2}\/[\w/-]+)\.ts\1/g,
      '"$2.js"',
    );
  }
}

/** Keeps in `folder` only the declarations that can be reached from the exports of its index.d.ts. */
export function prune(folder: string): void {
  const modules = new Map<string, Declarations>();
  /** The module that the module at `from` imports by this specifier. */
  const moduleAt = (specifier: string, from = join(folder, "index.d.ts")) => {
    const path = join(dirname(from), specifier.replace(/\.ts$/, ".d.ts"));
    const module = modules.get(path) ?? new Declarations(path);
    modules.set(path, module);
    return module;
  };
  const want = (module: Declarations, name: string) => {
    for (const one of module.statements)
      if ((name === "*" || one.name === name) && !module.wanted.has(one)) take(module, one);
  };
  const take = (module: Declarations, one: Statement) => {
    module.wanted.add(one);
    for (const word of one.words) {
      want(module, word);
      const from = module.imports.get(word);
      if (from === undefined || !from.module.startsWith(".")) continue;
      const other = moduleAt(from.module, module.path);
      if (from.name !== "*") want(other, from.name);
      else for (const [, name = ""] of one.text.matchAll(new RegExp(`\\b${word}\\.(\\w+)`, "g"))) want(other, name);
    }
    for (const [, specifier = "", name = ""] of one.text.matchAll(/import\("(\.{1,2}\/[\w/-]+\.ts)"\)\.(\w+)/g))
      want(moduleAt(specifier, module.path), name);
  };
  const index = moduleAt("./index.ts");
  for (const one of index.statements) {
    index.wanted.add(one);
    if (one.text.startsWith("export {}")) continue;
    const [, names = "*", specifier = ""] =
      /^export (?:type )?(?:\*|\{([^}]*)\}) from "([^"]*)";$/m.exec(one.text) ?? [];
    for (const name of names.replaceAll("type ", "").split(",")) want(moduleAt(specifier), name.trim());
  }
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory() || entry.name.endsWith(".d.ts")) rmSync(join(folder, entry.name), { recursive: true });
  for (const module of modules.values()) {
    mkdirSync(dirname(module.path), { recursive: true });
    writeFileSync(module.path, module.text());
  }
}
