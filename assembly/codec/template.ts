import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { decodeIntegers, encodeIntegers } from "./integers";
import {
  hasLeadingZeroIn,
  hasOneLengthIn,
  KnownNumbers,
  knownNumbers,
  MAX_KNOWN_DIGITS,
  MAX_SIGNATURE,
  valueOf,
  wordOf,
} from "./known-numbers";
import { NumberedTexts, numberedTexts } from "./numbered-texts";
import { Failure, fail, failure, readBytes, readU8, readVarint } from "./reader";
import { Scratch, scratch } from "./scratch";
import { writeVarint } from "./writer";

/**
 * Texts that differ only in their numbers, such as `site-3/dev-00417`: a template of literals with slots
 * between them, and the slots' numbers as integer columns. A slot is a longest run of digits. Its numbers are
 * all of one length (then zeros may lead) or all without leading zeros, so each text comes back exactly.
 */
const MAX_SLOTS: u32 = 8;
/** 10^18 fits in an int64. */
const MAX_DIGITS: u32 = 18;
const MAX_LITERAL_BYTES: u32 = 256;

/** `digits` of a slot whose numbers have no leading zeros. */
const CANONICAL: u32 = 0;
@unmanaged
class Slot {
  /** The digits of every number, or CANONICAL. */
  digits: u32;
  hasLeadingZero: u32;
  hasOneLength: u32;
  /** The literal before the slot, within the pattern; after the last slot one more literal follows. */
  literalAt: u32;
  literalLength: u32;
  least: i64;
  greatest: i64;
}

const SLOT_BYTES: u32 = 40;
const SLOTS = memory.data(9 * 40, 8);
const PATTERN = memory.data(MAX_LITERAL_BYTES, 8);
const POWERS = memory.data<u64>([
  1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
  10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000,
]);
let slotCount: u32 = 0;

@inline
function slot(index: u32): Slot {
  return changetype<Slot>(SLOTS + <usize>index * SLOT_BYTES);
}

@inline
function isDigit(byte: u32): bool {
  return byte - 48 < 10;
}

/**
 * Looks for the template of the `used` texts, with their ids at `usedIds`. When there is one, their numbers stand
 * in `Scratch.Slots`, one run of `used` integers a slot.
 */
export function findTemplate(dictionary: Dictionary, usedIds: usize, used: u32): bool {
  const first = load<u32>(usedIds);
  if (!readPattern(dictionary.pointer(first), dictionary.length(first))) return false;
  const numbers = scratch(Scratch.Slots, (<usize>used << 3) * slotCount);
  const known = dictionary.kept == 0 ? changetype<KnownNumbers>(0) : rememberedNumbers(dictionary);
  let isTaken = false;
  if (changetype<usize>(known) != 0) {
    isTaken = takeKnown(known, dictionary, usedIds, used, numbers);
  }
  // A text that is not known by now does not match, or has a number of 18 digits.
  for (let i: u32 = 0; i < used && !isTaken; i++) {
    const id = load<u32>(usedIds + (<usize>i << 2));
    const text = dictionary.pointer(id);
    if (!matchPattern(text, text + dictionary.length(id), numbers + (<usize>i << 3), <usize>used << 3)) return false;
  }
  for (let s: u32 = 0; s < slotCount; s++) {
    if (slot(s).hasLeadingZero && !slot(s).hasOneLength) return false;
    if (!slot(s).hasOneLength) slot(s).digits = CANONICAL;
  }
  return true;
}

/** Makes the pattern from the first text. */
function readPattern(text: usize, length: u32): bool {
  slotCount = 0;
  let literals: u32 = 0;
  let at: u32 = 0;
  while (true) {
    if (slotCount > MAX_SLOTS) return false;
    const part = slot(slotCount);
    part.literalAt = literals;
    while (at < length && !isDigit(load<u8>(text + at))) {
      if (literals == MAX_LITERAL_BYTES) return false;
      store<u8>(PATTERN + literals++, load<u8>(text + at++));
    }
    part.literalLength = literals - part.literalAt;
    if (at == length) return slotCount > 0;
    if (slotCount == MAX_SLOTS) return false;
    const start = at;
    while (at < length && isDigit(load<u8>(text + at))) at++;
    part.digits = at - start;
    part.hasLeadingZero = 0;
    part.hasOneLength = 1;
    part.least = i64.MAX_VALUE;
    part.greatest = i64.MIN_VALUE;
    slotCount++;
  }
}

/** Lengths of the literals, u16 each, and their bytes: what tells one pattern from another. */
const SIGNATURE = memory.data(MAX_SIGNATURE, 8);

/** What is known of the texts by the pattern at hand. */
function rememberedNumbers(dictionary: Dictionary): KnownNumbers {
  let at: usize = SIGNATURE;
  let literals: u32 = 0;
  for (let s: u32 = 0; s <= slotCount; s++, at += 2) {
    store<u16>(at, <u16>slot(s).literalLength);
    literals += slot(s).literalLength;
  }
  memory.copy(at, PATTERN, literals);
  return knownNumbers(dictionary, SIGNATURE, <u32>(at - SIGNATURE) + literals, slotCount);
}

/** Gives the numbers of all texts as they are known, and gets to know the others; false when one does not match. */
function takeKnown(known: KnownNumbers, dictionary: Dictionary, usedIds: usize, used: u32, target: usize): bool {
  const end = usedIds + (<usize>used << 2);
  const words = known.word(0);
  const stride = <usize>slotCount << 3;
  for (let s: u32 = 0; s < slotCount; s++) {
    const part = slot(s);
    let first: u64 = 0;
    let differences: u64 = 0;
    let all: u64 = 0;
    let least = i64.MAX_VALUE;
    let greatest = i64.MIN_VALUE;
    for (let at = usedIds; at < end; at += 4, target += 8) {
      const from = words + <usize>load<u32>(at) * stride + (<usize>s << 3);
      let word = load<u64>(from);
      if (word == 0) {
        if (!learn(known, dictionary, load<u32>(at))) return false;
        word = load<u64>(from);
      }
      if (at == usedIds) first = word;
      const value = valueOf(word);
      differences |= word ^ first;
      all |= word;
      least = min(least, value);
      greatest = max(greatest, value);
      store<i64>(target, value);
    }
    part.hasOneLength = <u32>hasOneLengthIn(differences);
    part.hasLeadingZero = <u32>hasLeadingZeroIn(all);
    part.least = least;
    part.greatest = greatest;
  }
  return true;
}

/** Takes a text apart and remembers its numbers; false when it does not match, or has a number that is too long to be remembered. */
function learn(known: KnownNumbers, dictionary: Dictionary, id: u32): bool {
  let at = dictionary.pointer(id);
  const end = at + dictionary.length(id);
  const words = known.word(id);
  for (let s: u32 = 0; s < slotCount; s++) {
    const part = slot(s);
    if (!matchLiteral(part, at, end)) return forget(words);
    at += part.literalLength;
    const start = at;
    let value: u64 = 0;
    while (at < end && isDigit(load<u8>(at))) value = value * 10 + load<u8>(at++) - 48;
    const digits = <u32>(at - start);
    if (digits == 0 || digits > MAX_KNOWN_DIGITS) return forget(words);
    store<u64>(words + (<usize>s << 3), wordOf(value, digits, digits > 1 && load<u8>(start) == 48));
  }
  const last = slot(slotCount);
  return matchLiteral(last, at, end) && at + last.literalLength == end ? true : forget(words);
}

function forget(words: usize): bool {
  memory.fill(words, 0, <usize>slotCount << 3);
  return false;
}

/** Reads the numbers of one text; false when it does not match. */
function matchPattern(at: usize, end: usize, target: usize, stride: usize): bool {
  for (let s: u32 = 0; s < slotCount; s++) {
    const part = slot(s);
    if (!matchLiteral(part, at, end)) return false;
    at += part.literalLength;
    const start = at;
    let value: i64 = 0;
    while (at < end) {
      const digit = <u32>load<u8>(at) - 48;
      if (digit > 9) break;
      value = value * 10 + digit;
      at++;
    }
    const digits = <u32>(at - start);
    if (digits == 0 || digits > MAX_DIGITS) return false;
    if (digits != part.digits) part.hasOneLength = 0;
    if (digits > 1 && load<u8>(start) == 48) part.hasLeadingZero = 1;
    if (!part.hasOneLength && part.hasLeadingZero) return false;
    part.least = min(part.least, value);
    part.greatest = max(part.greatest, value);
    store<i64>(target, value);
    target += stride;
  }
  const last = slot(slotCount);
  return matchLiteral(last, at, end) && at + last.literalLength == end;
}

@inline
function matchLiteral(part: Slot, at: usize, end: usize): bool {
  const length = part.literalLength;
  if (at + length > end) return false;
  for (let i: u32 = 0; i < length; i++) {
    if (load<u8>(at + i) != load<u8>(PATTERN + part.literalAt + i)) return false;
  }
  return true;
}

/** About how many bits the numbers of one text take. */
export function slotBits(used: u32): u32 {
  let bits: u32 = 0;
  for (let s: u32 = 0; s < slotCount; s++) bits += <u32>(64 - clz<u64>(<u64>(slot(s).greatest - slot(s).least)));
  return bits;
}

/** Appends the literals, and each slot's digits. */
export function encodeTemplateHead(out: ByteBuffer): void {
  out.u8(<u8>slotCount);
  for (let s: u32 = 0; s <= slotCount; s++) {
    const part = slot(s);
    writeVarint(out, part.literalLength);
    out.append(PATTERN + part.literalAt, part.literalLength);
    if (s < slotCount) out.u8(<u8>part.digits);
  }
}

/** Appends the numbers of `count` texts: text i is the one of number ids[i], or i itself when `ids` is 0. */
export function encodeTemplateSlots(used: u32, ids: usize, count: u32, out: ByteBuffer): void {
  for (let s: u32 = 0; s < slotCount; s++) {
    const numbers = scratch(Scratch.Slots, 0) + (<usize>used << 3) * s;
    if (ids == 0) {
      encodeIntegers(numbers, count, out);
      continue;
    }
    const rows = scratch(Scratch.SlotRows, <usize>count << 3);
    for (let at: usize = 0, end = <usize>count << 3; at < end; at += 8) {
      store<u64>(rows + at, load<u64>(numbers + (<usize>load<u32>(ids + at) << 3)));
    }
    encodeIntegers(rows, count, out);
  }
}

/** Reads a template and the numbers of `count` texts; interns these and writes their ids as u64 to `target`. */
export function decodeTemplate(count: u32, dictionary: Dictionary, target: usize, maxBytes: u32): void {
  if (!readTemplateHead()) return fail(Failure.Corrupt);
  const stride = <usize>count << 3;
  const numbers = scratch(Scratch.Slots, stride * slotCount);
  for (let s: u32 = 0; s < slotCount; s++) decodeIntegers(count, numbers + stride * s);
  if (failure != Failure.None) return;
  const text = scratch(Scratch.Text, MAX_LITERAL_BYTES + MAX_SLOTS * MAX_DIGITS);
  const known = slotCount == 1 ? numbersOf(dictionary, numbers, count) : changetype<NumberedTexts>(0);
  for (let i: u32 = 0; i < count; i++) {
    const number = numbers + (<usize>i << 3);
    const place: usize = changetype<usize>(known) == 0 ? 0 : known.placeOf(load<u64>(number));
    if (place != 0 && load<u32>(place) != 0) {
      store<u64>(target + (<usize>i << 3), load<u32>(place) - 1);
      continue;
    }
    const length = writeText(number, stride, text);
    if (length == 0) return fail(Failure.Corrupt);
    if (dictionary.bytes.length + length > maxBytes) return fail(Failure.TooLarge);
    const id = dictionary.intern(text, length);
    store<u64>(target + (<usize>i << 3), id);
    if (place != 0) store<u32>(place, id + 1);
  }
}

/** The texts of the template at hand, which has one slot. */
function numbersOf(dictionary: Dictionary, numbers: usize, count: u32): NumberedTexts {
  const front = slot(0).literalLength;
  const behind = slot(1).literalLength;
  return numberedTexts(dictionary, PATTERN, front, behind, slot(0).digits, numbers, count);
}

function readTemplateHead(): bool {
  slotCount = readU8();
  if (slotCount == 0 || slotCount > MAX_SLOTS) return false;
  let literals: u32 = 0;
  for (let s: u32 = 0; s <= slotCount; s++) {
    const part = slot(s);
    const length = readVarint();
    if (length > MAX_LITERAL_BYTES - literals) return false;
    const at = readBytes(<u32>length);
    if (at == 0) return false;
    memory.copy(PATTERN + literals, at, <u32>length);
    part.literalAt = literals;
    part.literalLength = <u32>length;
    literals += <u32>length;
    if (s == slotCount) break;
    part.digits = readU8();
    if (part.digits > MAX_DIGITS) return false;
  }
  return failure == Failure.None;
}

/** Writes one text and gives its length, or 0 when a number cannot stand in its slot. */
function writeText(numbers: usize, stride: usize, text: usize): u32 {
  let at = text;
  for (let s: u32 = 0; s <= slotCount; s++) {
    const part = slot(s);
    const literal = PATTERN + part.literalAt;
    for (let i: u32 = 0; i < part.literalLength; i++) store<u8>(at++, load<u8>(literal + i));
    if (s == slotCount) break;
    let value = load<u64>(numbers);
    numbers += stride;
    if (value >= load<u64>(POWERS + (<usize>(part.digits == CANONICAL ? MAX_DIGITS : part.digits) << 3))) return 0;
    const digits = part.digits == CANONICAL ? countDigits(value) : part.digits;
    let i = digits;
    for (; i > 0 && value > <u64>u32.MAX_VALUE; i--) {
      const rest = value / 10;
      store<u8>(at + i - 1, <u8>(value - rest * 10 + 48));
      value = rest;
    }
    // Division of 32 bits by a constant is several times faster.
    for (let short = <u32>value; i > 0; i--) {
      const rest = short / 10;
      store<u8>(at + i - 1, <u8>(short - rest * 10 + 48));
      short = rest;
    }
    at += digits;
  }
  return <u32>(at - text);
}

@inline
function countDigits(value: u64): u32 {
  let digits: u32 = 1;
  while (digits < MAX_DIGITS && value >= load<u64>(POWERS + (<usize>digits << 3))) digits++;
  return digits;
}
