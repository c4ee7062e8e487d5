import type { StreamConfig } from "../config.ts";
import { nearest } from "../suggest.ts";
import type { Graph, Value } from "./graph.ts";
import { KIND_OF } from "./kinds.ts";
import type { Resolution, Scope, TableColumns } from "./scope.ts";

/**
 * The names that `where` and `derive` may use, nearest first: what was derived before, the stream's time fields (the event
 * time), columns of tables, and the fields of events.
 */
export class RowScope implements Scope {
  readonly #stream: StreamConfig;
  readonly #tables: ReadonlyMap<string, TableColumns>;
  readonly #derived = new Map<string, Value>();

  constructor(stream: StreamConfig, tables: ReadonlyMap<string, TableColumns>) {
    this.#stream = stream;
    this.#tables = tables;
  }

  /** Makes a derived column known to the expressions that follow. */
  derive(name: string, value: Value): void {
    this.#derived.set(name, value);
  }

  resolve(name: string, graph: Graph): Resolution {
    const derived = this.#derived.get(name);
    if (derived !== undefined) return { ok: true, value: derived };
    if (this.#stream.time.fields.includes(name)) return { ok: true, value: this.eventTime(graph) };
    const dot = name.indexOf(".");
    const table = dot < 0 ? undefined : this.#tables.get(name.slice(0, dot));
    if (table !== undefined) return this.#cell(name.slice(0, dot), table, name.slice(dot + 1), graph);
    return this.#field(name, graph);
  }

  eventTime(graph: Graph): Value {
    return graph.step("eventTime", [], "number");
  }

  #field(name: string, graph: Graph): Resolution {
    const { fields, key, name: stream } = this.#stream;
    const declared = fields?.find((field) => field.name === name);
    if (declared !== undefined) return { ok: true, value: graph.column(name, KIND_OF[declared.type]) };
    // Of undeclared fields beside declared ones only the key is a column.
    if (fields === null || key.fields.includes(name)) return { ok: true, value: graph.column(name, "any") };
    const known = [...fields.map((field) => field.name), ...this.#derived.keys(), ...this.#tables.keys()];
    const hint = nearest(name, known);
    const fix = hint === null ? `declare it under streams.${stream}.fields` : `did you mean \`${hint}\`?`;
    return { ok: false, message: `stream ${stream} has no field ${name}`, fix };
  }

  #cell(name: string, table: TableColumns, column: string, graph: Graph): Resolution {
    const found = table.columns?.find((candidate) => candidate.name === column);
    if (found === undefined && table.columns !== null) {
      const names = table.columns.map((candidate) => candidate.name);
      const hint = nearest(column, names);
      const fix = hint === null ? `it has ${names.join(", ")}` : `did you mean \`${name}.${hint}\`?`;
      return { ok: false, message: `table ${name} has no column ${column}`, fix };
    }
    const keys = table.on.map((field) => this.resolve(field, graph));
    const values = keys.flatMap((key) => (key.ok ? [key.value] : []));
    const [first, ...others] = values;
    if (first === undefined)
      return keys[0] ?? { ok: false, message: `table ${name} has no on`, fix: "add it" };
    const key = others.reduce((chosen, other) => graph.step("coalesce", [chosen, other], "any"), first);
    const number = graph.tableNumber(name);
    const row = graph.step("tableRow", [key], "number", { source: number });
    const cell = graph.cellNumber(number, column);
    const kind = found?.kind ?? "any";
    return { ok: true, value: graph.step("tableCell", [row], kind, { source: number, cell }) };
  }
}
