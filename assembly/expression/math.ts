import { ColumnType } from "../batch/batch";
import { Op } from "./opcode";
import { floatsOf, nullOddFloats, stretched, Vector } from "./vector";

/** A function of one number. What is no finite number, such as the root of −1, is null. */
export function unaryMath(op: Op, a: Vector, out: Vector, rows: u32): void {
  if (!a.isNumber()) return out.clear();
  if (a.type == ColumnType.Int && (op == Op.Floor || op == Op.Ceil || op == Op.Round)) {
    out.own(ColumnType.Int);
    out.validAs(a);
    memory.copy(out.cells, a.cells, <usize>rows << 3);
    return;
  }
  if (a.type == ColumnType.Int && (op == Op.Abs || op == Op.Sign)) return intMath(op, a, out, rows);
  const x = floatsOf(a, rows, 0);
  out.own(op == Op.Sign ? ColumnType.Int : ColumnType.Float);
  out.validAs(a);
  const to = out.cells;
  const end = <usize>rows << 3;
  switch (op) {
    case Op.Abs:
      return simple(Op.Abs, x, to, rows);
    case Op.Floor:
      return simple(Op.Floor, x, to, rows);
    case Op.Ceil:
      return simple(Op.Ceil, x, to, rows);
    case Op.Round:
      for (let at: usize = 0; at < end; at += 8) store<f64>(to + at, roundHalfAway(load<f64>(x + at)));
      return;
    case Op.Sign:
      for (let at: usize = 0; at < end; at += 8) {
        const value = load<f64>(x + at);
        store<i64>(to + at, value > 0 ? 1 : value < 0 ? -1 : 0);
      }
      return;
    case Op.Sqrt:
      simple(Op.Sqrt, x, to, rows);
      break;
    case Op.Exp:
      for (let at: usize = 0; at < end; at += 8) store<f64>(to + at, Math.exp(load<f64>(x + at)));
      break;
    case Op.Ln:
      for (let at: usize = 0; at < end; at += 8) store<f64>(to + at, Math.log(load<f64>(x + at)));
      break;
    default:
      for (let at: usize = 0; at < end; at += 8) store<f64>(to + at, Math.log10(load<f64>(x + at)));
  }
  nullOddFloats(out, rows);
}

@inline
function simple(op: Op, x: usize, to: usize, rows: u32): void {
  const end = <usize>stretched(rows) << 3;
  for (let at: usize = 0; at < end; at += 16) {
    const value = v128.load(x + at);
    let result: v128;
    if (op == Op.Abs) result = f64x2.abs(value);
    else if (op == Op.Floor) result = f64x2.floor(value);
    else if (op == Op.Ceil) result = f64x2.ceil(value);
    else result = f64x2.sqrt(value);
    v128.store(to + at, result);
  }
}

/** To the nearest whole number, halves away from zero. Exact: the part behind the point of a double is a double. */
@inline
function roundHalfAway(x: f64): f64 {
  const whole = trunc(x);
  return abs(x - whole) >= 0.5 ? whole + copysign<f64>(1, x) : whole;
}

function intMath(op: Op, a: Vector, out: Vector, rows: u32): void {
  out.own(ColumnType.Int);
  out.validAs(a);
  for (let row: u32 = 0; row < rows; row++) {
    const at = <usize>row << 3;
    const x = load<i64>(a.cells + at);
    if (op == Op.Sign) {
      store<i64>(out.cells + at, x > 0 ? 1 : x < 0 ? -1 : 0);
      continue;
    }
    store<i64>(out.cells + at, x < 0 ? -x : x);
    // Its negative does not fit.
    if (x == i64.MIN_VALUE) out.setNull(row);
  }
}

/** The lesser or greater of two numbers; an int beside a float becomes one. */
export function extreme(op: Op, a: Vector, b: Vector, out: Vector, rows: u32): void {
  if (!a.isNumber() || !b.isNumber()) return out.clear();
  const isInt = a.type == ColumnType.Int && b.type == ColumnType.Int;
  const x = isInt ? a.cells : floatsOf(a, rows, 0);
  const y = isInt ? b.cells : floatsOf(b, rows, 1);
  out.own(isInt ? ColumnType.Int : ColumnType.Float);
  out.validAsBoth(a, b);
  const end = <usize>stretched(rows) << 3;
  for (let at: usize = 0; at < end; at += 16) {
    const left = v128.load(x + at);
    const right = v128.load(y + at);
    const isRightLess = isInt ? i64x2.lt_s(right, left) : f64x2.lt(right, left);
    const lesser = v128.bitselect(right, left, isRightLess);
    const greater = v128.bitselect(left, right, isRightLess);
    v128.store(out.cells + at, op == Op.Minimum ? lesser : greater);
  }
}

export function power(a: Vector, b: Vector, out: Vector, rows: u32): void {
  if (!a.isNumber() || !b.isNumber()) return out.clear();
  const x = floatsOf(a, rows, 0);
  const y = floatsOf(b, rows, 1);
  out.own(ColumnType.Float);
  out.validAsBoth(a, b);
  for (let at: usize = 0; at < <usize>rows << 3; at += 8) {
    store<f64>(out.cells + at, Math.pow(load<f64>(x + at), load<f64>(y + at)));
  }
  nullOddFloats(out, rows);
}
