import { Batch, Column, ColumnType } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";
import { doubleValue } from "../parse/number";
import * as cell from "./cell-hash";
import { addFloats, addIntegers, putTimes, storeProduct } from "./number-cells";
import { beginTurn, productsOf } from "./text-products";

const HOUR_US: i64 = 3_600_000_000;
/** What a name gives a column, times have of these. */
const TIME_LOW: u64 = 0xa0761d6478bd642f;
const TIME_HIGH: u64 = 0xd6e8feb86659fd93;

/** What the events of one hour come to. */
@unmanaged
export class HourSum {
  /** The hour's beginning, µs since the epoch. */
  hourUs: i64;
  /** 0: the slot is free. */
  count: u64;
  /** The sum of the events' hashes, modulo 2⁶⁴ in each lane. */
  low: u64;
  high: u64;
}

const SLOT: usize = offsetof<HourSum>();
const FIRST_SLOTS: u32 = 64;

/** Rows are done so many at a time, so that what they have come to so far stays in the processor's first cache. */
const CHUNK: u32 = 512;
/** Of each row of the chunk, in the making: low lane and high lane. */
const ROWS = memory.data(512 * 16, 16);
/** What false and true come to in the column at hand. */
const BOOLS = memory.data(32, 16);

/** Hours by open addressing. */
let slots: usize = 0;
let slotMask: u32 = 0;
export let hourCount: u32 = 0;

/** The odd numbers that a column's name gives, and where its texts' products stand. */
@unmanaged
class Weights {
  low: u64;
  high: u64;
  texts: usize;
}

const WEIGHTS: usize = offsetof<Weights>();
let weights: usize = 0;
let weightCapacity: u32 = 0;

/**
 * Sums up a batch's events by hours of event time: how many, and the sum of a 128-bit hash of each, so that neither the order
 * of events nor how they lie in blocks matters. An event is its time and its values by name; where there is none it
 * counts as if there were no such column, and columns' order, types and flags do not count.
 * Gives the address of the sums, `hourCount` of them, valid until the next call. Cost: a pass over each column.
 */
export function sumEvents(batch: Batch): usize {
  batch.seal();
  begin(batch);
  for (let from: u32 = 0; from < batch.rows; from += CHUNK) {
    const to = min(batch.rows, from + CHUNK);
    putTimes(ROWS, batch.times + (<usize>from << 3), to - from, TIME_LOW, TIME_HIGH);
    for (let i: u32 = 0; i < batch.columnCount; i++) addColumn(batch.column(i), i, batch.rows, from, to);
    addColumn(batch.extra, batch.columnCount, batch.rows, from, to);
    sumByHour(batch.times, from, to);
  }
  return gather();
}

@inline
function isEmpty(column: Column, rows: u32): bool {
  return column.type == ColumnType.Null || column.nulls == rows;
}

@inline
function weightsOf(index: u32): Weights {
  return changetype<Weights>(weights + <usize>index * WEIGHTS);
}

function begin(batch: Batch): void {
  if (slots == 0) {
    slots = heap.alloc(<usize>FIRST_SLOTS * SLOT);
    slotMask = FIRST_SLOTS - 1;
  }
  memory.fill(slots, 0, <usize>(slotMask + 1) * SLOT);
  hourCount = 0;
  const columns = batch.columnCount + 1;
  if (columns > weightCapacity) {
    if (weights != 0) heap.free(weights);
    weightCapacity = columns;
    weights = heap.alloc(<usize>columns * WEIGHTS);
  }
  beginTurn();
  for (let i: u32 = 0; i < columns; i++) {
    const column = i == batch.columnCount ? batch.extra : batch.column(i);
    if (isEmpty(column, batch.rows)) continue;
    cell.hashBytes(column.name, column.nameLength);
    const weight = weightsOf(i);
    weight.low = cell.low | 1;
    weight.high = cell.high | 1;
    if (column.type == ColumnType.Text)
      weight.texts = productsOf(column.dictionary, weight.low, weight.high);
  }
}

function addColumn(column: Column, index: u32, rows: u32, from: u32, to: u32): void {
  if (isEmpty(column, rows)) return;
  const weight = weightsOf(index);
  const low = weight.low;
  const high = weight.high;
  const cells = column.cell(from);
  const valid: usize = column.nulls == 0 ? 0 : column.valid + from;
  const count = to - from;
  if (column.type == ColumnType.Float) addFloats(ROWS, cells, valid, count, low, high);
  else if (column.type == ColumnType.Int) addIntegers(ROWS, cells, valid, count, low, high);
  else if (column.type == ColumnType.Text) addTexts(column, weight.texts, from, to, low, high);
  else if (column.type == ColumnType.Bool) addBools(cells, valid, count, low, high);
  else addRaw(column, from, to, low, high);
}

/**
 * A row's cells are summed. Each is a product with numbers that its column's name gives, so that the order of columns does not
 * count, and values that change places do (multilinear hashing: Carter and Wegman, "Universal Classes of Hash Functions", 1979).
 */
@inline
function add(row: usize, product: usize): void {
  v128.store(row, i64x2.add(v128.load(row), v128.load(product)));
}

function addBools(cells: usize, valid: usize, count: u32, nameLow: u64, nameHigh: u64): void {
  for (let value: u32 = 0; value < 2; value++) {
    store<u64>(BOOLS + (<usize>value << 4), cell.boolLow(value) * nameLow);
    store<u64>(BOOLS + (<usize>value << 4), cell.boolHigh(value) * nameHigh, 8);
  }
  let at = ROWS;
  for (let row: u32 = 0; row < count; row++, at += 16, cells += 8) {
    if (valid != 0 && load<u8>(valid + row) == 0) continue;
    add(at, BOOLS + ((<usize>load<u8>(cells) & 1) << 4));
  }
}

function addRaw(column: Column, from: u32, to: u32, nameLow: u64, nameHigh: u64): void {
  let at = ROWS;
  for (let row = from; row < to; row++, at += 16) {
    if (!column.isValid(row)) continue;
    const value = load<u64>(column.cell(row));
    cell.hashBytes(column.bytes.data + <u32>value, <u32>(value >> 32));
    store<u64>(at, load<u64>(at) + cell.low * nameLow);
    store<u64>(at, load<u64>(at, 8) + cell.high * nameHigh, 8);
  }
}

/** Each text is hashed once. One whose low product is 0 would be hashed again: no harm. */
function addTexts(column: Column, products: usize, from: u32, to: u32, nameLow: u64, nameHigh: u64): void {
  const dictionary = column.dictionary;
  const valid: usize = column.nulls == 0 ? 0 : column.valid;
  let cells = column.cell(from);
  let at = ROWS;
  for (let row = from; row < to; row++, at += 16, cells += 8) {
    if (valid != 0 && load<u8>(valid + row) == 0) continue;
    const id = load<u32>(cells);
    const known = products + (<usize>id << 4);
    if (load<u64>(known) == 0) hashInto(known, dictionary, id, nameLow, nameHigh);
    add(at, known);
  }
}

function hashInto(target: usize, dictionary: Dictionary, id: u32, nameLow: u64, nameHigh: u64): void {
  const entry = dictionary.entry(id);
  const length = entry.length;
  if (length < 16 && cell.isPlain(entry.prefixLow)) cell.hashShort(entry.prefixLow, entry.prefixHigh, length);
  else {
    const text = dictionary.pointer(id);
    if (cell.isFiniteNumber(text, length)) return storeProduct(target, doubleValue, nameLow, nameHigh);
    cell.hashText(text, length);
  }
  store<u64>(target, cell.low * nameLow);
  store<u64>(target, cell.high * nameHigh, 8);
}

/** Events that follow one another are mostly of one hour. */
function sumByHour(times: usize, from: u32, to: u32): void {
  let hour = changetype<HourSum>(0);
  let endUs: i64 = 0;
  let count: u64 = 0;
  let low: u64 = 0;
  let high: u64 = 0;
  let at = ROWS;
  for (let row = from; row < to; row++, at += 16) {
    const timeUs = load<i64>(times + (<usize>row << 3));
    if (changetype<usize>(hour) == 0 || timeUs < hour.hourUs || timeUs >= endUs) {
      if (changetype<usize>(hour) != 0) addToHour(hour, count, low, high);
      count = 0;
      low = 0;
      high = 0;
      const rest = timeUs % HOUR_US;
      const hourUs = timeUs - (rest < 0 ? rest + HOUR_US : rest);
      hour = slotOf(hourUs);
      endUs = hourUs + HOUR_US;
    }
    count++;
    low += cell.mixLow(load<u64>(at));
    high += cell.mixHigh(load<u64>(at, 8));
  }
  if (changetype<usize>(hour) != 0) addToHour(hour, count, low, high);
}

@inline
function addToHour(hour: HourSum, count: u64, low: u64, high: u64): void {
  hour.count += count;
  hour.low += low;
  hour.high += high;
}

/** Counts the hour in when it is new: its count is to be set before the next one is looked for. */
function slotOf(hourUs: i64): HourSum {
  let slot = find(hourUs);
  if (slot.count == 0) {
    if (++hourCount > slotMask >> 1) {
      grow();
      slot = find(hourUs);
    }
    slot.hourUs = hourUs;
  }
  return slot;
}

function find(hourUs: i64): HourSum {
  let at = <u32>cell.mixLow(<u64>hourUs) & slotMask;
  while (true) {
    const slot = changetype<HourSum>(slots + <usize>at * SLOT);
    if (slot.count == 0 || slot.hourUs == hourUs) return slot;
    at = (at + 1) & slotMask;
  }
}

function grow(): void {
  const before = slots;
  const count = slotMask + 1;
  slotMask = count * 2 - 1;
  slots = heap.alloc(<usize>count * 2 * SLOT);
  memory.fill(slots, 0, <usize>count * 2 * SLOT);
  for (let i: u32 = 0; i < count; i++) {
    const slot = changetype<HourSum>(before + <usize>i * SLOT);
    if (slot.count != 0) memory.copy(changetype<usize>(find(slot.hourUs)), changetype<usize>(slot), SLOT);
  }
  heap.free(before);
}

/** Brings the hours together at the front: the table is not looked into again before it is emptied. */
function gather(): usize {
  let to = slots;
  for (let i: u32 = 0; i <= slotMask; i++) {
    const slot = slots + <usize>i * SLOT;
    if (changetype<HourSum>(slot).count == 0) continue;
    if (slot != to) memory.copy(to, slot, SLOT);
    to += SLOT;
  }
  return slots;
}
