import { ColumnType } from "../batch/batch";
import { Op } from "./opcode";
import { ALL_VALID, areFloatsExact, floatsOf, stretched, Vector } from "./vector";

const TWO_TO_63: f64 = 9223372036854775808.0;

/** Compares numbers with numbers by their exact values, and bools with bools (false is less). Else all is null. */
export function compare(op: Op, a: Vector, b: Vector, out: Vector, rows: u32): void {
  if (a.type == ColumnType.Bool && b.type == ColumnType.Bool) {
    out.own(ColumnType.Bool);
    out.validAsBoth(a, b);
    compareBools(op, a.cells, b.cells, out.cells, rows);
  } else if (a.isNumber() && b.isNumber()) {
    compareNumbers(op, a, b, out, rows);
  } else {
    return out.clear();
  }
  keepValid(out, rows);
}

/** Makes nulls false. */
export function keepValid(out: Vector, rows: u32): void {
  if (out.valid == ALL_VALID) return;
  const cells = out.cells;
  const valid = out.valid;
  for (let at: usize = 0; at < <usize>stretched(rows); at += 16) {
    v128.store(cells + at, v128.and(v128.load(cells + at), v128.load(valid + at)));
  }
}

function compareNumbers(op: Op, a: Vector, b: Vector, out: Vector, rows: u32): void {
  const isMixed = a.type != b.type;
  let x = a.cells;
  let y = b.cells;
  let isExact = true;
  if (isMixed) {
    x = floatsOf(a, rows, 0);
    isExact = areFloatsExact;
    y = floatsOf(b, rows, 1);
    isExact = isExact && areFloatsExact;
  }
  out.own(ColumnType.Bool);
  out.validAsBoth(a, b);
  const to = out.cells;
  if (!isExact) compareMixed(op, a, b, to, rows);
  else if (a.type == ColumnType.Int && !isMixed) compareInts(op, x, y, to, rows);
  else compareFloats(op, x, y, to, rows);
}

function compareFloats(op: Op, x: usize, y: usize, to: usize, rows: u32): void {
  switch (op) {
    case Op.Equal:
      return loop(false, Op.Equal, x, y, to, rows);
    case Op.NotEqual:
      return loop(false, Op.NotEqual, x, y, to, rows);
    case Op.Less:
      return loop(false, Op.Less, x, y, to, rows);
    case Op.LessOrEqual:
      return loop(false, Op.LessOrEqual, x, y, to, rows);
    case Op.Greater:
      return loop(false, Op.Less, y, x, to, rows);
    default:
      return loop(false, Op.LessOrEqual, y, x, to, rows);
  }
}

function compareInts(op: Op, x: usize, y: usize, to: usize, rows: u32): void {
  switch (op) {
    case Op.Equal:
      return loop(true, Op.Equal, x, y, to, rows);
    case Op.NotEqual:
      return loop(true, Op.NotEqual, x, y, to, rows);
    case Op.Less:
      return loop(true, Op.Less, x, y, to, rows);
    case Op.LessOrEqual:
      return loop(true, Op.LessOrEqual, x, y, to, rows);
    case Op.Greater:
      return loop(true, Op.Less, y, x, to, rows);
    default:
      return loop(true, Op.LessOrEqual, y, x, to, rows);
  }
}

/** Sixteen rows a step: eight comparisons of two, packed to a byte each. */
@inline
function loop(isInt: bool, op: Op, x: usize, y: usize, to: usize, rows: u32): void {
  const end = stretched(rows);
  for (let row: u32 = 0; row < end; row += 16) {
    const first = eight(isInt, op, x, y);
    const second = eight(isInt, op, x + 64, y + 64);
    v128.store(to + row, v128.and(i8x16.narrow_i16x8_s(first, second), i8x16.splat(1)));
    x += 128;
    y += 128;
  }
}

@inline
function eight(isInt: bool, op: Op, x: usize, y: usize): v128 {
  return i16x8.narrow_i32x4_s(
    evens(two(isInt, op, x, y), two(isInt, op, x + 16, y + 16)),
    evens(two(isInt, op, x + 32, y + 32), two(isInt, op, x + 48, y + 48)),
  );
}

@inline
function evens(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(a, b, 0, 2, 4, 6);
}

@inline
function two(isInt: bool, op: Op, x: usize, y: usize): v128 {
  const a = v128.load(x);
  const b = v128.load(y);
  if (isInt) {
    if (op == Op.Equal) return i64x2.eq(a, b);
    if (op == Op.NotEqual) return i64x2.ne(a, b);
    return op == Op.Less ? i64x2.lt_s(a, b) : i64x2.le_s(a, b);
  }
  if (op == Op.Equal) return f64x2.eq(a, b);
  if (op == Op.NotEqual) return f64x2.ne(a, b);
  return op == Op.Less ? f64x2.lt(a, b) : f64x2.le(a, b);
}

/** An int beside a float, where the int is no double: both as they are. */
function compareMixed(op: Op, a: Vector, b: Vector, to: usize, rows: u32): void {
  const isIntLeft = a.type == ColumnType.Int;
  for (let row: u32 = 0; row < rows; row++) {
    const at = <usize>row << 3;
    const order = isIntLeft
      ? orderOf(load<i64>(a.cells + at), load<f64>(b.cells + at))
      : -orderOf(load<i64>(b.cells + at), load<f64>(a.cells + at));
    store<u8>(to + row, <u8>isTrue(op, order));
  }
}

/** Below, at or above 0 as the int is less than, equal to or greater than the float. */
function orderOf(x: i64, y: f64): i32 {
  if (y >= TWO_TO_63) return -1;
  if (y < -TWO_TO_63) return 1;
  const whole = <i64>y;
  if (x != whole) return x < whole ? -1 : 1;
  const rest = y - trunc(y);
  return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

/** Whether a comparison holds for an order: below 0, 0, above 0. */
@inline
export function isTrue(op: Op, order: i32): bool {
  switch (op) {
    case Op.Equal:
      return order == 0;
    case Op.NotEqual:
      return order != 0;
    case Op.Less:
      return order < 0;
    case Op.LessOrEqual:
      return order <= 0;
    case Op.Greater:
      return order > 0;
    default:
      return order >= 0;
  }
}

function compareBools(op: Op, x: usize, y: usize, to: usize, rows: u32): void {
  for (let row: usize = 0; row < <usize>rows; row++) {
    store<u8>(to + row, <u8>isTrue(op, <i32>load<u8>(x + row) - <i32>load<u8>(y + row)));
  }
}
