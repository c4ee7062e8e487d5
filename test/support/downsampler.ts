import { buildBatch } from "../../workers/core/batch-builder.ts";
import type { BatchReader, CellValue, ColumnReader } from "../../workers/core/codec.ts";
import type { CoreModule } from "../../workers/core/module.ts";
import type { FieldType } from "../../workers/messages.ts";

/** What a field was over the events of one minute and key. `first` and `last` are by event time, then by order. */
interface FieldAggregate {
  count: number;
  sum: number;
  /** What adding rounded off (Neumaier). */
  rest: number;
  min: number | bigint;
  max: number | bigint;
  first: number | bigint;
  firstUs: number;
  last: number | bigint;
  lastUs: number;
}

/** Events of one minute and key. */
interface Group {
  readonly minuteUs: number;
  /** The key's place among the fields that may hold it, and its value; null: the constant key. */
  readonly key: { readonly field: string; readonly value: NonNullable<CellValue> } | null;
  count: number;
  /** By the field's place among the numeric ones; of some there was no value. */
  readonly fields: (FieldAggregate | undefined)[];
}

/** The groups of one minute. */
interface Minute {
  readonly fromUs: number;
  readonly untilUs: number;
  /** By the place of the field that holds the key, and by its value. */
  readonly byKey: readonly Map<NonNullable<CellValue>, Group>[];
  constant: Group | null;
}

/** A column that may hold the key, and its field's place among those. */
interface KeyColumn {
  readonly place: number;
  readonly column: ColumnReader;
}

/** Column of every row, true: no event has it. */
const DOWNSAMPLED_FIELD = "downsampled";
/** How many events a row stands for. */
const COUNT_FIELD = "count";
const STATISTICS = ["count", "sum", "min", "max", "first", "last"] as const;

/**
 * The plain way, cell by cell, for the core's downsampler (`assembly/downsample/`) to be held against.
 *
 * Aggregates events by minutes of event time and key: how many there were, and of each numeric field count, sum, min,
 * max, first and last. Everything else of them goes. Rows are added block by block, in the order of their seqs.
 * Cost: the cells of numeric columns, one by one; no text is made for an event. Memory: the groups.
 */
export class Downsampler {
  readonly #keyFields: readonly string[];
  readonly #resolutionUs: number;
  readonly #minutes = new Map<number, Minute>();
  readonly #groups: Group[] = [];
  /** Numeric fields in the order in which they were met, which is their place, and whether all of their values were whole. */
  readonly #numeric = new Map<string, { readonly place: number; isWhole: boolean }>();

  constructor(keyFields: readonly string[], resolutionUs: number) {
    this.#keyFields = keyFields;
    this.#resolutionUs = resolutionUs;
  }

  add({ rows, times, columns }: BatchReader): void {
    const byName = new Map(columns.map((column) => [column.name, column]));
    const keys = this.#keyFields.flatMap((name, place): KeyColumn[] => {
      const column = byName.get(name);
      return column === undefined ? [] : [{ place, column }];
    });
    const numeric = columns
      .filter(({ name, type }) => (type === "int" || type === "float") && !this.#keyFields.includes(name))
      .map((column) => ({ valueAt: column.valueAt, place: this.#placeOf(column) }));
    const halves = new Int32Array(times.buffer, times.byteOffset, rows * 2);
    let minute: Minute | null = null;
    for (let row = 0; row < rows; row++) {
      const timeUs = timeAt(halves, row);
      if (minute === null || timeUs < minute.fromUs || timeUs >= minute.untilUs)
        minute = this.#minuteOf(timeUs);
      const group = this.#groupOf(minute, keys, row);
      group.count++;
      for (const { place, valueAt } of numeric) {
        const value = valueAt(row);
        if (typeof value === "bigint" || (typeof value === "number" && !Number.isNaN(value)))
          addValue(group.fields, place, value, timeUs);
      }
    }
  }

  /** Writes the rows, ordered by minute and then by key, into a new batch of the core. */
  write(core: CoreModule): ReturnType<typeof buildBatch>["batch"] {
    const builder = buildBatch(core);
    const groups = this.#groups.toSorted(compareGroups);
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
    const fields = [...this.#numeric].map(([name, { place, isWhole }]) => {
      const isExact = isWhole && groups.every((group) => isSafe(group.fields[place]));
      const columns = STATISTICS.map((statistic) => {
        const type = statistic === "count" || (isWhole && (statistic !== "sum" || isExact)) ? "int" : "float";
        return { statistic, type, column: builder.addColumn(`${name}.${statistic}`, type) } as const;
      });
      return { place, columns };
    });
    const set = (column: number, row: number, type: FieldType, value: NonNullable<CellValue>): void => {
      if (type === "string") builder.setText(column, row, String(value));
      else if (type === "bool") builder.setBool(column, row, value === true);
      else if (type === "int") builder.setInt(column, row, BigInt(value));
      else builder.setFloat(column, row, Number(value));
    };
    for (const group of groups) {
      const row = builder.addRow(BigInt(group.minuteUs), 0);
      const key = group.key === null ? undefined : keyColumns.get(group.key.field);
      if (group.key !== null && key !== undefined) set(key.column, row, key.type, group.key.value);
      builder.setBool(mark, row, true);
      builder.setInt(count, row, BigInt(group.count));
      for (const { place, columns } of fields) {
        const aggregate = group.fields[place];
        if (aggregate === undefined) continue;
        for (const { statistic, type, column } of columns)
          set(column, row, type, statistic === "sum" ? aggregate.sum + aggregate.rest : aggregate[statistic]);
      }
    }
    return builder.batch;
  }

  #placeOf({ name, type }: ColumnReader): number {
    let field = this.#numeric.get(name);
    if (field === undefined) {
      field = { place: this.#numeric.size, isWhole: true };
      this.#numeric.set(name, field);
    }
    field.isWhole &&= type === "int";
    return field.place;
  }

  #minuteOf(timeUs: number): Minute {
    const fromUs = Math.floor(timeUs / this.#resolutionUs) * this.#resolutionUs;
    let minute = this.#minutes.get(fromUs);
    if (minute === undefined) {
      const byKey = this.#keyFields.map(() => new Map<NonNullable<CellValue>, Group>());
      minute = { fromUs, untilUs: fromUs + this.#resolutionUs, byKey, constant: null };
      this.#minutes.set(fromUs, minute);
    }
    return minute;
  }

  /** By the first of the fields that has a value. */
  #groupOf(minute: Minute, keys: readonly KeyColumn[], row: number): Group {
    for (const { place, column } of keys) {
      const held = column.valueAt(row);
      if (held === null) continue;
      // 0 and -0 are one key.
      const value = held === 0 ? 0 : held;
      const groups = minute.byKey[place]!;
      let group = groups.get(value);
      if (group === undefined) {
        group = this.#begin(minute, { field: column.name, value });
        groups.set(value, group);
      }
      return group;
    }
    minute.constant ??= this.#begin(minute, null);
    return minute.constant;
  }

  #begin({ fromUs }: Minute, key: Group["key"]): Group {
    const group: Group = { minuteUs: fromUs, key, count: 0, fields: [] };
    this.#groups.push(group);
    return group;
  }
}

function addValue(
  fields: (FieldAggregate | undefined)[],
  place: number,
  value: number | bigint,
  timeUs: number,
): void {
  const known = fields[place];
  if (known === undefined) {
    const same = { min: value, max: value, first: value, last: value, firstUs: timeUs, lastUs: timeUs };
    fields[place] = { count: 1, sum: Number(value), rest: 0, ...same };
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

/** Of a time's two halves, the lower one first; a number of its own for each row would be an object. Exact until the year 2255. */
function timeAt(halves: Int32Array, row: number): number {
  return halves[row * 2 + 1]! * 2 ** 32 + (halves[row * 2]! >>> 0);
}

/** The narrowest type that takes all of them. */
function typeOfAll(values: readonly NonNullable<CellValue>[]): FieldType {
  const types = new Set(values.map((value) => typeof value));
  if (types.has("string") || (types.has("boolean") && types.size > 1)) return "string";
  if (types.has("boolean")) return "bool";
  return values.every(isWhole) ? "int" : "float";
}

function isWhole(value: NonNullable<CellValue>): boolean {
  return (
    typeof value === "bigint" ||
    (Number.isInteger(value) && Number(value) >= -(2 ** 53) && Number(value) < 2 ** 53)
  );
}

function compareGroups(a: Group, b: Group): number {
  if (a.minuteUs !== b.minuteUs) return a.minuteUs < b.minuteUs ? -1 : 1;
  const [left, right] = [a.key, b.key].map((key) => (key === null ? "" : `${key.field} ${key.value}`));
  return left! < right! ? -1 : left! > right! ? 1 : 0;
}
