import type { BlockSchema, FieldType, SchemaField } from "./messages.ts";

const NUMERIC_RANK: Partial<Record<FieldType, number>> = { int: 1, float: 2 };

/** The narrowest type that holds both: int → float → string; a bool beside anything else is a string. */
export function widen(a: FieldType, b: FieldType): FieldType {
  if (a === b) return a;
  const rankA = NUMERIC_RANK[a];
  const rankB = NUMERIC_RANK[b];
  return rankA !== undefined && rankB !== undefined ? (rankA > rankB ? a : b) : "string";
}

export function fieldsOf(schema: BlockSchema): readonly SchemaField[] {
  return typeof schema === "string" ? (JSON.parse(schema) as SchemaField[]) : schema;
}

/** The schema that holds both, or `known` itself when it already does. Fields keep their order. */
export function mergeSchemas(
  known: readonly SchemaField[],
  seen: readonly SchemaField[],
): readonly SchemaField[] {
  const byName = new Map(known.map((field) => [field.name, field.type]));
  let isChanged = false;
  for (const { name, type } of seen) {
    const before = byName.get(name);
    const after = before === undefined ? type : widen(before, type);
    if (after === before) continue;
    byName.set(name, after);
    isChanged = true;
  }
  return isChanged ? [...byName].map(([name, type]) => ({ name, type })) : known;
}
