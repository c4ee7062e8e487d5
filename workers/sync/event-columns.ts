import type { CellValue, ColumnKind } from "../core/codec.ts";
import { type EventRows, valueJson } from "../query/event-json.ts";
import type { ParquetColumn, ParquetType } from "./parquet-table.ts";

const EXTRA = "extra";
const EDGE = "edge";

/** Of two types of one field, the one that values of both are given in. */
const WIDTH: Readonly<Record<ColumnKind, number>> = { null: 0, bool: 1, int: 2, float: 3, string: 4, raw: 5 };
const TYPES: Readonly<Record<ColumnKind, ParquetType>> = {
  null: "string",
  bool: "bool",
  int: "int",
  float: "float",
  string: "string",
  raw: "json",
};

/**
 * The events of a stream as columns: the time, the fields, what else they have as JSON, and the edge. A field has the
 * widest type it has in the batch; a value that is not of it stands in `extra`, so that nothing is lost.
 */
export class EventColumns {
  readonly #edge: string;
  readonly #timeField: string;
  readonly #types = new Map<string, ColumnKind>();
  #columns: readonly ParquetColumn[] = [];
  #data: unknown[][] = [];

  constructor(edge: string, timeField: string) {
    this.#edge = edge;
    this.#timeField = timeField;
  }

  /** All blocks are shown once, before the first is added: the columns must be known. */
  learn({ columns }: EventRows): void {
    for (const { name, type } of columns) {
      if (name === this.#timeField || type === "null") continue;
      const known = this.#types.get(name) ?? "null";
      this.#types.set(name, WIDTH[type] > WIDTH[known] ? type : known);
    }
  }

  add(rows: EventRows, count: number): void {
    if (this.#data.length === 0) this.#begin();
    const places = new Map(this.#columns.map(({ name }, at) => [name, at]));
    const plan = rows.columns.flatMap(({ name, type, valueAt }) =>
      name === this.#timeField || type === "null" ? [] : [{ name, at: places.get(name)!, valueAt }],
    );
    const [extraAt, edgeAt] = [this.#columns.length - 2, this.#columns.length - 1];
    const used = new Set(plan.map(({ at }) => at));
    const unused = this.#columns.flatMap((_, at) => (at === 0 || at >= extraAt || used.has(at) ? [] : [at]));
    for (let row = 0; row < count; row++) {
      this.#data[0]!.push(rows.times[row]!);
      const misfits: string[] = [];
      for (const { name, at, valueAt } of plan) {
        const value = valueAt(row);
        const fitting = value === null ? null : fit(this.#columns[at]!.type, value);
        if (fitting === undefined) misfits.push(`${JSON.stringify(name)}:${valueJson(value!)}`);
        this.#data[at]!.push(fitting ?? null);
      }
      for (const at of unused) this.#data[at]!.push(null);
      this.#data[extraAt]!.push(withMembers(rows.extraAt(row), misfits));
      this.#data[edgeAt]!.push(this.#edge);
    }
  }

  end(): { readonly columns: readonly ParquetColumn[]; readonly data: readonly unknown[][] } {
    return { columns: this.#columns, data: this.#data };
  }

  #begin(): void {
    const fields = [...this.#types].map(([name, type]) => ({ name, type: TYPES[type] }));
    const taken = new Set([this.#timeField, ...fields.map(({ name }) => name)]);
    const free = (name: string): string => (taken.has(name) ? free(`_${name}`) : name);
    this.#columns = [
      { name: this.#timeField, type: "time" },
      ...fields,
      { name: free(EXTRA), type: "json" },
      { name: free(EDGE), type: "string" },
    ];
    this.#data = this.#columns.map(() => []);
  }
}

/** The value as a column of the type takes it; undefined where it is none. */
function fit(type: ParquetType, value: NonNullable<CellValue>): unknown {
  switch (type) {
    case "int":
      if (typeof value === "bigint") return value;
      return typeof value === "number" && Number.isSafeInteger(value) && !Object.is(value, -0)
        ? BigInt(value)
        : undefined;
    case "float":
      return typeof value === "number" ? value : undefined;
    case "bool":
      return typeof value === "boolean" ? value : undefined;
    case "json":
      return valueJson(value);
    default:
      return typeof value === "string" ? value : undefined;
  }
}

function withMembers(extra: string | null, members: readonly string[]): string | null {
  if (members.length === 0) return extra;
  const more = members.join(",");
  return extra === null || extra === "{}" ? `{${more}}` : `${extra.slice(0, -1)},${more}}`;
}
