import { ColumnType } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";
import { ALL_VALID, asKind, floatsOf, kindOf, stretched, Vector } from "./vector";
import { Kind } from "./opcode";
import { Step } from "./step";
import { translate } from "./text";

/** SQL's three-valued logic: false and anything is false, true or anything is true, else a null makes null. */
export function and(left: Vector, right: Vector, out: Vector, rows: u32): void {
  const a = asKind(left, Kind.Bool);
  const b = asKind(right, Kind.Bool);
  out.own(ColumnType.Bool);
  const to = out.cells;
  const isPlain = a.valid == ALL_VALID && b.valid == ALL_VALID;
  if (!isPlain) out.valid = out.ownValid;
  for (let at: usize = 0; at < <usize>stretched(rows); at += 16) {
    const x = v128.load(a.cells + at);
    const y = v128.load(b.cells + at);
    v128.store(to + at, v128.and(x, y));
    if (isPlain) continue;
    const knownX = v128.load(a.valid + at);
    const knownY = v128.load(b.valid + at);
    const isFalse = v128.or(v128.andnot(knownX, x), v128.andnot(knownY, y));
    v128.store(out.ownValid + at, v128.or(v128.and(knownX, knownY), isFalse));
  }
}

export function or(left: Vector, right: Vector, out: Vector, rows: u32): void {
  const a = asKind(left, Kind.Bool);
  const b = asKind(right, Kind.Bool);
  out.own(ColumnType.Bool);
  const to = out.cells;
  const isPlain = a.valid == ALL_VALID && b.valid == ALL_VALID;
  if (!isPlain) out.valid = out.ownValid;
  for (let at: usize = 0; at < <usize>stretched(rows); at += 16) {
    const isTrue = v128.or(v128.load(a.cells + at), v128.load(b.cells + at));
    v128.store(to + at, isTrue);
    if (isPlain) continue;
    const known = v128.and(v128.load(a.valid + at), v128.load(b.valid + at));
    v128.store(out.ownValid + at, v128.or(known, isTrue));
  }
}

export function not(operand: Vector, out: Vector, rows: u32): void {
  const a = asKind(operand, Kind.Bool);
  out.own(ColumnType.Bool);
  out.validAs(a);
  for (let at: usize = 0; at < <usize>stretched(rows); at += 16) {
    v128.store(out.cells + at, v128.andnot(v128.load(a.valid + at), v128.load(a.cells + at)));
  }
}

export function isNull(a: Vector, out: Vector, rows: u32): void {
  out.own(ColumnType.Bool);
  for (let at: usize = 0; at < <usize>stretched(rows); at += 16) {
    v128.store(out.cells + at, v128.xor(v128.load(a.valid + at), i8x16.splat(1)));
  }
}

/** The first of two that is not null. */
export function coalesce(step: Step, first: Vector, second: Vector, out: Vector, rows: u32, texts: Dictionary): void {
  const kind = kindOfEither(step, first, second);
  const a = asKind(first, kind);
  choose(step, kind, a.valid, a, asKind(second, kind), out, rows, texts);
}

/** The second where the condition is true, else the third: also where it is null. */
export function chooseIf(
  step: Step,
  condition: Vector,
  first: Vector,
  second: Vector,
  out: Vector,
  rows: u32,
  texts: Dictionary,
): void {
  const kind = kindOfEither(step, first, second);
  const isFirst = asKind(condition, Kind.Bool).cells;
  choose(step, kind, isFirst, asKind(first, kind), asKind(second, kind), out, rows, texts);
}

/** The kind that the program asks for, else that of the first operand that has one. */
function kindOfEither(step: Step, first: Vector, second: Vector): Kind {
  if (step.extra != Kind.Any) return <Kind>step.extra;
  const kind = kindOf(first);
  return kind == Kind.Any ? kindOf(second) : kind;
}

/** `a` where the byte of `condition` is 1, else `b`. */
function choose(
  step: Step,
  kind: Kind,
  condition: usize,
  a: Vector,
  b: Vector,
  out: Vector,
  rows: u32,
  texts: Dictionary,
): void {
  if (a.type == ColumnType.Null && b.type == ColumnType.Null) return out.clear();
  let x = a.cells;
  let y = b.cells;
  if (kind == Kind.Number) {
    const isFloat = a.type == ColumnType.Float || b.type == ColumnType.Float;
    if (isFloat) {
      x = floatsOf(a, rows, 0);
      y = floatsOf(b, rows, 1);
    }
    out.own(isFloat ? ColumnType.Float : ColumnType.Int);
  } else if (kind == Kind.Text) {
    const hasBoth = a.type == ColumnType.Text && b.type == ColumnType.Text;
    const isShared = !hasBoth || a.dictionary == b.dictionary;
    const dictionary = !isShared ? texts : a.type == ColumnType.Text ? a.dictionary : b.dictionary;
    if (!isShared) {
      x = translate(step, 0, a, texts, rows);
      y = translate(step, 1, b, texts, rows);
    }
    out.own(ColumnType.Text);
    out.dictionary = dictionary;
  } else {
    out.own(ColumnType.Bool);
    chooseBytes(condition, a.cells, b.cells, out.cells, rows);
  }
  if (kind != Kind.Bool) {
    const to = out.cells;
    for (let row: u32 = 0; row < rows; row++) {
      const at = <usize>row << 3;
      store<u64>(to + at, load<u8>(condition + row) ? load<u64>(x + at) : load<u64>(y + at));
    }
  }
  if (a.valid == ALL_VALID && b.valid == ALL_VALID) return;
  out.valid = out.ownValid;
  chooseBytes(condition, a.valid, b.valid, out.ownValid, rows);
}

function chooseBytes(condition: usize, a: usize, b: usize, to: usize, rows: u32): void {
  for (let at: usize = 0; at < <usize>stretched(rows); at += 16) {
    const isFirst = i8x16.ne(v128.load(condition + at), i8x16.splat(0));
    v128.store(to + at, v128.bitselect(v128.load(a + at), v128.load(b + at), isFirst));
  }
}
