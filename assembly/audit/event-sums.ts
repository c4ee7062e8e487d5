import { Batch, Column, ColumnType } from "../batch/batch";
import * as cell from "./cell-hash";

const HOUR_US: i64 = 3_600_000_000;
/** Keeps the lanes' hashes of a time apart. */
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

/** Of each row, in the making: low lane and high lane. Kept between batches. */
let rowHashes: usize = 0;
let rowCapacity: u32 = 0;
/** Of each text of a column: whether it was hashed, and the hash. */
let textHashes: usize = 0;
let textCapacity: u32 = 0;
/** Hours by open addressing. */
let slots: usize = 0;
let slotMask: u32 = 0;
export let hourCount: u32 = 0;

/**
 * Sums up a batch's events by hours of event time: how many, and the sum of a 128-bit hash of each, so that neither the order
 * of events nor how they lie in blocks matters. An event is its time and its values by name; where there is none it
 * counts as if there were no such column, and columns' order, types and flags do not count.
 * Gives the address of the sums, `hourCount` of them, valid until the next call. Cost: a pass over each column.
 */
export function sumEvents(batch: Batch): usize {
  batch.seal();
  begin(batch.rows);
  for (let i: u32 = 0; i < batch.columnCount; i++) addColumn(batch.column(i), batch.rows);
  addColumn(batch.extra, batch.rows);
  sumByHour(batch);
  return gather();
}

function begin(rows: u32): void {
  if (rows > rowCapacity) {
    if (rowHashes != 0) heap.free(rowHashes);
    rowHashes = heap.alloc(<usize>rows << 4);
    rowCapacity = rows;
  }
  memory.fill(rowHashes, 0, <usize>rows << 4);
  if (slots == 0) {
    slots = heap.alloc(FIRST_SLOTS * SLOT);
    slotMask = FIRST_SLOTS - 1;
  }
  memory.fill(slots, 0, <usize>(slotMask + 1) * SLOT);
  hourCount = 0;
}

function addColumn(column: Column, rows: u32): void {
  if (column.type == ColumnType.Null || column.nulls == rows) return;
  cell.hashBytes(column.name, column.nameLength);
  const nameLow = cell.low | 1;
  const nameHigh = cell.high | 1;
  if (column.type == ColumnType.Text) addTexts(column, rows, nameLow, nameHigh);
  else addValues(column, rows, nameLow, nameHigh);
}

/**
 * A row's cells are summed, each weighed by an odd number that its name gives, so that the order of columns does not count, and
 * values that change places do (multilinear hashing: Carter and Wegman, "Universal Classes of Hash Functions", 1979).
 */
@inline
function addCell(row: usize, low: u64, high: u64, nameLow: u64, nameHigh: u64): void {
  const at = rowHashes + (row << 4);
  store<u64>(at, load<u64>(at) + low * nameLow);
  store<u64>(at, load<u64>(at, 8) + high * nameHigh, 8);
}

function addValues(column: Column, rows: u32, nameLow: u64, nameHigh: u64): void {
  const type = column.type;
  for (let row: u32 = 0; row < rows; row++) {
    if (!column.isValid(row)) continue;
    const value = load<u64>(column.cell(row));
    if (type == ColumnType.Raw) cell.hashBytes(column.bytes.data + <u32>value, <u32>(value >> 32));
    else cell.hashValue(value, type);
    addCell(row, cell.low, cell.high, nameLow, nameHigh);
  }
}

/** Each text is hashed once. */
function addTexts(column: Column, rows: u32, nameLow: u64, nameHigh: u64): void {
  const dictionary = column.dictionary;
  if (dictionary.count > textCapacity) {
    if (textHashes != 0) heap.free(textHashes);
    textCapacity = dictionary.count;
    textHashes = heap.alloc(<usize>textCapacity * 24);
  }
  for (let id: u32 = 0; id < dictionary.count; id++) store<u64>(textHashes + <usize>id * 24, 0);
  for (let row: u32 = 0; row < rows; row++) {
    if (!column.isValid(row)) continue;
    const id = load<u32>(column.cell(row));
    const at = textHashes + <usize>id * 24;
    if (load<u64>(at) == 0) {
      cell.hashText(dictionary.pointer(id), dictionary.length(id));
      store<u64>(at, 1);
      store<u64>(at, cell.low, 8);
      store<u64>(at, cell.high, 16);
    }
    addCell(row, load<u64>(at, 8), load<u64>(at, 16), nameLow, nameHigh);
  }
}

function sumByHour(batch: Batch): void {
  let hour = changetype<HourSum>(0);
  for (let row: usize = 0; row < batch.rows; row++) {
    const timeUs = load<i64>(batch.times + (row << 3));
    const rest = timeUs % HOUR_US;
    const hourUs = timeUs - (rest < 0 ? rest + HOUR_US : rest);
    if (changetype<usize>(hour) == 0 || hour.hourUs != hourUs) hour = slotOf(hourUs);
    const at = rowHashes + (row << 4);
    hour.count++;
    hour.low += cell.mixLow(load<u64>(at) ^ cell.mixLow(<u64>timeUs));
    hour.high += cell.mixHigh(load<u64>(at, 8) + cell.mixHigh(<u64>timeUs + TIME_HIGH));
  }
}

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
