import { MillraceError } from "../../workers/errors.ts";
import { type Member, splitObject } from "../../workers/query/json-members.ts";
import { parseTime } from "../api/times.ts";
import type { NodeClient } from "./client.ts";

/** How a column's values come: times as µs (bigint), ints as bigint, json as text. */
export type ColumnType = "time" | "int" | "float" | "bool" | "string" | "json";

export interface ExportColumn {
  readonly name: string;
  readonly type: ColumnType;
}

/** Lines of a list as rows of a table. */
export interface ExportRows {
  readonly columns: readonly ExportColumn[];
  /** The values of a line, in the order of the columns; null where it has none. */
  read(line: string): unknown[];
}

const EXTRA = "extra";

/** A stream's events: the time, the fields of its schema as wide as they have become, and all else as JSON text. */
export async function eventRows(client: NodeClient, stream: string): Promise<ExportRows> {
  type FieldType = "bool" | "int" | "float" | "string";
  const { schema, timeField } = (await client.json(`/v1/streams/${encodeURIComponent(stream)}`)) as {
    schema: Readonly<Record<string, FieldType>>;
    timeField: string;
  };
  const fields = Object.entries(schema)
    .filter(([name]) => name !== timeField)
    .map(([name, type]) => ({ name, type }));
  const taken = new Set([timeField, ...fields.map(({ name }) => name)]);
  let extra = EXTRA;
  while (taken.has(extra)) extra = `_${extra}`;
  const columns: ExportColumn[] = [
    { name: timeField, type: "time" },
    ...fields,
    { name: extra, type: "json" },
  ];
  const places = new Map(columns.slice(0, -1).map(({ name }, at) => [name, at]));
  return {
    columns,
    read: (line) => {
      const values: unknown[] = columns.map(() => null);
      const rest: string[] = [];
      visit(membersOf(line), "", places, (path, text) => {
        const at = places.get(path);
        const value = at === undefined ? undefined : readValue(columns[at]!.type, text);
        if (at === undefined || value === undefined) rest.push(`${JSON.stringify(path)}:${text}`);
        else values[at] = value;
      });
      if (rest.length > 0) values[columns.length - 1] = `{${rest.join(",")}}`;
      return values;
    },
  };
}

/** A query's results: the window, the key's fields, the values, revision and kind. `lines` gives all of them, any number of times. */
export async function resultRows(
  client: NodeClient,
  query: string,
  lines: () => AsyncIterable<string>,
): Promise<ExportRows> {
  const { select } = (await client.json(`/v1/queries/${encodeURIComponent(query)}`)) as { select?: unknown };
  const counts = countsOf(select);
  const types = new Map<string, ColumnType>();
  for await (const line of lines()) {
    for (const { path, text } of resultMembers(line)) {
      const type = typeOf(text, counts.has(path));
      if (type === null) continue;
      const known = types.get(path);
      types.set(path, known === undefined || known === type ? type : "json");
    }
  }
  const columns: ExportColumn[] = [
    { name: "window.start", type: "time" },
    { name: "window.end", type: "time" },
    ...[...types.keys()]
      .sort((a, b) => Number(b.startsWith("key.")) - Number(a.startsWith("key.")))
      .map((name) => ({ name, type: types.get(name)! })),
    { name: "revision", type: "int" },
    { name: "kind", type: "string" },
  ];
  const places = new Map(columns.map(({ name }, at) => [name, at]));
  return {
    columns,
    read: (line) => {
      const values: unknown[] = columns.map(() => null);
      for (const { name, value } of membersOf(line)) {
        if (name === "window") {
          for (const bound of membersOf(value))
            values[places.get(`window.${bound.name}`)!] = readValue("time", bound.value);
        } else if (name === "revision" || name === "kind") {
          const at = places.get(name)!;
          values[at] = readValue(columns[at]!.type, value);
        }
      }
      for (const { path, text } of resultMembers(line)) {
        const at = places.get(path);
        if (at !== undefined) values[at] = readValue(columns[at]!.type, text) ?? null;
      }
      return values;
    },
  };
}

function membersOf(text: string): readonly Member[] {
  const members = splitObject(text);
  if (members !== null) return members;
  throw new MillraceError("E_EXPORT_ROW", `this is no JSON object: ${text.slice(0, 200)}`);
}

/** The members of `key` and `values`, under those names. */
function resultMembers(line: string): { readonly path: string; readonly text: string }[] {
  return membersOf(line).flatMap(({ name, value }) =>
    name === "key" || name === "values"
      ? membersOf(value).map((member) => ({ path: `${name}.${member.name}`, text: member.value }))
      : [],
  );
}

/** Leaves by their dot paths; objects that hold no known field are leaves. */
function visit(
  members: readonly Member[],
  prefix: string,
  places: ReadonlyMap<string, number>,
  leaf: (path: string, text: string) => void,
): void {
  for (const { name, value } of members) {
    const path = prefix + name;
    const isParent = value.startsWith("{") && !places.has(path) && holdsField(path, places);
    const inner = isParent ? splitObject(value) : null;
    if (inner === null) leaf(path, value);
    else visit(inner, `${path}.`, places, leaf);
  }
}

function holdsField(path: string, places: ReadonlyMap<string, number>): boolean {
  for (const name of places.keys()) if (name.startsWith(`${path}.`)) return true;
  return false;
}

/** undefined: the text is no value of that type. */
function readValue(type: ColumnType, text: string): unknown {
  if (type === "json") return text;
  if (text === "null") return null;
  switch (type) {
    case "time": {
      const us = text.startsWith('"') ? exactTime(JSON.parse(text) as string) : null;
      return us ?? undefined;
    }
    case "int":
      return /^-?\d+$/.test(text) && BigInt.asIntN(64, BigInt(text)) === BigInt(text)
        ? BigInt(text)
        : undefined;
    case "float":
      return /^[-\d]/.test(text) ? Number(text) : undefined;
    case "bool":
      return text === "true" ? true : text === "false" ? false : undefined;
    case "string":
      return text.startsWith('"') ? (JSON.parse(text) as string) : undefined;
  }
}

/** µs; exact beyond 2255 too, where a number is not. */
function exactTime(text: string): bigint | null {
  const [, second = "", fraction = ""] = /^(.*?)(?:\.(\d+))?Z$/.exec(text) ?? [];
  const us = parseTime(`${second}Z`);
  const ms = us === null ? Date.parse(`${second}Z`) : us / 1_000;
  return Number.isNaN(ms) ? null : BigInt(ms) * 1_000n + BigInt(fraction.slice(0, 6).padEnd(6, "0"));
}

function typeOf(text: string, isCount: boolean): ColumnType | null {
  if (text === "null") return null;
  if (text === "true" || text === "false") return "bool";
  if (text.startsWith('"')) return "string";
  if (text.startsWith("{") || text.startsWith("[")) return "json";
  return isCount && /^-?\d+$/.test(text) ? "int" : "float";
}

/** Values that are whole numbers by what they are. */
function countsOf(select: unknown): ReadonlySet<string> {
  const counts = new Set(["values.count"]);
  if (!Array.isArray(select)) return counts;
  for (const { name, fn } of select as readonly { readonly name: string; readonly fn: string }[])
    if (fn === "count" || fn === "distinct") counts.add(`values.${name}`);
  return counts;
}
