import { ByteBuffer } from "../memory/bytes";
import { mergeState, writeState } from "../state/field-state";
import { EXTREMES, FIRST, LAST, Layout, MORE, OTHERS, QUANTILE, SQUARES, SUM } from "./layout";
import { moreAddWritten, moreParts, moreWrite } from "./more";
import { keepFirst, keepLast } from "./run";
import { addBuckets, OpenBuckets } from "./open-buckets";
import { sketchCopy } from "./sketch";
import { bigAt, cascadeAdd, cascadeAddLow, sumAdd } from "./sum";

/** Families whose parts are merged in place; a field with another one goes through its bytes. */
const DIRECT: u32 = SUM | SQUARES | EXTREMES | FIRST | LAST | QUANTILE | OTHERS | MORE;

const scratch = ByteBuffer.create(256);

/** Merges one record's field into another's; `from` stays as it is. The outcome is that of merging its written state. */
export function combineField(layout: Layout, into: usize, from: usize): void {
  const families = layout.families;
  if (families & ~DIRECT) {
    scratch.reset();
    writeState(scratch, layout, from);
    mergeState(layout, into, scratch.data);
    return;
  }
  if (families & OTHERS) addCount(into + layout.others, from + layout.others);
  if (families & MORE) combineMore(layout, into, from);
  if (load<u64>(from + layout.count) == 0) return;
  addCount(into + layout.count, from + layout.count);
  if (families & SUM) combineSum(layout, into, from);
  if (families & SQUARES) combineSquares(layout, into, from);
  if (families & EXTREMES) {
    const to = into + layout.extremes;
    const at = from + layout.extremes;
    store<f64>(to, min(load<f64>(to), load<f64>(at)));
    store<f64>(to, max(load<f64>(to, 8), load<f64>(at, 8)), 8);
  }
  if (families & FIRST) {
    keepFirst(into + layout.first, load<i64>(from + layout.first), load<f64>(from + layout.first, 8));
  }
  if (families & LAST) {
    keepLast(into + layout.last, load<i64>(from + layout.last), load<f64>(from + layout.last, 8));
  }
  if (families & QUANTILE) {
    addBuckets(changetype<OpenBuckets>(into + layout.sketch), changetype<OpenBuckets>(from + layout.sketch));
  }
}

/** Makes a field of a record, which holds nothing outside itself, a copy of another's. */
export function copyField(layout: Layout, into: usize, from: usize): void {
  const families = layout.families;
  if (families & ~DIRECT) {
    layout.clear(into);
    combineField(layout, into, from);
    return;
  }
  memory.copy(into + layout.count, from + layout.count, layout.end - layout.count);
  if (families & SUM) copyBig(into + layout.sumBig);
  if (families & SQUARES) copyBig(into + layout.squaresBig);
  if (families & QUANTILE) {
    const sketch: usize = load<u32>(from + layout.sketch);
    if (sketch != 0) store<u32>(into + layout.sketch, <u32>sketchCopy(sketch));
  }
  if (families & MORE) {
    store<u32>(into + layout.more, 0);
    combineMore(layout, into, from);
  }
}

/** What stands outside the records goes through its bytes; numbers under min, max, first and last have none. */
@inline
function combineMore(layout: Layout, into: usize, from: usize): void {
  const more: usize = load<u32>(from + layout.more);
  const parts = more == 0 ? 0 : moreParts(more);
  if (parts == 0) return;
  scratch.reset();
  moreWrite(scratch, more, parts);
  moreAddWritten(layout, into, scratch.data);
}

/** Replaces the BigSum at `place` by a copy. */
function copyBig(place: usize): void {
  if (load<u32>(place) == 0) return;
  const big = bigAt(place);
  store<u32>(place, 0);
  bigAt(place).copyFrom(big);
}

@inline
function addCount(to: usize, from: usize): void {
  store<u64>(to, load<u64>(to) + load<u64>(from));
}

@inline
function combineSum(layout: Layout, into: usize, from: usize): void {
  const to = into + layout.sum;
  const big = into + layout.sumBig;
  sumAdd(to, big, load<f64>(from + layout.sum));
  const low = load<f64>(from + layout.sum, 8);
  if (low != 0) sumAdd(to, big, low);
  if (load<u32>(from + layout.sumBig) != 0) bigAt(big).addAll(bigAt(from + layout.sumBig));
}

function combineSquares(layout: Layout, into: usize, from: usize): void {
  const to = into + layout.squares;
  const big = into + layout.squaresBig;
  cascadeAdd(to, big, load<f64>(from + layout.squares));
  cascadeAddLow(to, big, load<f64>(from + layout.squares, 8));
  cascadeAddLow(to, big, load<f64>(from + layout.squares, 16));
  if (load<u32>(from + layout.squaresBig) != 0) bigAt(big).addAll(bigAt(from + layout.squaresBig));
}
