// The look of docs/api: TypeDoc's Markdown theme without redundant headings, and with tables for the constants.
import { readFileSync } from "node:fs";
import { IntersectionType, ReflectionKind, ReflectionType } from "typedoc";
import { MarkdownTheme, MarkdownThemeContext } from "typedoc-plugin-markdown";

const constantsSource = new URL("../lib/uring/constants.ts", import.meta.url);

/** Names of manual pages, as "io_uring_enter(2)", as links. */
function linkManualPages(text) {
  return text.replace(/(?<![\w`[])(\w+)\((2|3|7)\)/g, "[$1($2)](https://man.archlinux.org/man/$1.$2)");
}

/** Of a signature's parameters, in characters. */
const longestLine = 110;

function oneLine(text) {
  return text.replace(/\s*\n\s*/g, " ");
}

/** The lines of a text, in a table's cell. */
function cell(text) {
  return oneLine(text.trim()).replace(/(?<!\\)\|/g, "\\|");
}

/** The sections of `constants`: TypeDoc drops the line comments that head them, so they are read from the source. */
function sectionsOfConstants() {
  const sections = [];
  for (const line of readFileSync(constantsSource, "utf8").split("\n")) {
    const [, title] = /^ {2}\/\/ (.+)$/.exec(line) ?? [];
    const [, name] = /^ {2}(\w+):/.exec(line) ?? [];
    if (title !== undefined) sections.push({ title, names: [] });
    else if (name !== undefined) sections.at(-1)?.names.push(name);
  }
  return sections;
}

/** The members of `constants`, whose type is `Readonly<{ … }>`, by name. */
function membersOfConstants({ type }) {
  const [literal] = type.typeArguments ?? [];
  return new Map((literal?.declaration.children ?? []).map((member) => [member.name, member]));
}

class Context extends MarkdownThemeContext {
  constructor(...parameters) {
    super(...parameters);
    const { partials } = this;
    const parts = (content) => linkManualPages(this.helpers.getCommentParts(content)).trim();

    this.partials = {
      ...partials,

      comment: (model, { showSummary = true, showTags = true, isTableColumn = false } = {}) => {
        const md = [];
        if (showSummary) md.push(isTableColumn ? cell(parts(model.summary)) : parts(model.summary));
        if (showTags && !isTableColumn) {
          const tagged = (name) =>
            model.blockTags.filter(({ tag }) => tag === name).map(({ content }) => parts(content));
          const thrown = tagged("@throws");
          if (thrown.length > 0) md.push(["**Throws**", "", ...thrown.map((text) => `- ${oneLine(text)}`)].join("\n"));
          const examples = tagged("@example");
          if (examples.length > 0) md.push("**Example**", ...examples);
          const related = tagged("@see");
          if (related.length > 0) md.push(`**See** ${oneLine(related.join(", "))}`);
        }
        return md.filter((text) => text !== "").join("\n\n");
      },

      signature: (model, { accessor, hideTitle, multipleSignatures }) => {
        const comment = multipleSignatures ? model.comment : (model.comment ?? model.parent.comment);
        return [
          hideTitle ? "" : this.partials.signatureTitle(model, { accessor }),
          comment ? this.partials.comment(comment, { showTags: false }) : "",
          model.parameters?.length > 0 ? this.partials.parametersTable(model.parameters) : "",
          this.partials.signatureReturns(model),
          comment ? this.partials.comment(comment, { showSummary: false }) : "",
        ]
          .filter((text) => text !== "")
          .join("\n\n");
      },

      // Overloads have one comment: what it says comes once, below all of them.
      signatures: (model, options) => {
        const [first] = model.signatures;
        if (model.signatures.length === 1) return partials.signatures(model, options);
        const all = model.signatures.flatMap((signature) => signature.parameters ?? []);
        const parameters = [...new Map(all.map((parameter) => [parameter.name, parameter])).values()];
        const whole = Object.assign(Object.create(first), { parameters, type: model.signatures.at(-1).type });
        const titles = model.signatures.map((signature) => this.partials.signatureTitle(signature));
        return [...titles, this.partials.signature(whole, { hideTitle: true })].join("\n\n");
      },

      // The members of an object that is described in place have rows of their own.
      parametersTable: (parameters) => {
        const row = (name, { flags, defaultValue, type, comment }) => {
          const optional = flags.isOptional || defaultValue !== undefined ? "?" : "";
          const description = comment ? this.partials.comment(comment, { isTableColumn: true }) : "";
          return `| \`${name}${optional}\` | ${cell(this.partials.someType(type))} | ${description} |`;
        };
        const rows = parameters.flatMap((parameter) => {
          const parts = parameter.type instanceof IntersectionType ? parameter.type.types : [parameter.type];
          const described = parts.filter((part) => part instanceof ReflectionType);
          const members = described.flatMap(({ declaration }) => declaration.children ?? []);
          const { name } = parameter;
          return [row(name, parameter), ...members.map((member) => row(`${name}.${member.name}`, member))];
        });
        return ["| Parameter | Type | Description |", "| --- | --- | --- |", ...rows].join("\n");
      },

      accessor: (model) => {
        const { getSignature } = model;
        const comment = getSignature.comment ? this.partials.comment(getSignature.comment) : "";
        return [partials.signatureTitle(getSignature, { accessor: "get" }), comment].join("\n\n");
      },

      // The code block says the type: here are its parts that have a page, and what is told of it.
      signatureReturns: (model) => {
        const told = model.comment?.getTag("@returns");
        const type = this.partials.someType(model.type);
        const said = [type.includes("](") ? type : "", told === undefined ? "" : parts(told.content)];
        const text = said.filter((part) => part !== "").join(": ");
        return text === "" ? "" : `**Returns** ${text}`;
      },

      // Unions and objects on one line, parameters on lines of their own where one is too long.
      unionType: (model) => oneLine(partials.unionType(model).replace(/^\s*\\\| /, "")),
      declarationType: (model, given) => oneLine(partials.declarationType(model, given)),
      signatureParameters: (model) => {
        const parameters = model.map(({ name, type, flags, defaultValue }) => {
          const optional = flags.isOptional || defaultValue !== undefined ? "?" : "";
          return `${flags.isRest ? "..." : ""}${name}${optional}: ${this.partials.someType(type)}`;
        });
        const line = `(${parameters.join(", ")})`;
        return line.length <= longestLine ? line : `(\n${parameters.map((parameter) => `  ${parameter},\n`).join("")})`;
      },

      groupIndex: (group) => {
        const children = group.children.toSorted((a, b) => (a.name < b.name ? -1 : 1));
        return partials.groupIndex({ ...group, children });
      },

      // Interfaces of the language and of Node that are implemented or overridden tell nothing.
      inheritance: () => "",
      hierarchy: () => "",

      // The methods of a class show that it can be used with `using`.
      memberWithGroups: (model, options) => {
        const shown = Object.assign(Object.create(model), { implementedTypes: undefined, typeHierarchy: undefined });
        return partials.memberWithGroups(shown, options);
      },

      declaration: (model, options) => {
        const isConstants = model.kindOf(ReflectionKind.Variable) && model.name === "constants";
        return isConstants ? this.#constants(model) : partials.declaration(model, options);
      },
    };
  }

  /** The comment of `constants`, and a table for each section. */
  #constants(model) {
    const members = membersOfConstants(model);
    const sections = sectionsOfConstants();
    const names = sections.flatMap((section) => section.names);
    if (names.length === 0 || names.join() !== [...members.keys()].join()) {
      throw new Error(`The sections in ${constantsSource.pathname} do not have the members that TypeDoc has found.`);
    }
    const head = ["| Name | Value | Description |", "| --- | --- | --- |"];
    const tables = sections.map(({ title, names }) => {
      const rows = names.map((name) => this.#row(members.get(name)));
      return [`## ${title}`, [...head, ...rows].join("\n")].join("\n\n");
    });
    return [this.partials.comment(model.comment), ...tables].join("\n\n");
  }

  /** The value is as the source has it, decimal or hexadecimal. */
  #row({ name, defaultValue, comment }) {
    const description = comment ? this.partials.comment(comment, { isTableColumn: true }) : "";
    return `| <a id="${name.toLowerCase()}"></a>\`${name}\` | ${defaultValue} | ${description} |`;
  }
}

class Theme extends MarkdownTheme {
  render(page) {
    return super.render(page).replace(/[ \t]+$/gm, "");
  }

  getRenderContext(page) {
    return new Context(this, page, this.application.options);
  }
}

export function load(application) {
  // The only public variable is the object `constants`.
  const names = { kind_variable: "Object", kind_plural_variable: "Constants" };
  application.internationalization.addTranslations("en", names);
  application.renderer.defineTheme("bun-uring", Theme);
}
