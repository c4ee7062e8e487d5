import { EXTREMES, Layout, OF_NUMBERS, QUANTILE, SQUARES, SUM } from "../aggregate/layout";
import { addRun, addRunTo } from "../aggregate/run";
import { countBucket, OpenBuckets } from "../aggregate/open-buckets";
import { sketchKeyOf } from "../aggregate/sketch";
import { sumAdd, SUM_LIMIT } from "../aggregate/sum";
import { COUNTED, PLAIN } from "./local";

/** What a column is, see partial.ts, stands before its numbers. */
const COLUMN_HEAD_BYTES: usize = 4;
/** Families that a number without a time goes to. */
const TAKING_NUMBERS: u32 = SUM | SQUARES | EXTREMES | QUANTILE | OF_NUMBERS;

/**
 * Merges a field's column of a partial by row: one number for each of the records at `records` (u32: addresses). `rows` has the
 * number of each one's row (u32), or is 0 where they are all rows in their order. One loop a family, in which no row depends
 * on the one before, so that their cache misses overlap.
 */
export function mergeColumn(layout: Layout, records: usize, rows: usize, count: u32, column: usize): void {
  mergeColumnFrom(layout, records, rows, 0, count, column);
}

/** The same where the first of all rows is that of number `from`. */
export function mergeColumnFrom(
  layout: Layout,
  records: usize,
  rows: usize,
  from: u32,
  count: u32,
  column: usize,
): void {
  const kind = load<u32>(column);
  if (kind == 0) return;
  if (kind == COUNTED) {
    for (let i: u32 = 0; i < count; i++) countOne(layout, recordAt(records, i));
    return;
  }
  const values = column + COLUMN_HEAD_BYTES + (<usize>from << 3);
  const families = layout.families & TAKING_NUMBERS;
  const rest = families & ~(SUM | EXTREMES | QUANTILE);
  if (rest == 0 && families & SUM && families & EXTREMES) addNumbers(layout, records, rows, count, values);
  else {
    const others = families & ~QUANTILE;
    for (let i: u32 = 0; i < count; i++) addRunTo(others, layout, recordAt(records, i), placeOf(values, rows, i), 0, 1);
  }
  if (families & QUANTILE) addToSketches(layout, records, rows, count, values);
}

/** What is behind the column of so many rows at an address. */
@inline
export function columnEnd(column: usize, rowCount: u32): usize {
  return column + COLUMN_HEAD_BYTES + (load<u32>(column) == PLAIN ? <usize>rowCount << 3 : 0);
}

/** Merges one row of a column into a record. */
export function mergeCell(layout: Layout, record: usize, row: u32, column: usize): void {
  const kind = load<u32>(column);
  if (kind == COUNTED) countOne(layout, record);
  else if (kind == PLAIN) addRun(layout, record, column + COLUMN_HEAD_BYTES + (<usize>row << 3), 0, 1);
}

@inline
function recordAt(records: usize, i: u32): usize {
  return load<u32>(records + (<usize>i << 2));
}

/** Where the i-th number stands. */
@inline
function placeOf(values: usize, rows: usize, i: u32): usize {
  return values + (<usize>(rows == 0 ? i : load<u32>(rows + (<usize>i << 2))) << 3);
}

@inline
function countOne(layout: Layout, record: usize): void {
  const place = record + layout.count;
  store<u64>(place, load<u64>(place) + 1);
}

/** Count, sum and extremes: as `addRun` of one number, without a branch but for sums that two doubles cannot hold. */
function addNumbers(layout: Layout, records: usize, rows: usize, count: u32, values: usize): void {
  const sum = layout.sum;
  const sumBig = layout.sumBig;
  const extremes = layout.extremes;
  for (let i: u32 = 0; i < count; i++) {
    const record = recordAt(records, i);
    const x = load<f64>(placeOf(values, rows, i));
    countOne(layout, record);
    const at = record + sum;
    const high = load<f64>(at);
    const low = load<f64>(at, 8);
    // twoSum, twice: see exact.ts.
    const newHigh = high + x;
    const back = newHigh - high;
    const error = high - (newHigh - back) + (x - back);
    const newLow = low + error;
    const backLow = newLow - low;
    const lost = low - (newLow - backLow) + (error - backLow);
    if (abs(x) < SUM_LIMIT && lost == 0) {
      store<f64>(at, newHigh);
      store<f64>(at, newLow, 8);
    } else sumAdd(at, record + sumBig, x);
    const place = record + extremes;
    const known = v128.load(place);
    const both = f64x2.splat(x);
    v128.store(place, v128.shuffle<f64>(f64x2.pmin(known, both), f64x2.pmax(known, both), 0, 3));
  }
}

function addToSketches(layout: Layout, records: usize, rows: usize, count: u32, values: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const key = sketchKeyOf(load<f64>(placeOf(values, rows, i)));
    countBucket(changetype<OpenBuckets>(recordAt(records, i) + layout.sketch), key);
  }
}
