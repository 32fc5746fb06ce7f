/** Extracts the symbols of the public API, with their doc comments, from TypeDoc's JSON. */

/** TypeDoc's ReflectionKind: https://typedoc.org/api/enums/Models.ReflectionKind.html */
const kinds: Readonly<Record<number, Kind>> = {
  32: "constant",
  64: "function",
  128: "class",
  256: "interface",
  512: "constructor",
  1024: "property",
  2048: "method",
  262144: "accessor",
  2097152: "type",
};

export type Kind =
  | "constant"
  | "function"
  | "class"
  | "interface"
  | "constructor"
  | "property"
  | "method"
  | "accessor"
  | "type";

/** A public name, or one overload of it. */
export interface PublicSymbol {
  /** "Ring.readFixed", "Probe.clone.whole", "constants.POLLIN". */
  readonly name: string;
  readonly kind: Kind;
  readonly summary: string;
  readonly throws: readonly string[];
  readonly examples: readonly string[];
  readonly see: readonly string[];
  /** Names of the parameters without a description. */
  readonly undocumented: readonly string[];
  /** The value of a numeric constant. */
  readonly value: number | undefined;
}

interface Part {
  readonly text: string;
}

interface Comment {
  readonly summary: readonly Part[];
  readonly blockTags?: readonly { readonly tag: string; readonly content: readonly Part[] }[];
}

/** The part of TypeDoc's JSON that this file uses. */
export interface Reflection {
  readonly name: string;
  readonly kind: number;
  readonly comment?: Comment;
  readonly children?: readonly Reflection[];
  readonly signatures?: readonly Reflection[];
  readonly getSignature?: Reflection;
  readonly parameters?: readonly Reflection[];
  readonly type?: Type;
}

interface Type {
  readonly type: string;
  readonly value?: unknown;
  readonly declaration?: Reflection;
  readonly typeArguments?: readonly Type[];
}

function textOf(parts: readonly Part[]): string {
  return parts.map(({ text }) => text).join("");
}

function symbolOf(name: string, kind: Kind, { comment, parameters = [], type }: Reflection): PublicSymbol {
  const tagged = (wanted: string) =>
    (comment?.blockTags ?? []).filter(({ tag }) => tag === wanted).map(({ content }) => textOf(content));
  return {
    name,
    kind,
    summary: textOf(comment?.summary ?? []),
    throws: tagged("@throws"),
    examples: tagged("@example"),
    see: tagged("@see"),
    undocumented: parameters.filter((parameter) => parameter.comment === undefined).map((parameter) => parameter.name),
    value: typeof type?.value === "number" ? type.value : undefined,
  };
}

/** The members of a property's type `{ … }` or of a constant's type `Readonly<{ … }>`. */
function membersInType(kind: Kind, type: Type | undefined): readonly Reflection[] {
  if (kind === "property") return type?.declaration?.children ?? [];
  if (kind === "constant") return type?.typeArguments?.[0]?.declaration?.children ?? [];
  return [];
}

/** A declaration and, recursively, its members. The members of a constant are constants, not properties. */
export function symbolsOf(reflection: Reflection, prefix = "", kind = kinds[reflection.kind]): PublicSymbol[] {
  const { children = [], signatures, getSignature, type } = reflection;
  if (kind === undefined) return children.flatMap((child) => symbolsOf(child)); // the project or a module
  const name = `${prefix}${reflection.name}`;
  const memberKind = kind === "constant" ? kind : undefined;
  return [
    ...(signatures ?? [getSignature ?? reflection]).map((overload) => symbolOf(name, kind, overload)),
    ...children.flatMap((member) => symbolsOf(member, `${name}.`)),
    ...membersInType(kind, type).flatMap((member) => symbolsOf(member, `${name}.`, memberKind)),
  ];
}
