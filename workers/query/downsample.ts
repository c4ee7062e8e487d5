import { buildBatch } from "../core/batch-builder.ts";
import type { BatchReader, CellValue, ColumnReader } from "../core/codec.ts";
import type { CoreModule } from "../core/module.ts";
import type { FieldType } from "../messages.ts";

/** What a field was over the events of one minute and key. `first` and `last` are by event time, then by order. */
export interface FieldAggregate {
  count: number;
  sum: number;
  /** What adding rounded off (Neumaier). */
  rest: number;
  min: number | bigint;
  max: number | bigint;
  first: number | bigint;
  firstUs: bigint;
  last: number | bigint;
  lastUs: bigint;
}

/** Events of one minute and key. */
interface Group {
  readonly minuteUs: bigint;
  /** The key's place among the fields that may hold it, and its value; null: the constant key. */
  readonly key: { readonly field: string; readonly value: NonNullable<CellValue> } | null;
  count: number;
  fields: Map<string, FieldAggregate>;
}

/** Column of every row, true: no event has it. */
export const DOWNSAMPLED_FIELD = "downsampled";
/** How many events a row stands for. */
export const COUNT_FIELD = "count";
const STATISTICS = ["count", "sum", "min", "max", "first", "last"] as const;

/**
 * Aggregates events by minutes of event time and key: how many there were, and of each numeric field count, sum, min,
 * max, first and last. Everything else of them goes. Rows are added block by block, in the order of their seqs.
 * Cost: the cells of numeric columns, one by one; memory: the groups.
 */
export class Downsampler {
  readonly #keyFields: readonly string[];
  readonly #resolutionUs: bigint;
  readonly #groups = new Map<string, Group>();
  /** Numeric fields in the order in which they were met, and whether all of their values were whole. */
  readonly #isWhole = new Map<string, boolean>();

  constructor(keyFields: readonly string[], resolutionUs: number) {
    this.#keyFields = keyFields;
    this.#resolutionUs = BigInt(resolutionUs);
  }

  add({ rows, times, columns }: BatchReader): void {
    const byName = new Map(columns.map((column) => [column.name, column]));
    const keys = this.#keyFields.flatMap((name) => byName.get(name) ?? []);
    const numeric = columns.filter(
      ({ name, type }) => (type === "int" || type === "float") && !this.#keyFields.includes(name),
    );
    for (const { name, type } of numeric)
      this.#isWhole.set(name, (this.#isWhole.get(name) ?? true) && type === "int");
    for (let row = 0; row < rows; row++) {
      const timeUs = times[row]!;
      const group = this.#group(timeUs, keys, row);
      group.count++;
      for (const { name, valueAt } of numeric) {
        const value = valueAt(row);
        if (typeof value === "bigint" || (typeof value === "number" && !Number.isNaN(value)))
          addValue(group.fields, name, value, timeUs);
      }
    }
  }

  /** Writes the rows, ordered by minute and then by key, into a new batch of the core. */
  write(core: CoreModule): ReturnType<typeof buildBatch>["batch"] {
    const builder = buildBatch(core);
    const groups = [...this.#groups.values()].sort(compareGroups);
    const keyColumns = new Map(
      this.#keyFields.flatMap((field) => {
        const values = groups.flatMap(({ key }) => (key?.field === field ? [key.value] : []));
        if (values.length === 0) return [];
        const type = typeOfAll(values);
        return [[field, { column: builder.addColumn(field, type), type }] as const];
      }),
    );
    const mark = builder.addColumn(DOWNSAMPLED_FIELD, "bool");
    const count = builder.addColumn(COUNT_FIELD, "int");
    const fields = [...this.#isWhole].map(([name, isWhole]) => {
      const isExact = isWhole && groups.every((group) => isSafe(group.fields.get(name)));
      const columns = STATISTICS.map((statistic) => {
        const type = statistic === "count" || (isWhole && (statistic !== "sum" || isExact)) ? "int" : "float";
        return { statistic, type, column: builder.addColumn(`${name}.${statistic}`, type) } as const;
      });
      return { name, columns };
    });
    const set = (column: number, row: number, type: FieldType, value: NonNullable<CellValue>): void => {
      if (type === "string") builder.setText(column, row, String(value));
      else if (type === "bool") builder.setBool(column, row, value === true);
      else if (type === "int") builder.setInt(column, row, BigInt(value));
      else builder.setFloat(column, row, Number(value));
    };
    for (const group of groups) {
      const row = builder.addRow(group.minuteUs, 0);
      const key = group.key === null ? undefined : keyColumns.get(group.key.field);
      if (group.key !== null && key !== undefined) set(key.column, row, key.type, group.key.value);
      builder.setBool(mark, row, true);
      builder.setInt(count, row, BigInt(group.count));
      for (const { name, columns } of fields) {
        const aggregate = group.fields.get(name);
        if (aggregate === undefined) continue;
        for (const { statistic, type, column } of columns)
          set(column, row, type, statistic === "sum" ? aggregate.sum + aggregate.rest : aggregate[statistic]);
      }
    }
    return builder.batch;
  }

  #group(timeUs: bigint, keys: readonly ColumnReader[], row: number): Group {
    const minuteUs = floorTo(timeUs, this.#resolutionUs);
    let key: Group["key"] = null;
    for (const { name, valueAt } of keys) {
      const value = valueAt(row);
      if (value === null) continue;
      key = { field: name, value };
      break;
    }
    const name = key === null ? `${minuteUs}` : `${minuteUs} ${key.field} ${typeof key.value} ${key.value}`;
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { minuteUs, key, count: 0, fields: new Map() };
      this.#groups.set(name, group);
    }
    return group;
  }
}

function addValue(
  fields: Map<string, FieldAggregate>,
  name: string,
  value: number | bigint,
  timeUs: bigint,
): void {
  const known = fields.get(name);
  if (known === undefined) {
    const same = { min: value, max: value, first: value, last: value, firstUs: timeUs, lastUs: timeUs };
    fields.set(name, { count: 1, sum: Number(value), rest: 0, ...same });
    return;
  }
  known.count++;
  addExactly(known, Number(value));
  if (value < known.min) known.min = value;
  if (value > known.max) known.max = value;
  if (timeUs < known.firstUs) {
    known.first = value;
    known.firstUs = timeUs;
  }
  if (timeUs >= known.lastUs) {
    known.last = value;
    known.lastUs = timeUs;
  }
}

/** Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen" (1974). */
function addExactly(into: FieldAggregate, value: number): void {
  const sum = into.sum + value;
  into.rest += Math.abs(into.sum) >= Math.abs(value) ? into.sum - sum + value : value - sum + into.sum;
  into.sum = sum;
}

function isSafe(aggregate: FieldAggregate | undefined): boolean {
  return aggregate === undefined || Number.isSafeInteger(aggregate.sum + aggregate.rest);
}

function floorTo(timeUs: bigint, unitUs: bigint): bigint {
  const rest = timeUs % unitUs;
  return timeUs - (rest < 0n ? rest + unitUs : rest);
}

/** The narrowest type that takes all of them. */
function typeOfAll(values: readonly NonNullable<CellValue>[]): FieldType {
  const types = new Set(values.map((value) => typeof value));
  if (types.has("string") || (types.has("boolean") && types.size > 1)) return "string";
  if (types.has("boolean")) return "bool";
  return values.every((value) => typeof value === "bigint" || Number.isSafeInteger(value)) ? "int" : "float";
}

function compareGroups(a: Group, b: Group): number {
  if (a.minuteUs !== b.minuteUs) return a.minuteUs < b.minuteUs ? -1 : 1;
  const [left, right] = [a.key, b.key].map((key) => (key === null ? "" : `${key.field} ${key.value}`));
  return left! < right! ? -1 : left! > right! ? 1 : 0;
}
