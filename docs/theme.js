// How the pages of docs/api look: TypeDoc's Markdown theme, without the headings that say nothing, and with all constants in one table.
import { readFileSync } from "node:fs";
import { IntersectionType, ReflectionKind, ReflectionType } from "typedoc";
import { MarkdownTheme, MarkdownThemeContext } from "typedoc-plugin-markdown";

const constantsSource = new URL("../lib/uring/uapi.ts", import.meta.url);

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

/** The constants' sections, by the comments that head them in the source. */
function sectionsOfConstants() {
  const sections = [];
  for (const line of readFileSync(constantsSource, "utf8").split("\n")) {
    const [, title] = /^\/\/ (.+)$/.exec(line) ?? [];
    const [, name] = /^export const (\w+)/.exec(line) ?? [];
    if (title !== undefined) sections.push({ title, names: [] });
    else if (name !== undefined) sections.at(-1).names.push(name);
  }
  return sections;
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
          const tagged = (name) => model.blockTags.filter(({ tag }) => tag === name).map(({ content }) => parts(content));
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
        const parameters = new Map(model.signatures.flatMap((signature) => signature.parameters ?? []).map((parameter) => [parameter.name, parameter]));
        const whole = Object.assign(Object.create(first), { parameters: [...parameters.values()], type: model.signatures.at(-1).type });
        return [...model.signatures.map((signature) => this.partials.signatureTitle(signature)), this.partials.signature(whole, { hideTitle: true })].join("\n\n");
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
          const members = parts.flatMap((part) => (part instanceof ReflectionType ? (part.declaration.children ?? []) : []));
          return [row(parameter.name, parameter), ...members.map((member) => row(`${parameter.name}.${member.name}`, member))];
        });
        return ["| Parameter | Type | Description |", "| --- | --- | --- |", ...rows].join("\n");
      },

      accessor: (model) => {
        const { getSignature } = model;
        return [partials.signatureTitle(getSignature, { accessor: "get" }), getSignature.comment ? this.partials.comment(getSignature.comment) : ""].join("\n\n");
      },

      // The code block says the type: here are its parts that have a page, and what is told of it.
      signatureReturns: (model) => {
        const told = model.comment?.getTag("@returns");
        const type = this.partials.someType(model.type);
        if (told === undefined && !type.includes("](")) return "";
        return `**Returns** ${[type.includes("](") ? type : "", told === undefined ? "" : parts(told.content)].filter((text) => text !== "").join(": ")}`;
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

      groupIndex: (group) => partials.groupIndex({ ...group, children: group.children.toSorted((a, b) => (a.name < b.name ? -1 : 1)) }),

      // Interfaces of the language and of Node that are implemented or overridden tell nothing.
      inheritance: () => "",
      hierarchy: () => "",

      memberWithGroups: (model, options) => {
        if (model.kindOf(ReflectionKind.Module)) return this.#constants(model);
        // That a class can be used with `using` its methods show.
        return partials.memberWithGroups(Object.assign(Object.create(model), { implementedTypes: undefined, typeHierarchy: undefined }), options);
      },
    };
  }

  /** One table for each section. */
  #constants(model) {
    const constants = new Map(model.children.map((child) => [child.name, child]));
    const md = [this.partials.comment(model.comment)];
    for (const { title, names } of sectionsOfConstants()) {
      md.push(`## ${title}`, ["| Name | Value | What it is |", "| --- | --- | --- |", ...names.map((name) => this.#row(constants.get(name)))].join("\n"));
    }
    return md.join("\n\n");
  }

  #row(constant) {
    const value = constant.defaultValue ?? String(constant.type.value);
    return `| <a id="${constant.name.toLowerCase()}"></a>\`${constant.name}\` | ${value} | ${this.partials.comment(constant.comment, { isTableColumn: true })} |`;
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
  application.internationalization.addTranslations("en", { kind_plural_module: "Constants", kind_module: "Page" });
  application.renderer.defineTheme("bun-uring", Theme);
}
