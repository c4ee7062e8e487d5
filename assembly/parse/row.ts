import { Batch, Column } from "../batch/batch";
import { maskedBlock } from "../memory/dictionary";
import { exactPowerOfTen } from "./double";
import { appendExtra } from "./extra";
import { Key, MARK_TIME, Role } from "./key";
import { decimalExponent, doubleValue, eightDigits, integerValue, isInteger, isNegative, mantissa, markNonDigits, readNumber } from "./number";
import { Parser } from "./parser";
import { hasEscapes, markSpecial, readString, unescape } from "./text";
import { powerOfTen, readIsoTime, timeOfNumber, timeUs } from "./time";
import { FEED_IN_DOCUMENT, MAX_DEPTH, skipValue } from "./value";

const NULL: u32 = 0x6c6c756e;
const TRUE: u32 = 0x65757274;
const FALSE_REST: u32 = 0x65736c61;
const ASCII_ZEROS: u64 = 0x3030303030303030;
/** With so many digits a mantissa is exact as a double. */
const MAX_EXACT_DIGITS: i32 = 15;

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

/**
 * Reads the object at `start` straight into the next row's cells. Gives where it ends; or 0 when anything about it is
 * out of the ordinary (an unknown key, a value that its column cannot hold, a fault), and the caller then undoes the row
 * and reads it with `readObject`, which decides.
 *
 * Cost: one pass. The next key is guessed to be the one that came next the last time, which one 16-byte comparison
 * confirms; otherwise it is looked up by a hash of its first 16 bytes.
 */
export function readRow(parser: Parser, start: usize): usize {
  const batch = parser.batch;
  const row = batch.rows;
  const keys = parser.keys;
  const lineFeed = parser.lineFeed;
  const serial = ++parser.serial;
  const extraStart = batch.extra.bytes.length;
  let marks: u32 = 0;
  let depth: u32 = 1;
  let parent = changetype<usize>(keys.root);
  // Where the guess of the next key stands.
  let guess = parent + offsetof<Key>("first");
  parser.missesKey = 0;
  let at = start + 1;
  let byte = <u32>load<u8>(at);
  if (byte <= 0x20) {
    at = skipBlanks(at, lineFeed);
    byte = load<u8>(at);
  }
  if (byte == 0x7d) {
    parser.rowMarks = 0;
    return at + 1;
  }
  while (true) {
    if (byte != 0x22) return 0;
    let found = load<usize>(guess);
    const block = v128.load(at, 1);
    if (v128.any_true(v128.xor(v128.and(block, changetype<Key>(found).mask), changetype<Key>(found).block))) {
      found = keys.find(parent, at + 1);
      if (found == 0) {
        parser.missesKey = 1;
        return 0;
      }
      store<usize>(guess, found);
    }
    const key = changetype<Key>(found);
    guess = found + offsetof<Key>("next");
    // The same key twice in one object.
    if (key.serial == serial) return 0;
    key.serial = serial;
    at += key.length + 2;
    if (load<u8>(at) != 0x3a) {
      at = skipBlanks(at, lineFeed);
      if (load<u8>(at) != 0x3a) return 0;
    }
    byte = load<u8>(++at);
    if (byte <= 0x20) {
      at = skipBlanks(at, lineFeed);
      byte = load<u8>(at);
    }

    const role = key.role;
    if (role <= Role.Time && (byte - 48 < 10 || byte == 0x2d)) {
      // A number. Up to 15 digits with up to 7 of them behind the point are read here, eight at a time.
      const isMinus = byte == 0x2d;
      const first = at + usize(isMinus);
      let end = first;
      let digits: i32 = 0;
      let decimals: i32 = 0;
      let value: u64 = 0;
      let word = load<u64>(first) ^ ASCII_ZEROS;
      let marked = markNonDigits(word);
      if (marked == 0) {
        value = eightDigits(word);
        end += 8;
        digits = 8;
        word = load<u64>(end) ^ ASCII_ZEROS;
        marked = markNonDigits(word);
      }
      let count = <i32>ctz<u64>(marked) >> 3;
      if (count > 0 && marked != 0) {
        value = value * powerOfTen(count) + eightDigits(word << (64 - (count << 3)));
        end += count;
        digits += count;
      }
      let isPlain = marked != 0 && digits > 0 && (load<u8>(first) != 48 || digits == 1);
      let next = <u32>load<u8>(end);
      if (next == 0x2e) {
        word = load<u64>(end, 1) ^ ASCII_ZEROS;
        marked = markNonDigits(word);
        decimals = <i32>ctz<u64>(marked) >> 3;
        isPlain = isPlain && marked != 0 && decimals > 0;
        value = value * powerOfTen(decimals & 7) + eightDigits(word << (64 - (decimals << 3)));
        end += decimals + 1;
        digits += decimals;
        next = load<u8>(end);
      }
      isPlain = isPlain && digits <= MAX_EXACT_DIGITS && (next | 0x20) != 0x65;
      if (isPlain) {
        at = end;
        if (role == Role.Int) {
          if (decimals != 0) return 0;
          put(key.columnOf, row, isMinus ? <u64>-(<i64>value) : value);
        } else if (role == Role.Float) {
          let number = <f64>(<i64>value);
          if (decimals != 0) number /= exactPowerOfTen(decimals);
          put(key.columnOf, row, reinterpret<u64>(isMinus ? -number : number));
        } else {
          if (marks & MARK_TIME || !timeOfNumber(isMinus, value, -decimals, parser.plan.unit)) return 0;
          if (parser.plan.unit == 1) return 0;
          parser.rowTimeUs = timeUs;
          marks |= MARK_TIME;
        }
      } else {
        at = readNumber(at);
        if (at == 0) return 0;
        if (role == Role.Int) {
          if (!isInteger) return 0;
          put(key.columnOf, row, integerValue);
        } else if (role == Role.Float) {
          put(key.columnOf, row, reinterpret<u64>(doubleValue));
        } else {
          if (marks & MARK_TIME || parser.plan.unit == 1) return 0;
          if (!timeOfNumber(isNegative, mantissa, decimalExponent, parser.plan.unit)) return 0;
          parser.rowTimeUs = timeUs;
          marks |= MARK_TIME;
        }
      }
      marks |= key.marks;
    } else if (role == Role.Text && byte == 0x22) {
      const column = key.columnOf;
      at++;
      const text = v128.load(at);
      const special = markSpecial(text);
      const length = <u32>ctz<i32>(special);
      if (special != 0 && load<u8>(at + length) == 0x22) {
        put(column, row, column.dictionary.internShort(maskedBlock(text, length), length));
        at += length + 1;
      } else {
        at = putText(column, row, at);
        if (at == 0) return 0;
      }
      marks |= key.marks;
    } else if (role == Role.Bool && (byte == 0x74 || byte == 0x66)) {
      const isTrue = byte == 0x74;
      if ((isTrue ? load<u32>(at) : load<u32>(at, 1)) != (isTrue ? TRUE : FALSE_REST)) return 0;
      put(key.columnOf, row, u64(isTrue));
      at += isTrue ? 4 : 5;
      marks |= key.marks;
    } else if (byte == 0x7b && key.isBranch) {
      at = skipBlanks(at + 1, lineFeed);
      byte = load<u8>(at);
      // Empty objects are kept as they stand.
      if (byte == 0x7d || depth == MAX_DEPTH) return 0;
      depth++;
      parent = found;
      guess = found + offsetof<Key>("first");
      continue;
    } else if (role == Role.Time && byte == 0x22) {
      const end = readString(at + 1, false);
      if (end == 0 || hasEscapes || marks & MARK_TIME) return 0;
      if (!readIsoTime(at + 1, end)) return 0;
      parser.rowTimeUs = timeUs;
      marks |= MARK_TIME | key.marks;
      at = end + 1;
    } else if (role == Role.Extra || role == Role.Drop || (byte == 0x5b && key.arrayRole != Role.Other)) {
      const end = skipValue(at, depth, MAX_DEPTH);
      if (end == 0) return 0;
      if (role == Role.Extra || (role != Role.Drop && key.arrayRole == Role.Extra)) {
        if (!appendExtra(batch, extraStart, key.path, key.pathLength, at, end, lineFeed == FEED_IN_DOCUMENT)) return 0;
      }
      at = end;
    } else if (load<u32>(at) == NULL) {
      at += 4;
    } else {
      return 0;
    }

    byte = load<u8>(at);
    while (byte != 0x2c) {
      if (byte == 0x7d) {
        at++;
        if (--depth == 0) {
          parser.rowMarks = marks;
          return at;
        }
        guess = parent + offsetof<Key>("next");
        parent = changetype<Key>(parent).parent;
      } else if (isBlank(byte, lineFeed)) {
        at = skipBlanks(at, lineFeed);
      } else {
        return 0;
      }
      byte = load<u8>(at);
    }
    byte = load<u8>(++at);
    if (byte <= 0x20) {
      at = skipBlanks(at, lineFeed);
      byte = load<u8>(at);
    }
  }
}

/** A string that is long, or has escapes or more than ASCII; `at` is after its opening quote. */
function putText(column: Column, row: u32, at: usize): usize {
  const end = readString(at, false);
  if (end == 0) return 0;
  let source = at;
  let length = <u32>(end - at);
  if (hasEscapes) {
    // Room behind the dictionary's own bytes, which `intern` may then overwrite only after it has compared.
    source = textRoom(length);
    length = unescape(at, end, source);
  }
  put(column, row, column.dictionary.intern(source, length));
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
