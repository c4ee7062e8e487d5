import { ColumnType } from "../batch/batch";
import { Op } from "./opcode";
import { floatsOf, nullOddFloats, stretched, Vector } from "./vector";

/**
 * + − · / % over numbers. Ints stay ints but for /, and are exact: what does not fit 64 bits is null. Floats are IEEE 754
 * doubles; what is no finite number, as after a division by zero, is null.
 */
export function arithmetic(op: Op, a: Vector, b: Vector, out: Vector, rows: u32): void {
  if (!a.isNumber() || !b.isNumber()) return out.clear();
  if (a.type == ColumnType.Int && b.type == ColumnType.Int && op != Op.Divide) {
    out.own(ColumnType.Int);
    out.validAsBoth(a, b);
    intArithmetic(op, a.cells, b.cells, out, rows);
    return;
  }
  const x = floatsOf(a, rows, 0);
  const y = floatsOf(b, rows, 1);
  out.own(ColumnType.Float);
  out.validAsBoth(a, b);
  const to = out.cells;
  let isOdd = false;
  switch (op) {
    case Op.Add:
      isOdd = floatLoop(Op.Add, x, y, to, rows);
      break;
    case Op.Subtract:
      isOdd = floatLoop(Op.Subtract, x, y, to, rows);
      break;
    case Op.Multiply:
      isOdd = floatLoop(Op.Multiply, x, y, to, rows);
      break;
    case Op.Divide:
      isOdd = floatLoop(Op.Divide, x, y, to, rows);
      break;
    default:
      isOdd = true;
      for (let at: usize = 0; at < <usize>rows << 3; at += 8) store<f64>(to + at, load<f64>(x + at) % load<f64>(y + at));
  }
  if (isOdd) nullOddFloats(out, rows);
}

/** Returns whether a result is no finite number. */
@inline
function floatLoop(op: Op, x: usize, y: usize, to: usize, rows: u32): bool {
  let odd = f64x2.splat(0);
  const end = <usize>stretched(rows) << 3;
  for (let at: usize = 0; at < end; at += 16) {
    const left = v128.load(x + at);
    const right = v128.load(y + at);
    let result: v128;
    if (op == Op.Add) result = f64x2.add(left, right);
    else if (op == Op.Subtract) result = f64x2.sub(left, right);
    else if (op == Op.Multiply) result = f64x2.mul(left, right);
    else result = f64x2.div(left, right);
    v128.store(to + at, result);
    odd = v128.or(odd, f64x2.ne(f64x2.sub(result, result), f64x2.splat(0)));
  }
  return v128.any_true(odd);
}

function intArithmetic(op: Op, x: usize, y: usize, out: Vector, rows: u32): void {
  const to = out.cells;
  const end = <usize>stretched(rows) << 3;
  let over = i64x2.splat(0);
  switch (op) {
    case Op.Add:
      for (let at: usize = 0; at < end; at += 16) {
        const left = v128.load(x + at);
        const right = v128.load(y + at);
        const sum = i64x2.add(left, right);
        over = v128.or(over, v128.and(v128.xor(left, sum), v128.xor(right, sum)));
        v128.store(to + at, sum);
      }
      if (i64x2.bitmask(over) != 0) nullSums(x, y, out, rows);
      return;
    case Op.Subtract:
      for (let at: usize = 0; at < end; at += 16) {
        const left = v128.load(x + at);
        const right = v128.load(y + at);
        const difference = i64x2.sub(left, right);
        over = v128.or(over, v128.and(v128.xor(left, right), v128.xor(left, difference)));
        v128.store(to + at, difference);
      }
      if (i64x2.bitmask(over) != 0) nullDifferences(x, y, out, rows);
      return;
    case Op.Multiply:
      // Factors of 32 bits cannot overflow.
      for (let at: usize = 0; at < end; at += 16) {
        const left = v128.load(x + at);
        const right = v128.load(y + at);
        over = v128.or(over, v128.or(outside32(left), outside32(right)));
        v128.store(to + at, i64x2.mul(left, right));
      }
      if (v128.any_true(over)) nullProducts(x, y, out, rows);
      return;
    default:
      remainders(x, y, out, rows);
  }
}

@inline
function outside32(x: v128): v128 {
  return i64x2.shr_u(i64x2.add(x, i64x2.splat(0x80000000)), 32);
}

function nullSums(x: usize, y: usize, out: Vector, rows: u32): void {
  for (let row: u32 = 0; row < rows; row++) {
    const left = load<i64>(x + (<usize>row << 3));
    const right = load<i64>(y + (<usize>row << 3));
    const sum = left + right;
    if (((left ^ sum) & (right ^ sum)) < 0) out.setNull(row);
  }
}

function nullDifferences(x: usize, y: usize, out: Vector, rows: u32): void {
  for (let row: u32 = 0; row < rows; row++) {
    const left = load<i64>(x + (<usize>row << 3));
    const right = load<i64>(y + (<usize>row << 3));
    if (((left ^ right) & (left ^ (left - right))) < 0) out.setNull(row);
  }
}

function nullProducts(x: usize, y: usize, out: Vector, rows: u32): void {
  for (let row: u32 = 0; row < rows; row++) {
    const left = load<i64>(x + (<usize>row << 3));
    const right = load<i64>(y + (<usize>row << 3));
    if (left == 0 || right == 0) continue;
    const product = left * right;
    // The division of the least int by -1 would trap.
    const isLost =
      left == -1 ? right == i64.MIN_VALUE : right == -1 ? left == i64.MIN_VALUE : product / right != left;
    if (isLost) out.setNull(row);
  }
}

function remainders(x: usize, y: usize, out: Vector, rows: u32): void {
  const to = out.cells;
  for (let row: u32 = 0; row < rows; row++) {
    const at = <usize>row << 3;
    const divisor = load<i64>(y + at);
    if (divisor == 0) {
      out.setNull(row);
      store<i64>(to + at, 0);
    } else {
      store<i64>(to + at, divisor == -1 ? 0 : load<i64>(x + at) % divisor);
    }
  }
}
