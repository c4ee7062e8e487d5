import type { FieldType } from "../../../workers/messages.ts";

/**
 * What is known of a value before there is one. `any`: a field that is not declared, whose kind shows at run time.
 * Every kind has null. Int and float are one kind.
 */
export type Kind = "number" | "bool" | "string" | "null" | "any";

export const KIND_OF: Readonly<Record<FieldType, Kind>> = {
  bool: "bool",
  int: "number",
  float: "number",
  string: "string",
};

/** The type of a column of that kind, or null when it is not known. */
export function typeOfKind(kind: Kind): FieldType | null {
  if (kind === "number") return "float";
  return kind === "bool" || kind === "string" ? kind : null;
}

const WORDS: Readonly<Record<Kind, string>> = {
  number: "a number",
  bool: "true or false",
  string: "a text",
  null: "null",
  any: "of any kind",
};

/** As messages say it. */
export function describeKind(kind: Kind): string {
  return WORDS[kind];
}

/** Whether a value of that kind may stand where `wanted` is asked for. */
export function fits(kind: Kind, wanted: Kind): boolean {
  return kind === wanted || kind === "any" || kind === "null" || wanted === "any";
}

/** The kind of both, or null when they have none in common. */
export function commonKind(a: Kind, b: Kind): Kind | null {
  if (a === b || b === "null") return a;
  if (a === "null") return b;
  if (a === "any") return b;
  return b === "any" ? a : null;
}
