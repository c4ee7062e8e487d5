import { ColumnType } from "../batch/batch";
import { Dictionary, NOT_INTERNED } from "../memory/dictionary";
import { ByteCursor } from "../state/cursor";
import { keepValid } from "./compare";
import { memoFor, Step } from "./step";
import { floatsOf, Vector } from "./vector";

const KNOWN_FALSE: u32 = 1;
const KNOWN_TRUE: u32 = 2;

/** The values of a list behind `in`: texts, or numbers below 2^53 in size, which are exact as floats. */
@unmanaged
export class ValueSet {
  /** `Text` or `Float`. */
  type: ColumnType;
  count: u32;
  /** f64[count], ascending. */
  numbers: usize;
  texts: Dictionary;

  /** Reads ColumnType u32, count u32, then for Text: each length u32, bytes; else each f64, ascending. */
  static read(cursor: ByteCursor): ValueSet {
    const self = changetype<ValueSet>(heap.alloc(offsetof<ValueSet>()));
    self.type = <ColumnType>cursor.u32();
    self.count = cursor.u32();
    self.texts = Dictionary.create();
    self.numbers = heap.alloc((<usize>self.count << 3) + 1);
    for (let i: u32 = 0; i < self.count; i++) {
      if (self.type == ColumnType.Text) {
        const length = cursor.u32();
        self.texts.intern(cursor.take(length), length);
      } else {
        store<f64>(self.numbers + (<usize>i << 3), cursor.f64());
      }
    }
    return self;
  }

  dispose(): void {
    heap.free(this.numbers);
    this.texts.dispose();
    heap.free(changetype<usize>(this));
  }
}

/** Whether each value is in the set; null is in none, nor out of it. Each text is looked up once a batch. */
export function isIn(step: Step, set: ValueSet, a: Vector, out: Vector, rows: u32): void {
  if (set.type == ColumnType.Text ? a.type != ColumnType.Text : !a.isNumber()) return out.clear();
  const x = set.type == ColumnType.Text ? a.cells : floatsOf(a, rows, 0);
  out.own(ColumnType.Bool);
  out.validAs(a);
  if (set.type == ColumnType.Text) findTexts(step, set.texts, a, out, rows);
  else for (let row: u32 = 0; row < rows; row++) store<u8>(out.cells + row, <u8>hasNumber(set, load<f64>(x + (<usize>row << 3))));
  keepValid(out, rows);
}

function findTexts(step: Step, texts: Dictionary, a: Vector, out: Vector, rows: u32): void {
  const dictionary = a.dictionary;
  const memo = memoFor(step, 0, dictionary);
  for (let row: u32 = 0; row < rows; row++) {
    let known = KNOWN_FALSE;
    if (a.isValid(row)) {
      const id = load<u32>(a.cells + (<usize>row << 3));
      known = load<u32>(memo + (<usize>id << 2));
      if (known == 0) {
        const isThere = texts.find(dictionary.pointer(id), dictionary.length(id)) != NOT_INTERNED;
        known = isThere ? KNOWN_TRUE : KNOWN_FALSE;
        store<u32>(memo + (<usize>id << 2), known);
      }
    }
    store<u8>(out.cells + row, <u8>(known - KNOWN_FALSE));
  }
}

function hasNumber(set: ValueSet, value: f64): bool {
  let from: u32 = 0;
  let to = set.count;
  while (from < to) {
    const middle = (from + to) >> 1;
    if (load<f64>(set.numbers + (<usize>middle << 3)) < value) from = middle + 1;
    else to = middle;
  }
  return from < set.count && load<f64>(set.numbers + (<usize>from << 3)) == value;
}
