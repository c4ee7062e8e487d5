import { Batch, Column, ColumnType } from "../batch/batch";
import { writeDouble, writeInteger } from "../codec/numbers";
import { Dictionary } from "../memory/dictionary";
import { isBytesAfter, sortNumbers } from "../state/sort";
import { Downsampler } from "./downsampler";
import { Groups } from "./groups";
import { fractionOf, KEY_HEAD, KeyKind, wholeOf } from "./keys";
import { Field, State } from "./statistics";

/** Where numbers become text. */
const NUMBER = memory.data(64, 8);
/** Vector loads may run over the end by so many rows. */
const SPARE_ROWS: u32 = 16;
const QUIET_NAN: u64 = 0x7ff8000000000000;
/** The greatest whole number that no other one is rounded to. */
const MAX_SAFE: f64 = 9007199254740991;

/** Statistics of a field, in the order of their columns. */
const enum Statistic {
  Count,
  Sum,
  Min,
  Max,
  First,
  Last,
}

/** The length and the bytes of ".count", ".sum", ".min", ".max", ".first" and ".last". */
const SUFFIX_BYTES: usize = 8;
const SUFFIXES = memory.data<u8>([
  6, 0x2e, 0x63, 0x6f, 0x75, 0x6e, 0x74, 0,
  4, 0x2e, 0x73, 0x75, 0x6d, 0, 0, 0,
  4, 0x2e, 0x6d, 0x69, 0x6e, 0, 0, 0,
  4, 0x2e, 0x6d, 0x61, 0x78, 0, 0, 0,
  6, 0x2e, 0x66, 0x69, 0x72, 0x73, 0x74, 0,
  5, 0x2e, 0x6c, 0x61, 0x73, 0x74, 0, 0,
]);
const COUNT = SUFFIXES + 2;
const COUNT_LENGTH: u32 = 5;
/** "downsampled" */
const DOWNSAMPLED = memory.data<u8>([0x64, 0x6f, 0x77, 0x6e, 0x73, 0x61, 0x6d, 0x70, 0x6c, 0x65, 0x64]);
const DOWNSAMPLED_LENGTH: u32 = 11;
const TRUE = memory.data<u8>([0x74, 0x72, 0x75, 0x65]);
const FALSE = memory.data<u8>([0x66, 0x61, 0x6c, 0x73, 0x65]);

/**
 * A new batch with a row for each group, ordered by time and then by key: the key in its field, `downsampled` true, `count`,
 * and of each numeric field `f` `f.count`, `f.sum`, `f.min`, `f.max`, `f.first`, `f.last`.
 */
export function writeGroups(from: Downsampler): Batch {
  const groups = from.groups;
  const rows = groups.count;
  const batch = Batch.create(rows + SPARE_ROWS);
  const order = orderOf(from);
  batch.rows = rows;
  memory.fill(batch.flags, 0, rows);
  for (let row: u32 = 0; row < rows; row++)
    store<i64>(batch.times + (<usize>row << 3), groups.group(at(order, row)).fromUs);
  writeKeys(from, batch, order);
  const mark = addColumn(batch, DOWNSAMPLED, DOWNSAMPLED_LENGTH, ColumnType.Bool);
  const count = addColumn(batch, COUNT, COUNT_LENGTH, ColumnType.Int);
  for (let row: u32 = 0; row < rows; row++) {
    set(mark, row, 1);
    set(count, row, groups.group(at(order, row)).count);
  }
  for (let i: u32 = 0; i < from.fieldCount; i++) writeField(from.field(i), batch, order, groups);
  batch.seal();
  heap.free(order);
  return batch;
}

@inline
function at(list: usize, index: u32): u32 {
  return load<u32>(list + (<usize>index << 2));
}

/** The groups by time, then by key. */
function orderOf(from: Downsampler): usize {
  const groups = from.groups;
  const texts = from.keys.known;
  const keys = texts.count;
  const sorted = heap.alloc((<usize>keys << 2) + 1);
  for (let key: u32 = 0; key < keys; key++) store<u32>(sorted + (<usize>key << 2), key);
  sortNumbers(sorted, keys, changetype<usize>(texts), isKeyAfter);
  // By key, where its groups begin; then where the next one of it goes.
  const places = heap.alloc((<usize>keys << 2) + 1);
  memory.fill(places, 0, <usize>keys << 2);
  for (let index: u32 = 0; index < groups.count; index++) {
    const place = places + (<usize>groups.group(index).key << 2);
    store<u32>(place, load<u32>(place) + 1);
  }
  let next: u32 = 0;
  for (let i: u32 = 0; i < keys; i++) {
    const place = places + (<usize>at(sorted, i) << 2);
    const count = load<u32>(place);
    store<u32>(place, next);
    next += count;
  }
  const order = heap.alloc((<usize>groups.count << 2) + 1);
  for (let index: u32 = 0; index < groups.count; index++) {
    const place = places + (<usize>groups.group(index).key << 2);
    const row = load<u32>(place);
    store<u32>(place, row + 1);
    store<u32>(order + (<usize>row << 2), index);
  }
  heap.free(places);
  heap.free(sorted);
  // Stable: groups of one time stay in the order of their keys.
  sortNumbers(order, groups.count, changetype<usize>(groups), isTimeAfter);
  return order;
}

function isTimeAfter(groups: usize, a: u32, b: u32): bool {
  return changetype<Groups>(groups).group(a).fromUs > changetype<Groups>(groups).group(b).fromUs;
}

function isKeyAfter(texts: usize, a: u32, b: u32): bool {
  const dictionary = changetype<Dictionary>(texts);
  const left = dictionary.entry(a);
  const right = dictionary.entry(b);
  if (left.prefixLow != right.prefixLow) return bswap<u64>(left.prefixLow) > bswap<u64>(right.prefixLow);
  if (left.prefixHigh != right.prefixHigh) return bswap<u64>(left.prefixHigh) > bswap<u64>(right.prefixHigh);
  return isBytesAfter(dictionary.pointer(a), dictionary.length(a), dictionary.pointer(b), dictionary.length(b));
}

/** Columns of the fields that hold any of the keys, in the order of the fields. */
function writeKeys(from: Downsampler, batch: Batch, order: usize): void {
  const fieldCount = from.keys.fieldCount;
  // By place: a bit for each kind of key.
  const kinds = heap.alloc(fieldCount + 1);
  memory.fill(kinds, 0, fieldCount);
  const known = from.keys.known;
  for (let key: u32 = 0; key < known.count; key++) {
    if (known.length(key) == 0) continue;
    const kind = kinds + bswap<u32>(load<u32>(known.pointer(key)));
    store<u8>(kind, <u8>(<u32>load<u8>(kind) | (1 << <u32>load<u8>(known.pointer(key), 4))));
  }
  let name = from.keys.fields;
  for (let place: u32 = 0; place < fieldCount; place++) {
    const held = <u32>load<u8>(kinds + place);
    if (held != 0) writeKeysOf(place, from, addColumn(batch, name + 4, load<u32>(name), typeOf(held)), order);
    name += 4 + load<u32>(name);
  }
  heap.free(kinds);
}

/** The narrowest type for keys of those kinds. */
function typeOf(kinds: u32): ColumnType {
  if (kinds == 1 << KeyKind.Bool) return ColumnType.Bool;
  if (kinds & ((1 << KeyKind.Text) | (1 << KeyKind.Bool))) return ColumnType.Text;
  return kinds == 1 << KeyKind.Whole ? ColumnType.Int : ColumnType.Float;
}

function writeKeysOf(place: u32, from: Downsampler, column: Column, order: usize): void {
  const known = from.keys.known;
  for (let row: u32 = 0; row < from.groups.count; row++) {
    const id = from.groups.group(at(order, row)).key;
    const length = known.length(id);
    const key = known.pointer(id);
    if (length == 0 || bswap<u32>(load<u32>(key)) != place) continue;
    set(column, row, cellOf(key, length, column));
  }
}

function cellOf(key: usize, length: u32, column: Column): u64 {
  const kind = <KeyKind>load<u8>(key, 4);
  const isText = column.type == ColumnType.Text;
  if (kind == KeyKind.Text) return column.dictionary.intern(key + KEY_HEAD, length - KEY_HEAD);
  if (kind == KeyKind.Bool) {
    const isTrue = load<u8>(key, KEY_HEAD) != 0;
    if (!isText) return <u64>isTrue;
    return isTrue ? column.dictionary.intern(TRUE, 4) : column.dictionary.intern(FALSE, 5);
  }
  if (kind == KeyKind.Whole) {
    const value = wholeOf(key);
    if (column.type == ColumnType.Int) return <u64>value;
    if (!isText) return reinterpret<u64>(<f64>value);
    return column.dictionary.intern(NUMBER, writeInteger(value, NUMBER));
  }
  const value = fractionOf(key);
  return isText ? column.dictionary.intern(NUMBER, writeDouble(value, NUMBER)) : reinterpret<u64>(value);
}

function writeField(field: Field, batch: Batch, order: usize, groups: Groups): void {
  field.makeRoom(groups.count, groups.capacity);
  const isWhole = field.isWhole != 0;
  const values = isWhole ? ColumnType.Int : ColumnType.Float;
  const sums = isWhole && areSumsSafe(field, groups.count) ? ColumnType.Int : ColumnType.Float;
  const count = addStatistic(batch, field, Statistic.Count, ColumnType.Int);
  const sum = addStatistic(batch, field, Statistic.Sum, sums);
  const least = addStatistic(batch, field, Statistic.Min, values);
  const greatest = addStatistic(batch, field, Statistic.Max, values);
  const first = addStatistic(batch, field, Statistic.First, values);
  const last = addStatistic(batch, field, Statistic.Last, values);
  for (let row: u32 = 0; row < groups.count; row++) {
    const state = field.state(at(order, row));
    if (state.count == 0) continue;
    set(count, row, state.count);
    set(sum, row, sumOf(state, sums));
    set(least, row, state.min);
    set(greatest, row, state.max);
    set(first, row, state.first);
    set(last, row, state.last);
  }
}

function areSumsSafe(field: Field, groups: u32): bool {
  for (let group: u32 = 0; group < groups; group++) {
    const state = field.state(group);
    if (state.count > 0 && !(abs(state.sum + state.rest) <= MAX_SAFE)) return false;
  }
  return true;
}

function sumOf(state: State, type: ColumnType): u64 {
  const sum = state.sum + state.rest;
  if (type == ColumnType.Int) return <u64>(<i64>sum);
  return sum == sum ? reinterpret<u64>(sum) : QUIET_NAN;
}

function addStatistic(batch: Batch, field: Field, statistic: Statistic, type: ColumnType): Column {
  const suffix = SUFFIXES + <usize>statistic * SUFFIX_BYTES;
  const suffixLength = <u32>load<u8>(suffix);
  const name = heap.alloc(field.nameLength + suffixLength);
  memory.copy(name, field.name, field.nameLength);
  memory.copy(name + field.nameLength, suffix + 1, suffixLength);
  const column = addColumn(batch, name, field.nameLength + suffixLength, type);
  heap.free(name);
  return column;
}

function addColumn(batch: Batch, name: usize, length: u32, type: ColumnType): Column {
  return batch.column(batch.addColumn(name, length, type));
}

/** Rows of one column are set in ascending order. */
@inline
function set(column: Column, row: u32, cell: u64): void {
  column.fillNulls(row);
  store<u64>(column.cell(row), cell);
  store<u8>(column.valid + row, 1);
  column.filled = row + 1;
}
