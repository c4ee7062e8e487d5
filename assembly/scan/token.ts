import { ByteBuffer } from "../memory/bytes";
import { doubleValue, integerValue, isInteger, readNumber as parseNumber } from "../parse/number";
import { Problem, problem } from "../parse/problem";
import { isUtf8 } from "./utf8";

/** What stands at a place of a JSON text. */
export const enum Kind {
  None = 0,
  Null = 1,
  True = 2,
  False = 3,
  Int = 4,
  Float = 5,
  Text = 6,
  Object = 7,
  Array = 8,
}

/** Why a line is bad; the texts are in `workers/core/parse-errors.ts`. */
export const enum Fault {
  None = 0,
  Syntax = 1,
  Depth = 2,
  Number = 3,
  Utf8 = 4,
  Escape = 5,
  NotObject = 6,
  Type = 7,
  NoTime = 8,
  Time = 9,
  NoKey = 10,
  LineTooLong = 11,
  Undeclared = 12,
  Control = 13,
  Header = 14,
  Cells = 15,
  Quote = 16,
}

/** The last scalar read, and the fault that stopped the reader. One reader works at a time. */
export let int: i64 = 0;
export let float: f64 = 0;
export let textAt: usize = 0;
export let textLength: u32 = 0;
export let fault: Fault = Fault.None;
export let faultAt: usize = 0;

/** Unescaped text of the last string that had escapes. */
let unescaped: ByteBuffer = changetype<ByteBuffer>(0);

export function fail(kind: Fault, at: usize): usize {
  fault = kind;
  faultAt = at;
  return 0;
}

export function clearFault(): void {
  fault = Fault.None;
}

/** Makes `length` bytes the last string read. */
export function setText(at: usize, length: u32): void {
  textAt = at;
  textLength = length;
}

const MAX_DEPTH: u32 = 64;
const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;

/** Skips blanks within a line; with `isDocument` line breaks too. */
@inline
export function skipBlanks(at: usize, isDocument: bool): usize {
  while (true) {
    const c = load<u8>(at);
    if (c > 0x20 || !(c == 0x20 || c == 0x09 || c == 0x0d || (c == 0x0a && isDocument))) return at;
    at++;
  }
}

/** The kind of value that begins at a character. */
@inline
export function kindAt(c: u8): Kind {
  if (c == QUOTE) return Kind.Text;
  if (c == 0x2d || c - 0x30 < 10) return Kind.Int;
  if (c == 0x7b) return Kind.Object;
  if (c == 0x5b) return Kind.Array;
  if (c == 0x74) return Kind.True;
  if (c == 0x66) return Kind.False;
  return c == 0x6e ? Kind.Null : Kind.None;
}

/**
 * Reads the string whose opening quote is at `at`; sets `textAt` and `textLength`. @returns the address behind the
 * closing quote, or 0 with a fault. Cost: 16 bytes a step; strings with escapes or beyond ASCII go a slower way.
 */
@inline
export function readString(at: usize): usize {
  const start = at + 1;
  let p = start;
  while (true) {
    const chunk = v128.load(p);
    // As signed bytes, control characters and all beyond ASCII are below 0x20.
    const special = v128.or(
      v128.or(i8x16.eq(chunk, i8x16.splat(<i8>QUOTE)), i8x16.eq(chunk, i8x16.splat(<i8>BACKSLASH))),
      i8x16.lt_s(chunk, i8x16.splat(0x20)),
    );
    const mask = i8x16.bitmask(special);
    if (mask == 0) {
      p += 16;
      continue;
    }
    p += ctz(mask);
    if (load<u8>(p) == QUOTE) {
      textAt = start;
      textLength = <u32>(p - start);
      return p + 1;
    }
    return readHardString(start, p);
  }
}

function readHardString(start: usize, p: usize): usize {
  let hasEscapes = false;
  let isAscii = true;
  while (true) {
    const c = load<u8>(p);
    if (c == QUOTE) break;
    if (c == BACKSLASH) {
      hasEscapes = true;
      p += 2;
      // An escaped end of input shows as a control character in the next step, or in the unescaping.
      continue;
    }
    if (c < 0x20) return fail(c == 0 || c == 0x0a ? Fault.Syntax : Fault.Control, p);
    if (c >= 0x80) isAscii = false;
    p++;
  }
  if (!isAscii && !isUtf8(start, <u32>(p - start))) return fail(Fault.Utf8, start);
  textAt = start;
  textLength = <u32>(p - start);
  if (hasEscapes && !unescape(start, p)) return 0;
  return p + 1;
}

/** Rewrites a string with escapes into a buffer of its own. */
function unescape(p: usize, end: usize): bool {
  if (changetype<usize>(unescaped) == 0) unescaped = ByteBuffer.create(1024);
  unescaped.reset();
  while (p < end) {
    const c = load<u8>(p);
    if (c != BACKSLASH) {
      unescaped.u8(c);
      p++;
      continue;
    }
    const escape = load<u8>(p, 1);
    p += 2;
    if (escape == 0x75) {
      const next = unescapeUnicode(p, end);
      if (next == 0) return false;
      p = next;
      continue;
    }
    const plain = plainEscape(escape);
    if (plain == 0) {
      fail(Fault.Escape, p - 2);
      return false;
    }
    unescaped.u8(plain);
  }
  textAt = unescaped.data;
  textLength = unescaped.length;
  return true;
}

function plainEscape(c: u8): u8 {
  if (c == 0x22 || c == 0x5c || c == 0x2f) return c;
  if (c == 0x62) return 8;
  if (c == 0x66) return 12;
  if (c == 0x6e) return 10;
  if (c == 0x72) return 13;
  return c == 0x74 ? 9 : 0;
}

/** The four digits behind `\u`, and a low surrogate behind a high one. Lone surrogates have no UTF-8: a fault. */
function unescapeUnicode(p: usize, end: usize): usize {
  let code = hex4(p, end);
  if (code < 0) return fail(Fault.Escape, p - 2);
  p += 4;
  if (code >= 0xdc00 && code < 0xe000) return fail(Fault.Escape, p - 6);
  if (code >= 0xd800 && code < 0xdc00) {
    const low = p + 6 <= end && load<u16>(p) == 0x755c ? hex4(p + 2, end) : -1;
    if (low < 0xdc00 || low >= 0xe000) return fail(Fault.Escape, p - 6);
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    p += 6;
  }
  writeUtf8(code);
  return p;
}

function hex4(p: usize, end: usize): i32 {
  if (p + 4 > end) return -1;
  let value = 0;
  for (let i: usize = 0; i < 4; i++) {
    const c = load<u8>(p + i);
    const lower = c | 0x20;
    let digit: i32 = -1;
    if (c - 0x30 < 10) digit = c - 0x30;
    else if (lower - 0x61 < 6) digit = lower - 0x61 + 10;
    if (digit < 0) return -1;
    value = (value << 4) | digit;
  }
  return value;
}

function writeUtf8(code: i32): void {
  if (code < 0x80) {
    unescaped.u8(<u8>code);
  } else if (code < 0x800) {
    unescaped.u8(<u8>(0xc0 | (code >> 6)));
    unescaped.u8(<u8>(0x80 | (code & 63)));
  } else if (code < 0x10000) {
    unescaped.u8(<u8>(0xe0 | (code >> 12)));
    unescaped.u8(<u8>(0x80 | ((code >> 6) & 63)));
    unescaped.u8(<u8>(0x80 | (code & 63)));
  } else {
    unescaped.u8(<u8>(0xf0 | (code >> 18)));
    unescaped.u8(<u8>(0x80 | ((code >> 12) & 63)));
    unescaped.u8(<u8>(0x80 | ((code >> 6) & 63)));
    unescaped.u8(<u8>(0x80 | (code & 63)));
  }
}

/** The kind of the last number read: Int when it is whole, written so, and fits an i64; else Float. */
export let numberKind: Kind = Kind.None;

/** Reads a number; sets `numberKind` and `int` or `float`. @returns the address behind it, or 0 with a fault. */
@inline
export function readNumber(at: usize): usize {
  const p = parseNumber(at);
  if (p == 0) return fail(problem == Problem.NumberTooGreat ? Fault.Number : Fault.Syntax, at);
  if (isInteger) {
    int = integerValue;
    numberKind = Kind.Int;
  } else {
    float = doubleValue;
    numberKind = Kind.Float;
  }
  return p;
}

/** Reads `null`, `true` or `false`. */
@inline
export function readWord(at: usize, kind: Kind): usize {
  if (kind == Kind.True) return load<u32>(at) == 0x65757274 ? at + 4 : fail(Fault.Syntax, at);
  if (kind == Kind.Null) return load<u32>(at) == 0x6c6c756e ? at + 4 : fail(Fault.Syntax, at);
  return load<u32>(at) == 0x736c6166 && load<u8>(at, 4) == 0x65 ? at + 5 : fail(Fault.Syntax, at);
}

/** Checks any value without keeping it. @returns the address behind it, or 0 with a fault. */
export function skipValue(at: usize, isDocument: bool, depth: u32): usize {
  const kind = kindAt(load<u8>(at));
  switch (kind) {
    case Kind.Text:
      return readString(at);
    case Kind.Int:
      return readNumber(at);
    case Kind.Object:
      return depth > MAX_DEPTH ? fail(Fault.Depth, at) : skipObject(at, isDocument, depth);
    case Kind.Array:
      return depth > MAX_DEPTH ? fail(Fault.Depth, at) : skipArray(at, isDocument, depth);
    case Kind.None:
      return fail(Fault.Syntax, at);
    default:
      return readWord(at, kind);
  }
}

function skipObject(at: usize, isDocument: bool, depth: u32): usize {
  let p = skipBlanks(at + 1, isDocument);
  if (load<u8>(p) == 0x7d) return p + 1;
  while (true) {
    if (load<u8>(p) != QUOTE) return fail(Fault.Syntax, p);
    p = readString(p);
    if (p == 0) return 0;
    p = skipBlanks(p, isDocument);
    if (load<u8>(p) != 0x3a) return fail(Fault.Syntax, p);
    p = skipValue(skipBlanks(p + 1, isDocument), isDocument, depth + 1);
    if (p == 0) return 0;
    p = skipBlanks(p, isDocument);
    const c = load<u8>(p);
    if (c == 0x7d) return p + 1;
    if (c != 0x2c) return fail(Fault.Syntax, p);
    p = skipBlanks(p + 1, isDocument);
  }
}

function skipArray(at: usize, isDocument: bool, depth: u32): usize {
  let p = skipBlanks(at + 1, isDocument);
  if (load<u8>(p) == 0x5d) return p + 1;
  while (true) {
    p = skipValue(p, isDocument, depth + 1);
    if (p == 0) return 0;
    p = skipBlanks(p, isDocument);
    const c = load<u8>(p);
    if (c == 0x5d) return p + 1;
    if (c != 0x2c) return fail(Fault.Syntax, p);
    p = skipBlanks(p + 1, isDocument);
  }
}
