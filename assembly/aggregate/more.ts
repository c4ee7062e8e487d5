import { ByteBuffer } from "../memory/bytes";
import { readVarint, varintEnd, writeVarint } from "../state/varint";
import { Bools } from "./bools";
import { BoxKind, boxBool, boxes, boxOf } from "./box";
import {
  histogramAdd,
  histogramAddWritten,
  histogramCreate,
  histogramDispose,
  histogramReset,
  histogramResult,
  histogramWrite,
  isHistogramEmpty,
} from "./histogram";
import {
  distinctAdd,
  distinctAddWritten,
  distinctCreate,
  distinctDispose,
  distinctReset,
  distinctResult,
  distinctWrite,
  isDistinctEmpty,
} from "./hyperloglog";
import {
  disposeText,
  hasText,
  keepFirstText,
  keepLastText,
  keepMaxText,
  keepMinText,
  readBytes,
  readLength,
  readText,
  readTime,
  resetText,
  textResult,
  textTime,
  writeText,
} from "./kept-text";
import { DISTINCT, Fn, HISTOGRAM, Layout, POINTS, TOP } from "./layout";
import { countMemory } from "./memory";
import { pointCount, pointsAdd, pointsAddWritten, pointsCreate, pointsDispose, pointsReset, pointsWrite } from "./points";
import { rateOf } from "./rate";
import { SpaceSaving } from "./space-saving";
import { averageOf, integralOf } from "./time-weighted";
import { hashValue, ValueKind } from "./value";

/**
 * What a record keeps of a field outside itself: made on first need, so that a record of numbers under min or max has no
 * more than an empty pointer. Parts are addresses, 0 when there is none.
 */
@unmanaged
export class More extends Bools {
  firstText: u32;
  lastText: u32;
  minText: u32;
  maxText: u32;
  distinct: u32;
  top: u32;
  histogram: u32;
  boundCount: u32;
  points: u32;

  @inline get firstPlace(): usize {
    return changetype<usize>(this) + offsetof<More>("firstText");
  }

  @inline get lastPlace(): usize {
    return changetype<usize>(this) + offsetof<More>("lastText");
  }

  @inline get minPlace(): usize {
    return changetype<usize>(this) + offsetof<More>("minText");
  }

  @inline get maxPlace(): usize {
    return changetype<usize>(this) + offsetof<More>("maxText");
  }

  @inline addHash(hash: u64): void {
    if (this.distinct == 0) this.distinct = <u32>distinctCreate();
    this.distinct = <u32>distinctAdd(this.distinct, hash);
  }

  @inline topOf(wanted: u32): SpaceSaving {
    if (this.top == 0) this.top = <u32>changetype<usize>(SpaceSaving.create(wanted));
    return changetype<SpaceSaving>(<usize>this.top);
  }

  @inline histogramOf(boundCount: u32): usize {
    if (this.histogram == 0) {
      this.histogram = <u32>histogramCreate(boundCount);
      this.boundCount = boundCount;
    }
    return this.histogram;
  }

  @inline pointsOf(): usize {
    if (this.points == 0) this.points = <u32>pointsCreate();
    return this.points;
  }
}

const MORE_BYTES: i32 = <i32>offsetof<More>();

/** What a record has, made when there is none. */
@inline
export function moreOf(layout: Layout, record: usize): More {
  const place = record + layout.more;
  if (load<u32>(place) == 0) store<u32>(place, <u32>create());
  return changetype<More>(<usize>load<u32>(place));
}

function create(): usize {
  const more = heap.alloc(MORE_BYTES);
  memory.fill(more, 0, MORE_BYTES);
  countMemory(MORE_BYTES);
  return more;
}

export function moreDispose(at: usize): void {
  const more = changetype<More>(at);
  disposeText(more.firstPlace);
  disposeText(more.lastPlace);
  disposeText(more.minPlace);
  disposeText(more.maxPlace);
  if (more.distinct != 0) distinctDispose(more.distinct);
  if (more.top != 0) more.topOf(0).dispose();
  if (more.histogram != 0) histogramDispose(more.histogram, more.boundCount);
  if (more.points != 0) pointsDispose(more.points);
  countMemory(-MORE_BYTES);
  heap.free(at);
}

/** Empties the parts and keeps their memory. */
export function moreReset(at: usize): void {
  const more = changetype<More>(at);
  more.count = 0;
  more.trues = 0;
  resetText(more.firstPlace);
  resetText(more.lastPlace);
  resetText(more.minPlace);
  resetText(more.maxPlace);
  if (more.distinct != 0) more.distinct = <u32>distinctReset(more.distinct);
  if (more.top != 0) more.topOf(0).reset();
  if (more.histogram != 0) histogramReset(more.histogram, more.boundCount);
  if (more.points != 0) pointsReset(more.points);
}

/** Takes n finite numbers, none of them −0, into those of the families that numbers go to. */
export function addNumbers(layout: Layout, families: u32, record: usize, values: usize, times: usize, n: u32): void {
  const more = moreOf(layout, record);
  if (families & DISTINCT) {
    for (let i: u32 = 0; i < n; i++) {
      more.addHash(hashValue(ValueKind.Number, load<u64>(values + (<usize>i << 3))));
    }
  }
  if (families & TOP) {
    const top = more.topOf(layout.topSize);
    for (let i: u32 = 0; i < n; i++) top.add(ValueKind.Number, load<u64>(values + (<usize>i << 3)), 1);
    top.settle();
  }
  if (families & HISTOGRAM) {
    histogramAdd(more.histogramOf(layout.boundCount), layout.bounds, layout.boundCount, values, n);
  }
  if (families & POINTS) more.points = <u32>pointsAdd(more.pointsOf(), values, times, n);
}

/** The value of a selected function; `at` is 0 where the record has nothing. */
export function moreResult(layout: Layout, record: usize, at: usize, fn: Fn, parameter: f64): f64 {
  const more = changetype<More>(at);
  switch (fn) {
    case Fn.Distinct:
      return at == 0 || more.distinct == 0 ? 0 : distinctResult(more.distinct);
    case Fn.Topk:
      if (at != 0 && more.top != 0) return more.topOf(0).top(<u32>parameter);
      boxes.u32(0);
      return boxOf(BoxKind.Top, boxes.length - 4);
    case Fn.Histogram:
      return histogramResult(at == 0 ? 0 : more.histogram, layout.boundCount);
    case Fn.Delta:
      return layout.numericResult(record, fn, parameter);
    default:
      return at == 0 ? NaN : presentResult(layout, record, more, fn, parameter);
  }
}

function presentResult(layout: Layout, record: usize, more: More, fn: Fn, parameter: f64): f64 {
  switch (fn) {
    case Fn.Any:
      return more.any();
    case Fn.All:
      return more.all();
    case Fn.Mode:
      return more.top == 0 || more.topOf(0).count == 0 ? NaN : more.topOf(0).mode();
    case Fn.Rate:
      return more.points == 0 ? NaN : rateOf(more.points);
    case Fn.Twa:
      return more.points == 0 ? NaN : averageOf(more.points, parameter != 0);
    case Fn.Integral:
      return more.points == 0 ? NaN : integralOf(more.points, parameter != 0);
    case Fn.Min:
    case Fn.Max:
    case Fn.First:
    case Fn.Last:
      return keptResult(layout, record, more, fn);
    default:
      return layout.numericResult(record, fn, parameter);
  }
}

/** min, max, first, last. Texts are greater than numbers; bools among numbers are 0 and 1. */
function keptResult(layout: Layout, record: usize, more: More, fn: Fn): f64 {
  const count = load<u64>(record + layout.count);
  const place =
    fn == Fn.Min ? more.minPlace : fn == Fn.Max ? more.maxPlace : fn == Fn.First ? more.firstPlace : more.lastPlace;
  if (hasText(place) && (count == 0 || isTextKept(layout, record, place, fn))) return textResult(place);
  const value = layout.numericResult(record, fn, 0);
  return count != 0 && more.count == count ? boxBool(value != 0) : value;
}

/** Whether the text is the result and not the number beside it. */
function isTextKept(layout: Layout, record: usize, place: usize, fn: Fn): bool {
  if (fn == Fn.Min || fn == Fn.Max) return fn == Fn.Max;
  if (fn == Fn.First) return textTime(place) < load<i64>(record + layout.first);
  return textTime(place) >= load<i64>(record + layout.last);
}

/** Parts in a written state, in this order. */
const HAS_BOOLS: u32 = 1;
const HAS_FIRST: u32 = 2;
const HAS_LAST: u32 = 4;
const HAS_MIN: u32 = 8;
const HAS_MAX: u32 = 16;
const HAS_DISTINCT: u32 = 32;
const HAS_TOP: u32 = 64;
const HAS_HISTOGRAM: u32 = 128;
const HAS_POINTS: u32 = 256;

/** Which parts have something in them; 0 when none has. */
export function moreParts(at: usize): u32 {
  const more = changetype<More>(at);
  let parts: u32 = more.count != 0 ? HAS_BOOLS : 0;
  if (hasText(more.firstPlace)) parts |= HAS_FIRST;
  if (hasText(more.lastPlace)) parts |= HAS_LAST;
  if (hasText(more.minPlace)) parts |= HAS_MIN;
  if (hasText(more.maxPlace)) parts |= HAS_MAX;
  if (more.distinct != 0 && !isDistinctEmpty(more.distinct)) parts |= HAS_DISTINCT;
  if (more.top != 0 && more.topOf(0).count != 0) parts |= HAS_TOP;
  if (more.histogram != 0 && !isHistogramEmpty(more.histogram, more.boundCount)) parts |= HAS_HISTOGRAM;
  if (more.points != 0 && pointCount(more.points) != 0) parts |= HAS_POINTS;
  return parts;
}

/** Gives equal parts equal bytes, whatever the order they were gathered in. */
export function moreNormalize(at: usize): void {
  const more = changetype<More>(at);
  if (more.top != 0) more.topOf(0).normalize();
}

export function moreWrite(out: ByteBuffer, at: usize, parts: u32): void {
  const more = changetype<More>(at);
  writeVarint(out, parts);
  if (parts & HAS_BOOLS) more.write(out);
  if (parts & HAS_FIRST) writeText(out, more.firstPlace);
  if (parts & HAS_LAST) writeText(out, more.lastPlace);
  if (parts & HAS_MIN) writeText(out, more.minPlace);
  if (parts & HAS_MAX) writeText(out, more.maxPlace);
  if (parts & HAS_DISTINCT) distinctWrite(out, more.distinct);
  if (parts & HAS_TOP) more.topOf(0).write(out);
  if (parts & HAS_HISTOGRAM) histogramWrite(out, more.histogram, more.boundCount);
  if (parts & HAS_POINTS) pointsWrite(out, more.points);
}

/** Merges what `moreWrite` wrote; returns the address behind it. */
export function moreAddWritten(layout: Layout, record: usize, at: usize): usize {
  const more = moreOf(layout, record);
  const parts = <u32>readVarint(at);
  at = varintEnd;
  if (parts & HAS_BOOLS) at = more.addWritten(at);
  if (parts & HAS_FIRST) {
    at = readText(at);
    keepFirstText(more.firstPlace, readTime, readBytes, readLength);
  }
  if (parts & HAS_LAST) {
    at = readText(at);
    keepLastText(more.lastPlace, readTime, readBytes, readLength);
  }
  if (parts & HAS_MIN) {
    at = readText(at);
    keepMinText(more.minPlace, readBytes, readLength);
  }
  if (parts & HAS_MAX) {
    at = readText(at);
    keepMaxText(more.maxPlace, readBytes, readLength);
  }
  if (parts & HAS_DISTINCT) {
    if (more.distinct == 0) more.distinct = <u32>distinctCreate();
    more.distinct = <u32>distinctAddWritten(more.distinct, at);
    at = varintEnd;
  }
  if (parts & HAS_TOP) at = more.topOf(layout.topSize).addWritten(at);
  if (parts & HAS_HISTOGRAM) at = histogramAddWritten(more.histogramOf(layout.boundCount), layout.boundCount, at);
  if (parts & HAS_POINTS) {
    more.points = <u32>pointsAddWritten(more.pointsOf(), at);
    at = varintEnd;
  }
  return at;
}
