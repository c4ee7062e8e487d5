/**
 * The values as they mostly come: short, without white space around them, nothing out of the ordinary. Each reader sets the cells of
 * rows from `from` to `rows` (exclusive), null where there is no value, and gives the first row that it leaves to `readOddValue`.
 *
 * They call nothing, and their branches come out the same way for nearly all rows.
 */
import { Dictionary } from "../memory/dictionary";
import { BEYOND_NINE, DIVISORS, HUNDREDS, lastDigits, markOthers, POINTS, TEN_THOUSANDS, TENS, valueOf, withoutByte, ZEROS } from "./digits";
import { Source } from "./source";
import { NOT_PLAIN_TIME, usOfPlainText, usOfWhole, Unit } from "./time";

const TRUE: u32 = 0x65757274;
const FALSE_HEAD: u32 = 0x736c6166;
const FALSE_TAIL: u32 = 0x65;
const MINUS: u32 = 0x2d;
const POINT: u32 = 0x2e;
const ZERO: u32 = 0x30;
const QUOTE: u32 = 0x22;
const MAX_NUMBER: usize = 16;

export function readPlainInts(source: Source, from: u32, rows: u32): u32 {
  const zeros = v128.load(ZEROS);
  const beyondNine = v128.load(BEYOND_NINE);
  const tens = v128.load(TENS);
  const hundreds = v128.load(HUNDREDS);
  const tenThousands = v128.load(TEN_THOUSANDS);
  const spans = source.spans;
  const cells = source.cells;
  const valid = source.valid;
  for (let row = from; row < rows; row++) {
    if (source.isGap(row)) {
      store<u64>(cells + (<usize>row << 3), 0);
      store<u8>(valid + row, 0);
      continue;
    }
    const at: usize = load<u32>(spans + (<usize>row << 3));
    const last: usize = load<u32>(spans + (<usize>row << 3), 4);
    const isMinus = u32(load<u8>(at) == MINUS);
    const first = at + isMinus;
    const length = last + 1 - first;
    if (length - 1 >= MAX_NUMBER) return row;
    if (load<u8>(first) == ZERO) {
      if (length != 1) return row;
    }
    const digits = lastDigits(last, length, zeros);
    if (markOthers(digits, beyondNine) != 0) return row;
    const value = valueOf(digits, tens, hundreds, tenThousands);
    store<u64>(cells + (<usize>row << 3), (value ^ (0 - <u64>isMinus)) + isMinus);
  }
  return rows;
}

export function readPlainFloats(source: Source, from: u32, rows: u32): u32 {
  const zeros = v128.load(ZEROS);
  const beyondNine = v128.load(BEYOND_NINE);
  const points = v128.load(POINTS);
  const tens = v128.load(TENS);
  const hundreds = v128.load(HUNDREDS);
  const tenThousands = v128.load(TEN_THOUSANDS);
  const spans = source.spans;
  const cells = source.cells;
  const valid = source.valid;
  for (let row = from; row < rows; row++) {
    if (source.isGap(row)) {
      store<u64>(cells + (<usize>row << 3), 0);
      store<u8>(valid + row, 0);
      continue;
    }
    const at: usize = load<u32>(spans + (<usize>row << 3));
    const last: usize = load<u32>(spans + (<usize>row << 3), 4);
    const isMinus = u32(load<u8>(at) == MINUS);
    const first = at + isMinus;
    const length = last + 1 - first;
    if (length - 1 >= MAX_NUMBER) return row;
    if (load<u8>(first) == ZERO) {
      // A leading zero.
      if (length != 1 && load<u8>(first, 1) != POINT) return row;
    }
    let digits = lastDigits(last, length, zeros);
    let place: usize = MAX_NUMBER - 1;
    const others = markOthers(digits, beyondNine);
    if (others != 0) {
      // Only the point may be another, with a digit on either side.
      if (i8x16.bitmask(i8x16.eq(digits, points)) != others) return row;
      if ((others & (others - 1)) != 0) return row;
      place = <usize>ctz<i32>(others);
      if (place == MAX_NUMBER - 1) return row;
      if (place + length == MAX_NUMBER) return row;
      digits = withoutByte(digits, place);
    }
    // Both are exact, so IEEE 754 rounds once: Clinger, "How to Read Floating Point Numbers Accurately" (1990).
    const value = <f64>(<i64>valueOf(digits, tens, hundreds, tenThousands)) / load<f64>(DIVISORS + (place << 3));
    store<u64>(cells + (<usize>row << 3), reinterpret<u64>(value) | (<u64>isMinus << 63));
  }
  return rows;
}

export function readPlainBools(source: Source, from: u32, rows: u32): u32 {
  const spans = source.spans;
  const cells = source.cells;
  const valid = source.valid;
  for (let row = from; row < rows; row++) {
    if (source.isGap(row)) {
      store<u64>(cells + (<usize>row << 3), 0);
      store<u8>(valid + row, 0);
      continue;
    }
    const at: usize = load<u32>(spans + (<usize>row << 3));
    const last: usize = load<u32>(spans + (<usize>row << 3), 4);
    const word = load<u32>(at);
    const isTrue = u32(word == TRUE);
    const isFalse = u32(word == FALSE_HEAD) & u32(load<u8>(at, 4) == FALSE_TAIL);
    if ((isTrue | isFalse) == 0) return row;
    if (at + 4 - isTrue != last) return row;
    store<u64>(cells + (<usize>row << 3), isTrue);
  }
  return rows;
}

/** Texts of up to 15 bytes that the dictionary has, and that stood in JSON as they are before. */
export function readPlainTexts(dictionary: Dictionary, source: Source, from: u32, rows: u32): u32 {
  const spans = source.spans;
  const cells = source.cells;
  const valid = source.valid;
  for (let row = from; row < rows; row++) {
    if (source.isGap(row)) {
      store<u64>(cells + (<usize>row << 3), 0);
      store<u8>(valid + row, 0);
      continue;
    }
    const at: usize = load<u32>(spans + (<usize>row << 3));
    const last: usize = load<u32>(spans + (<usize>row << 3), 4);
    if (load<u8>(at) != QUOTE) return row;
    if (load<u8>(last) != QUOTE) return row;
    const id = dictionary.findPlain(at + 1, <u32>(last - at - 1));
    if (id == 0) return row;
    store<u64>(cells + (<usize>row << 3), id - 1);
  }
  return rows;
}

/** Times that are numbers; `unit` is no `Iso`. */
export function readPlainTimes(unit: Unit, source: Source, from: u32, rows: u32): u32 {
  const zeros = v128.load(ZEROS);
  const beyondNine = v128.load(BEYOND_NINE);
  const tens = v128.load(TENS);
  const hundreds = v128.load(HUNDREDS);
  const tenThousands = v128.load(TEN_THOUSANDS);
  const spans = source.spans;
  const cells = source.cells;
  for (let row = from; row < rows; row++) {
    if (source.isGap(row)) continue;
    const at: usize = load<u32>(spans + (<usize>row << 3));
    const last: usize = load<u32>(spans + (<usize>row << 3), 4);
    const length = last + 1 - at;
    if (length - 1 >= MAX_NUMBER) return row;
    if (load<u8>(at) == ZERO) return row;
    const digits = lastDigits(last, length, zeros);
    if (markOthers(digits, beyondNine) != 0) return row;
    const us = usOfWhole(valueOf(digits, tens, hundreds, tenThousands), unit);
    if (us == NOT_PLAIN_TIME) return row;
    store<i64>(cells + (<usize>row << 3), us);
  }
  return rows;
}

/** Times that are texts. */
export function readPlainTimeTexts(source: Source, from: u32, rows: u32): u32 {
  const spans = source.spans;
  const cells = source.cells;
  for (let row = from; row < rows; row++) {
    if (source.isGap(row)) continue;
    const at: usize = load<u32>(spans + (<usize>row << 3));
    const last: usize = load<u32>(spans + (<usize>row << 3), 4);
    if (load<u8>(at) != QUOTE) return row;
    if (load<u8>(last) != QUOTE) return row;
    const us = usOfPlainText(at + 1, last - at - 1);
    if (us == NOT_PLAIN_TIME) return row;
    store<i64>(cells + (<usize>row << 3), us);
  }
  return rows;
}
