import { Key, Role } from "./key";
import { decimalExponent, doubleValue, integerValue, isInteger, isNegative, mantissa, readNumber } from "./number";
import { readLongText, textId } from "./row";
import { Source } from "./source";
import { hasEscapes, readString } from "./text";
import { readIsoTime, timeOfNumber, timeUs, Unit } from "./time";
import { readWord, skipSpace } from "./value";

const QUOTE: u32 = 0x22;
const NULL_LETTER: u32 = 0x6e;
const TRUE_LETTER: u32 = 0x74;

/** Sets the cell of one row, whatever its value. False when it is for the full reader. */
export function readOddValue(key: Key, unit: Unit, source: Source, row: u32): bool {
  const role = key.role;
  if (source.isGap(row)) {
    if (role != Role.Time && role != Role.Other) source.setNull(row);
    return true;
  }
  const at = skipSpace(source.span(row).at);
  // Where the punctuation behind the value stands.
  const end: usize = source.span(row).last + 1;
  if (load<u8>(at) == NULL_LETTER) {
    if (source.isStrict || !isEnd(readWord(at), end)) return false;
    if (role != Role.Other) source.setNull(row);
    return true;
  }
  if (role == Role.Int) return readInt(source, row, at, end);
  if (role == Role.Float) return readFloat(source, row, at, end);
  if (role == Role.Text) return readText(key, source, row, at, end);
  if (role == Role.Time) return readTime(unit, source, row, at, end);
  return role == Role.Bool && readBool(source, row, at, end);
}

@inline
function isEnd(at: usize, end: usize): bool {
  return at != 0 && skipSpace(at) == end;
}

function readInt(source: Source, row: u32, at: usize, end: usize): bool {
  if (!isEnd(readNumber(at), end) || !isInteger) return false;
  source.set(row, integerValue);
  return true;
}

function readFloat(source: Source, row: u32, at: usize, end: usize): bool {
  if (!isEnd(readNumber(at), end)) return false;
  source.set(row, reinterpret<u64>(doubleValue));
  return true;
}

function readBool(source: Source, row: u32, at: usize, end: usize): bool {
  if (!isEnd(readWord(at), end)) return false;
  source.set(row, u64(load<u8>(at) == TRUE_LETTER));
  return true;
}

function readText(key: Key, source: Source, row: u32, at: usize, end: usize): bool {
  if (load<u8>(at) != QUOTE) return false;
  const textEnd = readLongText(key.columnOf, at + 1);
  if (!isEnd(textEnd, end)) return false;
  source.set(row, textId);
  if (!hasEscapes) key.columnOf.dictionary.setPlain(textId);
  return true;
}

function readTime(unit: Unit, source: Source, row: u32, at: usize, end: usize): bool {
  if (load<u8>(at) == QUOTE) {
    const textEnd = readString(at + 1, false);
    if (textEnd == 0 || hasEscapes || skipSpace(textEnd + 1) != end || !readIsoTime(at + 1, textEnd)) return false;
  } else {
    if (unit == Unit.Iso || !isEnd(readNumber(at), end)) return false;
    if (!timeOfNumber(isNegative, mantissa, decimalExponent, unit)) return false;
  }
  source.set(row, timeUs);
  return true;
}
