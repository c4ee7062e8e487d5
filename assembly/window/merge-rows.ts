import { EXTREMES, Layout, OF_NUMBERS, QUANTILE, SQUARES, SUM } from "../aggregate/layout";
import { addRunTo } from "../aggregate/run";
import { sketchAdd, sketchCount, sketchCreate, sketchKeyOf } from "../aggregate/sketch";
import { sumAdd, SUM_LIMIT } from "../aggregate/sum";
import { COUNTED } from "./local";
import { Pane } from "./pane";

/** Families that a number without a time goes to. */
const TAKING_NUMBERS: u32 = SUM | SQUARES | EXTREMES | QUANTILE | OF_NUMBERS;

/**
 * Merges a field's column of a partial by row: one number for each of the records that `found` lists (u32). Returns what is
 * behind it. One loop a family, in which no row depends on the one before, so that their cache misses overlap.
 */
export function mergeColumn(layout: Layout, pane: Pane, found: usize, count: u32, at: usize): usize {
  const kind = load<u32>(at);
  at += 4;
  if (kind == 0) return at;
  if (kind == COUNTED) {
    for (let i: u32 = 0; i < count; i++) countOne(layout, recordAt(pane, found, i));
    return at;
  }
  const families = layout.families & TAKING_NUMBERS;
  const rest = families & ~(SUM | EXTREMES | QUANTILE);
  if (rest == 0 && families & SUM && families & EXTREMES) addNumbers(layout, pane, found, count, at);
  else {
    const others = families & ~QUANTILE;
    for (let i: u32 = 0; i < count; i++) addRunTo(others, layout, recordAt(pane, found, i), at + (<usize>i << 3), 0, 1);
  }
  if (families & QUANTILE) addToSketches(layout, pane, found, count, at);
  return at + (<usize>count << 3);
}

@inline
function recordAt(pane: Pane, found: usize, i: u32): usize {
  return pane.record(load<u32>(found + (<usize>i << 2)));
}

@inline
function countOne(layout: Layout, record: usize): void {
  const place = record + layout.count;
  store<u64>(place, load<u64>(place) + 1);
}

/** Count, sum and extremes: as `addRun` of one number, without a branch but for sums that two doubles cannot hold. */
function addNumbers(layout: Layout, pane: Pane, found: usize, count: u32, values: usize): void {
  const sum = layout.sum;
  const sumBig = layout.sumBig;
  const extremes = layout.extremes;
  for (let i: u32 = 0; i < count; i++) {
    const record = recordAt(pane, found, i);
    const x = load<f64>(values + (<usize>i << 3));
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

function addToSketches(layout: Layout, pane: Pane, found: usize, count: u32, values: usize): void {
  for (let i: u32 = 0; i < count; i++) {
    const place = recordAt(pane, found, i) + layout.sketch;
    const key = sketchKeyOf(load<f64>(values + (<usize>i << 3)));
    let sketch: usize = load<u32>(place);
    if (sketch != 0 && sketchCount(sketch, key)) continue;
    if (sketch == 0) sketch = sketchCreate();
    store<u32>(place, <u32>sketchAdd(sketch, key, 1));
  }
}
