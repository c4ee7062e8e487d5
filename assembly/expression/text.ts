import { casemap } from "util/casemap";
import { ColumnType } from "../batch/batch";
import { writeDouble, writeInteger } from "../codec/numbers";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { isTrue, keepValid } from "./compare";
import { Op } from "./opcode";
import { memoFor, Step } from "./step";
import { Vector } from "./vector";

/** Texts are UTF-8 and compare by their bytes, which is the order of their code points. */

const KNOWN_FALSE: u32 = 1;
const KNOWN_TRUE: u32 = 2;
const LOWER: i32 = 0;
const UPPER: i32 = 1;

const firstIds = memory.data(8192, 16);
const secondIds = memory.data(8192, 16);
const made = ByteBuffer.create(256);
const numberText = memory.data(64);

/** A comparison or match of two texts. Where one of them is the same in all rows, the other's texts are each looked at once. */
export function predicate(step: Step, a: Vector, b: Vector, out: Vector, rows: u32): void {
  if (a.type != ColumnType.Text || b.type != ColumnType.Text) return out.clear();
  out.own(ColumnType.Bool);
  out.validAsBoth(a, b);
  if (b.isConstant) predicateById(step, a, b, a, out, rows);
  else if (a.isConstant) predicateById(step, a, b, b, out, rows);
  else {
    for (let row: u32 = 0; row < rows; row++) {
      store<u8>(out.cells + row, out.isValid(row) ? <u8>holds(step.op, a, idAt(a, row), b, idAt(b, row)) : 0);
    }
  }
  keepValid(out, rows);
}

function predicateById(step: Step, a: Vector, b: Vector, varying: Vector, out: Vector, rows: u32): void {
  const memo = memoFor(step, 0, varying.dictionary);
  for (let row: u32 = 0; row < rows; row++) {
    if (!out.isValid(row)) {
      store<u8>(out.cells + row, 0);
      continue;
    }
    const place = memo + (<usize>idAt(varying, row) << 2);
    let known = load<u32>(place);
    if (known == 0) {
      known = holds(step.op, a, idAt(a, row), b, idAt(b, row)) ? KNOWN_TRUE : KNOWN_FALSE;
      store<u32>(place, known);
    }
    store<u8>(out.cells + row, <u8>(known - KNOWN_FALSE));
  }
}

@inline
function idAt(a: Vector, row: u32): u32 {
  return load<u32>(a.cells + (<usize>row << 3));
}

function holds(op: Op, a: Vector, first: u32, b: Vector, second: u32): bool {
  const x = a.dictionary.pointer(first);
  const xLength = a.dictionary.length(first);
  const y = b.dictionary.pointer(second);
  const yLength = b.dictionary.length(second);
  switch (op) {
    case Op.StartsWith:
      return xLength >= yLength && memory.compare(x, y, yLength) == 0;
    case Op.EndsWith:
      return xLength >= yLength && memory.compare(x + xLength - yLength, y, yLength) == 0;
    case Op.Contains:
      return contains(x, xLength, y, yLength);
    case Op.Like:
      return isLike(x, x + xLength, y, y + yLength);
    default: {
      const order = memory.compare(x, y, min(xLength, yLength));
      return isTrue(op, order != 0 ? order : <i32>xLength - <i32>yLength);
    }
  }
}

function contains(x: usize, xLength: u32, y: usize, yLength: u32): bool {
  if (yLength > xLength) return false;
  for (let at = x; at <= x + xLength - yLength; at++) if (memory.compare(at, y, yLength) == 0) return true;
  return false;
}

/**
 * Whether a text matches a pattern, in which * stands for any characters and ? for one. The greedy match with one point of
 * return (Krauss, "Matching Wildcards: An Algorithm", 2008): at most length times length steps, no recursion.
 */
function isLike(text: usize, textEnd: usize, pattern: usize, patternEnd: usize): bool {
  let star: usize = 0;
  let resume: usize = 0;
  while (text < textEnd) {
    const wanted: u8 = pattern < patternEnd ? load<u8>(pattern) : 0;
    if (pattern < patternEnd && wanted == 0x2a) {
      star = ++pattern;
      resume = text;
    } else if (pattern < patternEnd && wanted == 0x3f) {
      pattern++;
      text = nextCharacter(text, textEnd);
    } else if (pattern < patternEnd && wanted == load<u8>(text)) {
      pattern++;
      text++;
    } else if (star != 0) {
      resume = nextCharacter(resume, textEnd);
      text = resume;
      pattern = star;
    } else {
      return false;
    }
  }
  while (pattern < patternEnd && load<u8>(pattern) == 0x2a) pattern++;
  return pattern == patternEnd;
}

/** Where the next UTF-8 character begins. */
@inline
function nextCharacter(at: usize, end: usize): usize {
  at++;
  while (at < end && (load<u8>(at) & 0xc0) == 0x80) at++;
  return at;
}

/** The ids that a vector's texts have in `texts`, u64 a row. */
export function translate(step: Step, slot: u32, a: Vector, texts: Dictionary, rows: u32): usize {
  const to = slot == 0 ? firstIds : secondIds;
  const memo = memoFor(step, slot, a.dictionary);
  for (let row: u32 = 0; row < rows; row++) {
    let known: u32 = 1;
    if (a.isValid(row)) {
      const id = idAt(a, row);
      const place = memo + (<usize>id << 2);
      known = load<u32>(place);
      if (known == 0) {
        known = texts.intern(a.dictionary.pointer(id), a.dictionary.length(id)) + 1;
        store<u32>(place, known);
      }
    }
    store<u64>(to + (<usize>row << 3), known - 1);
  }
  return to;
}

/** lower() and upper(): character by character, as Unicode's simple case mapping has it; ß becomes ẞ. */
export function changeCase(step: Step, a: Vector, out: Vector, rows: u32, texts: Dictionary): void {
  if (a.type != ColumnType.Text) return out.clear();
  out.own(ColumnType.Text);
  out.dictionary = texts;
  out.validAs(a);
  const memo = memoFor(step, 0, a.dictionary);
  for (let row: u32 = 0; row < rows; row++) {
    let known: u32 = 1;
    if (a.isValid(row)) {
      const id = idAt(a, row);
      const place = memo + (<usize>id << 2);
      known = load<u32>(place);
      if (known == 0) {
        mapCase(a.dictionary.pointer(id), a.dictionary.length(id), step.op == Op.Upper ? UPPER : LOWER);
        known = texts.intern(made.data, made.length) + 1;
        store<u32>(place, known);
      }
    }
    store<u64>(out.cells + (<usize>row << 3), known - 1);
  }
}

function mapCase(at: usize, length: u32, direction: i32): void {
  made.reset();
  const end = at + length;
  while (at < end) {
    const next = nextCharacter(at, end);
    appendCharacter(mapped(readCharacter(at, <u32>(next - at)), direction));
    at = next;
  }
  // The dictionary reads whole blocks.
  made.reserve(16);
}

function mapped(code: u32, direction: i32): u32 {
  if (code < 0x80) {
    const isOther = direction == UPPER ? code - 0x61 < 26 : code - 0x41 < 26;
    return isOther ? code ^ 0x20 : code;
  }
  // The tables end there.
  return code < 0x20000 ? <u32>casemap(code, direction) : code;
}

function readCharacter(at: usize, length: u32): u32 {
  const first: u32 = load<u8>(at);
  if (length == 1) return first;
  let code: u32 = length == 2 ? first & 0x1f : length == 3 ? first & 0x0f : first & 0x07;
  for (let i: u32 = 1; i < length; i++) code = (code << 6) | (load<u8>(at + i) & 0x3f);
  return code;
}

function appendCharacter(code: u32): void {
  if (code < 0x80) return made.u8(<u8>code);
  if (code < 0x800) {
    made.u8(<u8>(0xc0 | (code >> 6)));
  } else {
    if (code < 0x10000) {
      made.u8(<u8>(0xe0 | (code >> 12)));
    } else {
      made.u8(<u8>(0xf0 | (code >> 18)));
      made.u8(<u8>(0x80 | ((code >> 12) & 0x3f)));
    }
    made.u8(<u8>(0x80 | ((code >> 6) & 0x3f)));
  }
  made.u8(<u8>(0x80 | (code & 0x3f)));
}

/** How many characters (code points) a text has. */
export function lengthOf(step: Step, a: Vector, out: Vector, rows: u32): void {
  if (a.type != ColumnType.Text) return out.clear();
  out.own(ColumnType.Int);
  out.validAs(a);
  const memo = memoFor(step, 0, a.dictionary);
  for (let row: u32 = 0; row < rows; row++) {
    let known: u32 = 1;
    if (a.isValid(row)) {
      const id = idAt(a, row);
      const place = memo + (<usize>id << 2);
      known = load<u32>(place);
      if (known == 0) {
        known = countCharacters(a.dictionary.pointer(id), a.dictionary.length(id)) + 1;
        store<u32>(place, known);
      }
    }
    store<u64>(out.cells + (<usize>row << 3), known - 1);
  }
}

function countCharacters(at: usize, length: u32): u32 {
  let count: u32 = 0;
  for (let i: u32 = 0; i < length; i++) count += (load<u8>(at + i) & 0xc0) != 0x80 ? 1 : 0;
  return count;
}

/** One text behind the other. */
export function concat(step: Step, a: Vector, b: Vector, out: Vector, rows: u32, texts: Dictionary): void {
  if (a.type != ColumnType.Text || b.type != ColumnType.Text) return out.clear();
  out.own(ColumnType.Text);
  out.dictionary = texts;
  out.validAsBoth(a, b);
  const isById = a.isConstant != 0 || b.isConstant != 0;
  const varying = a.isConstant ? b : a;
  const memo = isById ? memoFor(step, 0, varying.dictionary) : 0;
  for (let row: u32 = 0; row < rows; row++) {
    let id: u32 = 0;
    if (out.isValid(row)) {
      const place = isById ? memo + (<usize>idAt(varying, row) << 2) : 0;
      id = isById ? load<u32>(place) : 0;
      if (id == 0) {
        id = join(a, idAt(a, row), b, idAt(b, row), texts) + 1;
        if (isById) store<u32>(place, id);
      }
      id--;
    }
    store<u64>(out.cells + (<usize>row << 3), id);
  }
}

function join(a: Vector, first: u32, b: Vector, second: u32, texts: Dictionary): u32 {
  made.reset();
  made.append(a.dictionary.pointer(first), a.dictionary.length(first));
  made.append(b.dictionary.pointer(second), b.dictionary.length(second));
  made.reserve(16);
  return texts.intern(made.data, made.length);
}

/** Numbers as ECMAScript writes them, bools as true and false, texts as they are. */
export function toText(a: Vector, out: Vector, rows: u32, texts: Dictionary): void {
  if (a.type == ColumnType.Null) return out.clear();
  out.own(ColumnType.Text);
  out.validAs(a);
  if (a.type == ColumnType.Text) {
    out.dictionary = a.dictionary;
    memory.copy(out.cells, a.cells, <usize>rows << 3);
    return;
  }
  out.dictionary = texts;
  for (let row: u32 = 0; row < rows; row++) {
    const id = a.isValid(row) ? texts.intern(numberText, writeCell(a, row)) : 0;
    store<u64>(out.cells + (<usize>row << 3), id);
  }
}

/** The value of a row that is no text, as text at `writtenText`; gives its length. */
export function writeCell(a: Vector, row: u32): u32 {
  if (a.type == ColumnType.Int) return writeInteger(load<i64>(a.cells + (<usize>row << 3)), numberText);
  if (a.type == ColumnType.Float) return writeDouble(load<f64>(a.cells + (<usize>row << 3)), numberText);
  if (load<u8>(a.cells + row)) {
    store<u32>(numberText, 0x65757274); // "true"
    return 4;
  }
  store<u32>(numberText, 0x736c6166); // "fals"
  store<u8>(numberText, 0x65, 4); // "e"
  return 5;
}

export const writtenText: usize = numberText;
