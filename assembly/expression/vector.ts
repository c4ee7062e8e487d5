import { ColumnType } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";
import { Kind } from "./opcode";

/** Rows that go through a program at once: its vectors then stay in the processor's nearest caches. */
export const CHUNK_ROWS: u32 = 1024;
/** Vector loops go over whole stretches of this many rows; what stands behind the last row does not matter. */
export const STRETCH: u32 = 16;

/** The validity of a vector without nulls: compared by address. */
export const ALL_VALID = memory.data(1024, 16);
memory.fill(ALL_VALID, 1, CHUNK_ROWS);
/** Cells and validity of a vector of nulls. */
const NOTHING = memory.data(8192, 16);

/**
 * A value for each row of a chunk. Int, Float and Text have 8-byte cells as a batch's column has them; Bool has a byte
 * a row, 0 or 1, which is 0 where the value is null. In other types the cell of a null may be anything.
 */
@unmanaged
export class Vector {
  type: ColumnType;
  cells: usize;
  /** u8 by row, 0 or 1; `ALL_VALID` when there is no null. */
  valid: usize;
  /** For Text. */
  dictionary: Dictionary;
  ownCells: usize;
  ownValid: usize;
  /** 1 when all rows have the same value. */
  isConstant: u32;

  static create(): Vector {
    const self = changetype<Vector>(heap.alloc(offsetof<Vector>()));
    self.ownCells = heap.alloc(CHUNK_ROWS << 3);
    self.ownValid = heap.alloc(CHUNK_ROWS);
    memory.fill(self.ownCells, 0, CHUNK_ROWS << 3);
    memory.fill(self.ownValid, 0, CHUNK_ROWS);
    self.isConstant = 0;
    self.clear();
    return self;
  }

  /** Makes it a vector of nulls. */
  clear(): void {
    this.type = ColumnType.Null;
    this.cells = NOTHING;
    this.valid = NOTHING;
    this.dictionary = changetype<Dictionary>(0);
  }

  /** Makes it a vector of its own cells, which the caller fills, without nulls. */
  @inline own(type: ColumnType): void {
    this.type = type;
    this.cells = this.ownCells;
    this.valid = ALL_VALID;
    this.dictionary = changetype<Dictionary>(0);
  }

  @inline isValid(row: u32): bool {
    return load<u8>(this.valid + row) != 0;
  }

  @inline isNumber(): bool {
    return this.type == ColumnType.Int || this.type == ColumnType.Float;
  }

  /** Makes the validity its own and returns it. */
  ownedValid(): usize {
    if (this.valid != this.ownValid) {
      memory.copy(this.ownValid, this.valid, CHUNK_ROWS);
      this.valid = this.ownValid;
    }
    return this.ownValid;
  }

  /** A row's value is null from now on. */
  setNull(row: u32): void {
    store<u8>(this.ownedValid() + row, 0);
  }

  /** Valid where `a` is. */
  validAs(a: Vector): void {
    if (a.valid == ALL_VALID) {
      this.valid = ALL_VALID;
      return;
    }
    memory.copy(this.ownValid, a.valid, CHUNK_ROWS);
    this.valid = this.ownValid;
  }

  /** Valid where both are. */
  validAsBoth(a: Vector, b: Vector): void {
    if (a.valid == ALL_VALID) return this.validAs(b);
    if (b.valid == ALL_VALID) return this.validAs(a);
    const to = this.ownValid;
    for (let at: usize = 0; at < CHUNK_ROWS; at += 16) {
      v128.store(to + at, v128.and(v128.load(a.valid + at), v128.load(b.valid + at)));
    }
    this.valid = to;
  }

  dispose(): void {
    heap.free(this.ownCells);
    heap.free(this.ownValid);
    heap.free(changetype<usize>(this));
  }
}

/** What stands for operands of a wrong kind. */
const NULLS = Vector.create();

/** The vector when it is of that kind, else nulls. */
export function asKind(a: Vector, kind: Kind): Vector {
  switch (kind) {
    case Kind.Number:
      return a.isNumber() ? a : NULLS;
    case Kind.Bool:
      return a.type == ColumnType.Bool ? a : NULLS;
    case Kind.Text:
      return a.type == ColumnType.Text ? a : NULLS;
    default:
      return a;
  }
}

/** The kind of what a vector holds; `Any` for nulls. */
export function kindOf(a: Vector): Kind {
  if (a.isNumber()) return Kind.Number;
  if (a.type == ColumnType.Bool) return Kind.Bool;
  return a.type == ColumnType.Text ? Kind.Text : Kind.Any;
}

/** 2^51 + 2^52: added to a float below 2^51 in size, it leaves the whole number in the mantissa's low bits. */
const ROUNDER: f64 = 6755399441055744;
const ROUNDER_BITS: i64 = 0x4338000000000000;
const HALF_RANGE: i64 = 1 << 51;

const firstFloats = memory.data(8192, 16);
const secondFloats = memory.data(8192, 16);
/** Whether the last `floatsOf` changed no value; it may have when a whole number is 2^51 or more. */
export let areFloatsExact: bool = true;

/** The cells of a vector of numbers as f64. `slot`: 0 or 1, whose memory is overwritten by the next call for that slot. */
export function floatsOf(a: Vector, rows: u32, slot: u32): usize {
  areFloatsExact = true;
  if (a.type != ColumnType.Int) return a.cells;
  const to = slot == 0 ? firstFloats : secondFloats;
  const from = a.cells;
  let outside = i64x2.splat(0);
  const end: usize = <usize>stretched(rows) << 3;
  for (let at: usize = 0; at < end; at += 16) {
    const x = v128.load(from + at);
    outside = v128.or(outside, i64x2.shr_u(i64x2.add(x, i64x2.splat(HALF_RANGE)), 52));
    v128.store(to + at, f64x2.sub(i64x2.add(x, i64x2.splat(ROUNDER_BITS)), f64x2.splat(ROUNDER)));
  }
  if (!v128.any_true(outside)) return to;
  areFloatsExact = false;
  for (let row: u32 = 0; row < rows; row++) {
    store<f64>(to + (<usize>row << 3), <f64>load<i64>(from + (<usize>row << 3)));
  }
  return to;
}

/** Rows, rounded up to whole stretches. */
@inline
export function stretched(rows: u32): u32 {
  return (rows + STRETCH - 1) & ~(STRETCH - 1);
}

/** Nulls the rows whose f64 is no finite number. */
export function nullOddFloats(out: Vector, rows: u32): void {
  const cells = out.cells;
  for (let row: u32 = 0; row < rows; row++) {
    const x = load<f64>(cells + (<usize>row << 3));
    if (x - x == 0) continue;
    out.setNull(row);
    store<f64>(cells + (<usize>row << 3), 0);
  }
}
