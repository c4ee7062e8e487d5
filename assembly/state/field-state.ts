import { addRun, keepFirst, keepLast } from "../aggregate/run";
import { EXTREMES, FIRST, LAST, Layout, MORE, OTHERS, QUANTILE, SQUARES, SUM, TIMED } from "../aggregate/layout";
import { moreAddWritten, moreNormalize, moreParts, moreWrite } from "../aggregate/more";
import { expansionAdd, expansionReset, expansionTake } from "../aggregate/expansion";
import { addWrittenBuckets, OpenBuckets, writeBuckets } from "../aggregate/open-buckets";
import { bigAt, cascadeAdd, cascadeAddLow, normalizeThrough, sumAdd, sumNormalize } from "../aggregate/sum";
import { ByteBuffer } from "../memory/bytes";
import { readVarint, varintEnd, writeVarint } from "./varint";

/**
 * One field's accumulator as bytes: in partials and in snapshots, merged by the same code.
 *
 * A tag byte below 128 is a number of values, which follow as f64 (and, for TIMED families, their times as i64): a handful
 * of values is smaller than what is known of them. Other tags are sets of the bits below, and the parts follow.
 */
export const MAX_RAW_VALUES: u32 = 6;
const AGGREGATED: u8 = 0x80;
const HAS_NUMBERS: u8 = 1;
const HAS_OTHERS: u8 = 2;
const HAS_SUM_LOW: u8 = 4;
const HAS_SUM_BIG: u8 = 8;
const HAS_SQUARES_LOW: u8 = 16;
const HAS_SQUARES_BIG: u8 = 32;
const HAS_MORE: u8 = 64;

/** Writes up to `MAX_RAW_VALUES` values as they are. */
@inline
export function writeRaw(out: ByteBuffer, layout: Layout, values: usize, times: usize, n: u32): void {
  const bytes = n << 3;
  const hasTimes = (layout.families & TIMED) != 0;
  const at = out.reserve(1 + (bytes << 1));
  store<u8>(at, <u8>n);
  memory.copy(at + 1, values, bytes);
  if (hasTimes) memory.copy(at + 1 + bytes, times, bytes);
  out.length += 1 + (hasTimes ? bytes << 1 : bytes);
}

/** Writes what a record knows of a field. */
export function writeState(out: ByteBuffer, layout: Layout, record: usize): void {
  const families = layout.families;
  const count = load<u64>(record + layout.count);
  const others = families & OTHERS ? load<u64>(record + layout.others) : 0;
  const tagAt = out.length;
  let tag: u8 = AGGREGATED;
  out.u8(0);
  if (others != 0) {
    tag |= HAS_OTHERS;
    writeVarint(out, others);
  }
  if (count != 0) {
    tag |= HAS_NUMBERS;
    writeVarint(out, count);
    if (families & SUM) tag |= writeSum(out, record + layout.sum, record + layout.sumBig);
    if (families & SQUARES) tag |= writeSquares(out, record + layout.squares, record + layout.squaresBig);
    if (families & EXTREMES) out.append(record + layout.extremes, 16);
    if (families & FIRST) out.append(record + layout.first, 16);
    if (families & LAST) out.append(record + layout.last, 16);
    if (families & QUANTILE) writeBuckets(changetype<OpenBuckets>(record + layout.sketch), out);
  }
  if (families & MORE) tag |= writeMore(out, load<u32>(record + layout.more));
  store<u8>(out.data + tagAt, tag == AGGREGATED ? 0 : tag);
}

@inline
function writeMore(out: ByteBuffer, more: usize): u8 {
  const parts = more == 0 ? 0 : moreParts(more);
  if (parts == 0) return 0;
  moreWrite(out, more, parts);
  return HAS_MORE;
}

function writeSum(out: ByteBuffer, at: usize, big: usize): u8 {
  let tag: u8 = 0;
  out.f64(load<f64>(at));
  if (load<f64>(at, 8) != 0) {
    tag |= HAS_SUM_LOW;
    out.f64(load<f64>(at, 8));
  }
  if (load<u32>(big) != 0) {
    tag |= HAS_SUM_BIG;
    bigAt(big).write(out);
  }
  return tag;
}

function writeSquares(out: ByteBuffer, at: usize, big: usize): u8 {
  let tag: u8 = 0;
  out.f64(load<f64>(at));
  if (load<f64>(at, 8) != 0 || load<f64>(at, 16) != 0) {
    tag |= HAS_SQUARES_LOW;
    out.append(at + 8, 16);
  }
  if (load<u32>(big) != 0) {
    tag |= HAS_SQUARES_BIG;
    bigAt(big).write(out);
  }
  return tag;
}

/** Merges a written state into a record; returns the address behind it. */
export function mergeState(layout: Layout, record: usize, at: usize): usize {
  const tag = load<u8>(at);
  at++;
  if (tag < AGGREGATED) {
    const bytes = <usize>tag << 3;
    addRun(layout, record, at, at + bytes, tag);
    return at + (layout.families & TIMED ? bytes << 1 : bytes);
  }
  if (tag & HAS_OTHERS) {
    const others = readVarint(at);
    at = varintEnd;
    if (layout.families & OTHERS) {
      const place = record + layout.others;
      store<u64>(place, load<u64>(place) + others);
    }
  }
  if (tag & HAS_NUMBERS) at = mergeNumbers(layout, record, at, tag);
  return tag & HAS_MORE ? moreAddWritten(layout, record, at) : at;
}

function mergeNumbers(layout: Layout, record: usize, at: usize, tag: u8): usize {
  const families = layout.families;
  const count = record + layout.count;
  store<u64>(count, load<u64>(count) + readVarint(at));
  at = varintEnd;
  if (families & SUM) at = mergeSum(record + layout.sum, record + layout.sumBig, at, tag);
  if (families & SQUARES) at = mergeSquares(record + layout.squares, record + layout.squaresBig, at, tag);
  if (families & EXTREMES) {
    const place = record + layout.extremes;
    store<f64>(place, min(load<f64>(place), load<f64>(at)));
    store<f64>(place, max(load<f64>(place, 8), load<f64>(at, 8)), 8);
    at += 16;
  }
  if (families & FIRST) {
    keepFirst(record + layout.first, load<i64>(at), load<f64>(at, 8));
    at += 16;
  }
  if (families & LAST) {
    keepLast(record + layout.last, load<i64>(at), load<f64>(at, 8));
    at += 16;
  }
  if (!(families & QUANTILE)) return at;
  addWrittenBuckets(changetype<OpenBuckets>(record + layout.sketch), at);
  return varintEnd;
}

@inline
function mergeSum(sum: usize, big: usize, at: usize, tag: u8): usize {
  sumAdd(sum, big, load<f64>(at));
  at += 8;
  if (tag & HAS_SUM_LOW) {
    sumAdd(sum, big, load<f64>(at));
    at += 8;
  }
  return tag & HAS_SUM_BIG ? bigAt(big).addWritten(at) : at;
}

function mergeSquares(squares: usize, big: usize, at: usize, tag: u8): usize {
  cascadeAdd(squares, big, load<f64>(at));
  at += 8;
  if (tag & HAS_SQUARES_LOW) {
    cascadeAddLow(squares, big, load<f64>(at));
    cascadeAddLow(squares, big, load<f64>(at, 8));
    at += 16;
  }
  return tag & HAS_SQUARES_BIG ? bigAt(big).addWritten(at) : at;
}

/** Gives equal states equal parts, whatever the order they were gathered in. */
export function normalizeState(layout: Layout, record: usize): void {
  if (layout.families & SUM) sumNormalize(record + layout.sum, record + layout.sumBig);
  if (layout.families & SQUARES) normalizeSquares(record + layout.squares, record + layout.squaresBig);
  if (layout.families & MORE && load<u32>(record + layout.more) != 0) moreNormalize(load<u32>(record + layout.more));
}

function normalizeSquares(at: usize, place: usize): void {
  if (load<u32>(place) != 0) {
    normalizeThrough(bigAt(place), at, 3, place);
    return;
  }
  expansionReset();
  for (let i: usize = 0; i < 24; i += 8) expansionAdd(load<f64>(at + i));
  for (let i: usize = 0; i < 24; i += 8) store<f64>(at + i, expansionTake());
  const rest = expansionTake();
  if (rest != 0) bigAt(place).add(rest);
}
