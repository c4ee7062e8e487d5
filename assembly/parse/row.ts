import { Batch, Column } from "../batch/batch";
import { maskedBlock } from "../memory/dictionary";
import { exactPowerOfTen } from "./double";
import { appendExtra } from "./extra";
import { Key, MARK_TIME, markQuote, Role } from "./key";
import { decimalExponent, doubleValue, eightDigits, integerValue, isInteger, isNegative, mantissa, markNonDigits, readNumber } from "./number";
import { Parser } from "./parser";
import { hasEscapes, markSpecial, readString, unescape } from "./text";
import { powerOfTen, readIsoTime, timeOfNumber, timeOfPlain, timeUs, Unit } from "./time";
import { FEED_IN_DOCUMENT, MAX_DEPTH, skipValue } from "./value";

const NULL: u32 = 0x6c6c756e;
const TRUE: u32 = 0x65757274;
const FALSE_HEAD: u32 = 0x736c6166;
const ASCII_ZEROS: u64 = 0x3030303030303030;
/** Halved from row to row: with so many, keys are looked up at once. */
const MAX_FAILED_GUESSES: u32 = 3;

@inline
function isBlank(byte: u32, lineFeed: u32): bool {
  return byte == 0x20 || byte == 0x09 || byte == 0x0d || byte == lineFeed;
}

function skipBlanks(at: usize, lineFeed: u32): usize {
  while (isBlank(load<u8>(at), lineFeed)) at++;
  return at;
}

@inline
function put(column: Column, row: u32, cell: u64): void {
  if (column.filled != row) column.fillNulls(row);
  store<u64>(column.cells + (<usize>row << 3), cell);
  store<u8>(column.valid + row, 1);
  column.filled = row + 1;
}

/** Past true or false at `at`, without a branch for which of them it is; 0 when it is neither. */
@inline
function readBool(column: Column, row: u32, at: usize): usize {
  const word = load<u32>(at);
  const isTrue = u32(word == TRUE);
  const isFalse = u32(word == FALSE_HEAD) & u32(load<u8>(at, 4) == 0x65);
  if ((isTrue | isFalse) == 0) return 0;
  put(column, row, isTrue);
  return at + 5 - isTrue;
}

/** Reads an integer of up to 15 digits into `plainValue`; gives where it ends, or 0 when it is longer or malformed. */
@inline
function readPlainInteger(at: usize): usize {
  let word = load<u64>(at) ^ ASCII_ZEROS;
  let marked = markNonDigits(word);
  if (marked != 0) {
    const count = ctz<u64>(marked) >> 3;
    plainValue = eightDigits(word << (64 - (count << 3)));
    // No digit, or a leading zero.
    return count == 0 || (count > 1 && (word & 0xff) == 0) ? 0 : at + <usize>count;
  }
  if ((word & 0xff) == 0) return 0;
  plainValue = eightDigits(word);
  at += 8;
  word = load<u64>(at) ^ ASCII_ZEROS;
  marked = markNonDigits(word);
  if (marked == 0) return 0;
  const count = <i32>ctz<u64>(marked) >> 3;
  if (count != 0) plainValue = plainValue * powerOfTen(count) + eightDigits(word << (64 - (count << 3)));
  return at + count;
}

/**
 * Reads a number of up to 7 bytes, with a point within or without, into `plainValue` and `plainDecimals`. Gives where it
 * ends, or 0 when it is longer, has an exponent or is malformed.
 */
@inline
function readPlainDecimal(at: usize): usize {
  const word = load<u64>(at) ^ ASCII_ZEROS;
  const marked = markNonDigits(word);
  if (marked == 0) return 0;
  const point = ctz<u64>(marked);
  const whole = point >> 3;
  if (whole == 0 || (whole > 1 && (word & 0xff) == 0)) return 0;
  const next = <u32>load<u8>(at + <usize>whole);
  if (next != 0x2e) {
    plainDecimals = 0;
    plainValue = eightDigits(word << (64 - (whole << 3)));
    return (next | 0x20) == 0x65 ? 0 : at + <usize>whole;
  }
  // Another byte that is no digit must follow within the word.
  const after = marked & (marked - 1);
  if (after == 0) return 0;
  const length = ctz<u64>(after) >> 3;
  const decimals = length - whole - 1;
  if (decimals == 0 || (load<u8>(at + <usize>length) | 0x20) == 0x65) return 0;
  // The digits without the point between them: those before it move up by a byte.
  const before = ((<u64>1) << (whole << 3)) - 1;
  const digits = ((word & before) << 8) | (word & ~((before << 8) | 0xff));
  plainValue = eightDigits(digits << (64 - (length << 3)));
  plainDecimals = <i32>decimals;
  return at + <usize>length;
}

let plainValue: u64 = 0;
let plainDecimals: i32 = 0;

/** Reads a number for a column of ints; 0 when it is none that fits. */
@inline
function putInteger(column: Column, row: u32, byte: u32, at: usize): usize {
  const isMinus = u64(byte == 0x2d);
  const end = readPlainInteger(at + <usize>isMinus);
  if (end != 0) {
    put(column, row, (plainValue ^ (0 - isMinus)) + isMinus);
    return end;
  }
  return putLongInteger(column, row, at);
}

function putLongInteger(column: Column, row: u32, at: usize): usize {
  const end = readNumber(at);
  if (end == 0 || !isInteger) return 0;
  put(column, row, integerValue);
  return end;
}

/** The same for a column of floats. */
@inline
function putFloat(column: Column, row: u32, byte: u32, at: usize): usize {
  const isMinus = u64(byte == 0x2d);
  const end = readPlainDecimal(at + <usize>isMinus);
  if (end != 0) {
    const value = <f64>(<i64>plainValue) / exactPowerOfTen(plainDecimals);
    put(column, row, reinterpret<u64>(value) | (isMinus << 63));
    return end;
  }
  return putLongFloat(column, row, at);
}

function putLongFloat(column: Column, row: u32, at: usize): usize {
  const end = readNumber(at);
  if (end != 0) put(column, row, reinterpret<u64>(doubleValue));
  return end;
}

/** Reads an event time; 0 when it is none, or not of the unit. */
@inline
function readTime(parser: Parser, byte: u32, at: usize): usize {
  const unit = parser.plan.unit;
  if (byte == 0x22) return readTimeText(at);
  if (unit == Unit.Iso) return 0;
  const end = readPlainInteger(at);
  if (end != 0 && load<u8>(end) != 0x2e) return timeOfPlain(plainValue, unit) ? end : 0;
  return readLongTime(at, unit);
}

function readTimeText(at: usize): usize {
  const end = readString(at + 1, false);
  return end == 0 || hasEscapes || !readIsoTime(at + 1, end) ? 0 : end + 1;
}

function readLongTime(at: usize, unit: Unit): usize {
  const end = readNumber(at);
  return end != 0 && timeOfNumber(isNegative, mantissa, decimalExponent, unit) ? end : 0;
}

@inline
function putText(column: Column, row: u32, at: usize): usize {
  const text = v128.load(at);
  const special = markSpecial(text);
  const length = <u32>ctz<i32>(special);
  if (special == 0 || load<u8>(at + length) != 0x22) return putLongText(column, row, at);
  put(column, row, column.dictionary.internShort(maskedBlock(text, length), length));
  return at + length + 1;
}

/**
 * Reads the object at `start` straight into the next row's cells. Gives where it ends; or 0 when anything about it is
 * out of the ordinary (an unknown key, a value that its column cannot hold, a fault), and the caller then undoes the row
 * and reads it with `readObject`, which decides.
 *
 * Cost: one pass. While events have their fields in one order, the next key is guessed to be the one that came next
 * the last time, which one 16-byte comparison confirms. Where guesses fail, keys are looked up by a hash of their first
 * 16 bytes at once, because a guess that fails half of the time costs more than the look-up. What the value is to be is
 * told by the key's role, so that each kind of column has branches of its own, which come out the same way every time.
 */
export function readRow(parser: Parser, start: usize): usize {
  const batch = parser.batch;
  const row = batch.rows;
  const keys = parser.keys;
  const lineFeed = parser.lineFeed;
  const serial = ++parser.serial;
  const extraStart = batch.extra.bytes.length;
  const isGuessing = parser.failedGuesses < MAX_FAILED_GUESSES;
  let failedGuesses: u32 = 0;
  let marks: u32 = 0;
  let depth: u32 = 1;
  let parent = changetype<usize>(keys.root);
  // Where the guess of the next key stands.
  let guess = parent + offsetof<Key>("first");
  let at = skipBlanks(start + 1, lineFeed);
  if (load<u8>(at) == 0x7d) {
    parser.rowMarks = 0;
    return at + 1;
  }
  if (load<u8>(at) != 0x22) return 0;
  // The opening quote of a key is at `at`.
  while (true) {
    let found = load<usize>(guess);
    let role: Role;
    const block = v128.load(at, 1);
    const isGuessed =
      isGuessing &&
      !v128.any_true(v128.xor(v128.and(block, changetype<Key>(found).guessMask), changetype<Key>(found).guess));
    if (isGuessed) {
      role = changetype<Key>(found).role;
      at += changetype<Key>(found).length + 3;
    } else {
      const guessed = found;
      const word = v128.extract_lane<u64>(block, 0);
      const quote = markQuote(word);
      if (quote != 0) {
        const entry = keys.findQuick(parent, word & (quote ^ (quote - 1)));
        found = entry.key;
        role = entry.role;
        at += <usize>(ctz<u64>(quote) >> 3) + 2;
      } else {
        found = keys.find(parent, at + 1);
        role = changetype<Key>(found).role;
        at += changetype<Key>(found).length + 2;
      }
      if (found == 0) {
        parser.missesKey = 1;
        return 0;
      }
      store<usize>(guess, found);
      failedGuesses += u32(found != guessed);
      if (load<u8>(at) != 0x3a) {
        at = skipBlanks(at, lineFeed);
        if (load<u8>(at) != 0x3a) return 0;
      }
      at++;
    }
    const key = changetype<Key>(found);
    guess = found + offsetof<Key>("next");
    // The same key twice in one object.
    if (key.serial == serial) return 0;
    key.serial = serial;
    let byte = <u32>load<u8>(at);
    if (byte == 0x20) byte = load<u8>(++at);
    if (byte <= 0x20) {
      at = skipBlanks(at, lineFeed);
      byte = load<u8>(at);
    }

    let end: usize = 0;
    switch (role) {
      case Role.Int: {
        end = putInteger(key.columnOf, row, byte, at);
        break;
      }
      case Role.Float: {
        end = putFloat(key.columnOf, row, byte, at);
        break;
      }
      case Role.Time: {
        end = readTime(parser, byte, at);
        if (end == 0) break;
        if (marks & MARK_TIME) return 0;
        parser.rowTimeUs = timeUs;
        marks |= MARK_TIME;
        break;
      }
      case Role.Bool: {
        end = readBool(key.columnOf, row, at);
        break;
      }
      case Role.Text: {
        if (byte == 0x22) end = putText(key.columnOf, row, at + 1);
        break;
      }
    }
    if (end != 0) {
      marks |= key.marks;
      at = end;
    } else if (byte == 0x7b && key.isBranch) {
      at = skipBlanks(at + 1, lineFeed);
      // Empty objects are kept as they stand.
      if (load<u8>(at) != 0x22 || depth == MAX_DEPTH) return 0;
      depth++;
      parent = found;
      guess = found + offsetof<Key>("first");
      continue;
    } else {
      at = readOther(parser, key, at, depth, extraStart);
      if (at == 0) return 0;
    }

    // Mostly the next key follows at once, or after one blank.
    const next = load<u32>(at);
    if ((next & 0xffff) == 0x222c) {
      at++;
      continue;
    }
    if ((next & 0xffffff) == 0x22202c) {
      at += 2;
      continue;
    }
    at = skipBlanks(at, lineFeed);
    while (load<u8>(at) == 0x7d) {
      at++;
      if (--depth == 0) {
        parser.rowMarks = marks;
        parser.failedGuesses = (parser.failedGuesses >> 1) + failedGuesses;
        return at;
      }
      guess = parent + offsetof<Key>("next");
      parent = changetype<Key>(parent).parent;
      at = skipBlanks(at, lineFeed);
    }
    if (load<u8>(at) != 0x2c) return 0;
    at = skipBlanks(at + 1, lineFeed);
    if (load<u8>(at) != 0x22) return 0;
  }
}

/** Reads a value that sets no cell: null, or what goes to the extra column or nowhere. Gives where it ends, or 0. */
function readOther(parser: Parser, key: Key, at: usize, depth: u32, extraStart: u32): usize {
  const byte = load<u8>(at);
  let role = key.role;
  if (role != Role.Extra && role != Role.Drop) {
    if (byte == 0x6e) return load<u32>(at) == NULL ? at + 4 : 0;
    if (byte != 0x5b) return 0;
    role = key.arrayRole;
    if (role == Role.Other) return 0;
  }
  const end = skipValue(at, depth, MAX_DEPTH);
  if (end == 0 || role == Role.Drop) return end;
  const isDocument = parser.lineFeed == FEED_IN_DOCUMENT;
  return appendExtra(parser.batch, extraStart, key.path, key.pathLength, at, end, isDocument) ? end : 0;
}

/** A string that is long, or has escapes or more than ASCII; `at` is after its opening quote. */
function putLongText(column: Column, row: u32, at: usize): usize {
  const end = readLongText(column, at);
  if (end != 0) put(column, row, textId);
  return end;
}

/** The text that `readLongText` read last. */
export let textId: u32 = 0;

/** Interns such a string; gives where it ends, or 0. */
export function readLongText(column: Column, at: usize): usize {
  const end = readString(at, false);
  if (end == 0) return 0;
  let source = at;
  let length = <u32>(end - at);
  if (hasEscapes) {
    // Room behind the dictionary's own bytes, which `intern` may then overwrite only after it has compared.
    source = textRoom(length);
    length = unescape(at, end, source);
  }
  textId = column.dictionary.intern(source, length);
  return end + 1;
}

let room: usize = 0;
let roomBytes: u32 = 0;

/** Memory for `length` bytes of text and 16 more, until the next call. */
export function textRoom(length: u32): usize {
  if (length + 16 > roomBytes) {
    if (room != 0) heap.free(room);
    roomBytes = max<u32>(4096, (length + 16) << 1);
    room = heap.alloc(roomBytes);
  }
  return room;
}
