import { ByteBuffer } from "../memory/bytes";
import { beginBits, endBits, peekBits, putBits } from "./bitstream";
import {
  buildCodes,
  COUNTS,
  clearCounts,
  codeOf,
  codesBytes,
  countOf,
  isAlone,
  lengthOf,
  MAX_CODE_BITS,
  MAX_SYMBOLS,
  readCodes,
  TABLE_SIZE,
  writeCodes,
} from "./huffman";
import { Failure, fail, failure, readBytes, readSigned, readVarint, remaining } from "./reader";
import { sampleIndex } from "./sample";
import { Scratch, scratch } from "./scratch";
import { writeSigned, writeVarint } from "./writer";

/**
 * Integers by their distance from a centre: a Huffman code for its sign and its magnitude to three significant bits,
 * then the magnitude's other bits. Smaller than packing when small distances are frequent and large ones rare, which
 * is what measurements and their differences mostly look like.
 */
const EXACT: u64 = 4;
/** Values looked at before deciding … */
const SAMPLES: u32 = 512;
/** … and first of all: an estimate from few samples is too low, so one that is too high by a twentieth is enough. */
const FIRST_SAMPLES: u32 = 128;
const CLEARLY: u64 = 20;
/** What the code lengths weigh on a page, before they are known. */
const CODES_BITS: u32 = 400;
/** The greatest magnitude is 2^63: its three first bits are in the symbol. */
const MAX_REST: u32 = 61;

@inline
function magnitudeOf(distance: i64): u64 {
  return distance < 0 ? <u64>-distance : <u64>distance;
}

/** Without branches, for magnitudes cannot be foretold. */
@inline
function symbolOf(distance: i64): u32 {
  const magnitude = magnitudeOf(distance);
  const sign = <u32>(<u64>distance >> 63);
  // 2 for those below EXACT, which so come out higher by EXACT.
  const exponent = <u32>(63 - clz<u64>(magnitude | EXACT));
  const leading = ((exponent - 1) << 2) + (<u32>(magnitude >> (exponent - 2)) & 3);
  return ((leading - (<u32>(magnitude < EXACT) << 2)) << 1) | sign;
}

/** Bits that follow a symbol. */
@inline
function restBits(symbol: u32): u32 {
  return max<u32>(symbol >> 3, 1) - 1;
}

@inline
function count(symbol: u32): void {
  const at = COUNTS + (<usize>symbol << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** About how many bits `encodeEntropy` takes, from a sample; a small one where it clearly takes more than `limitBits`. */
export function estimateEntropy<T>(values: usize, size: u32, centre: i64, limitBits: u64): u64 {
  const few = estimateFrom<T>(values, size, centre, FIRST_SAMPLES);
  if (few > limitBits + limitBits / CLEARLY) return few;
  return estimateFrom<T>(values, size, centre, SAMPLES);
}

function estimateFrom<T>(values: usize, size: u32, centre: i64, samples: u32): u64 {
  clearCounts();
  const step = max<u32>(1, size / samples);
  const sampled = size / step;
  let highest: u32 = 0;
  for (let i: u32 = 0; i < sampled; i++) {
    const symbol = symbolOf(<i64>load<T>(values + <usize>sampleIndex(i, step) * sizeof<T>()) - centre);
    count(symbol);
    highest = max(highest, symbol);
  }
  const total = log2Of(sampled);
  let bits: f64 = 0;
  for (let symbol: u32 = 0; symbol <= highest; symbol++) {
    const occurs = countOf(symbol);
    // A code has at least one bit.
    if (occurs != 0) bits += <f64>occurs * (<f64>restBits(symbol) + max<f64>(1, total - log2Of(occurs)));
  }
  return <u64>((bits * <f64>size) / <f64>sampled) + CODES_BITS;
}

/** The binary logarithm, linear between powers of two: at most 0.09 off. */
@inline
function log2Of(value: u32): f64 {
  const exponent = 31 - clz<u32>(value);
  return <f64>exponent + <f64>(value - (<u32>1 << exponent)) / <f64>(<u32>1 << exponent);
}

/** Appends the values, each with `origin` added, unless they take `limit` bytes or more; false then, and `out` is as before. */
export function encodeEntropy<T>(
  values: usize,
  size: u32,
  centre: i64,
  origin: i64,
  limit: u32,
  out: ByteBuffer,
): bool {
  clearCounts();
  const end = values + <usize>size * sizeof<T>();
  const symbols = scratch(Scratch.Symbols, <usize>size << 1);
  for (let at = values, to = symbols; at < end; at += sizeof<T>(), to += 2) {
    const symbol = symbolOf(<i64>load<T>(at) - centre);
    store<u16>(to, <u16>symbol);
    count(symbol);
  }
  buildCodes();
  let bits: u64 = 0;
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
    bits += <u64>countOf(symbol) * (lengthOf(symbol) + restBits(symbol));
  }
  const bytes = <u32>((bits + 7) >> 3);
  if (bytes + codesBytes() >= limit) return false;
  writeSigned(out, centre + origin);
  writeCodes(out);
  writeVarint(out, bytes);
  if (sizeof<T>() == 4) {
    writeNear(values, size, centre, symbols, out.reserve(bytes + 16));
    out.length += bytes;
  } else {
    writeFar(values, size, centre, symbols, bytes, out);
  }
  return true;
}

/** u32[512]: by symbol its code, from bit 16 on the code's length, from bit 24 on how many bits follow it. */
const ENTRIES = memory.data(512 * 4, 16);

/** Writes i32 values, each with fewer than 56 bits. */
function writeNear(values: usize, size: u32, centre: i64, symbols: usize, target: usize): void {
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
    if (lengthOf(symbol) == 0) continue;
    const entry = codeOf(symbol) | (lengthOf(symbol) << 16) | (restBits(symbol) << 24);
    store<u32>(ENTRIES + (<usize>symbol << 2), entry);
  }
  let word: u64 = 0;
  let filled: u32 = 0;
  const end = values + (<usize>size << 2);
  for (; values < end; values += 4, symbols += 2) {
    const entry = load<u32>(ENTRIES + (<usize>load<u16>(symbols) << 2));
    const length = (entry >> 16) & 0xff;
    const rest = entry >> 24;
    const low = magnitudeOf(<i64>load<i32>(values) - centre) & (((<u64>1) << rest) - 1);
    word |= (<u64>(entry & 0xffff) | (low << length)) << filled;
    filled += length + rest;
    // Whole bytes are done with; the word is written each time, and again when it is fuller.
    store<u64>(target, word);
    target += filled >> 3;
    word >>= filled & ~7;
    filled &= 7;
  }
  store<u64>(target, word);
}

function writeFar(values: usize, size: u32, centre: i64, symbols: usize, bytes: u32, out: ByteBuffer): void {
  beginBits(out, bytes);
  for (let i: u32 = 0; i < size; i++) {
    const symbol = <u32>load<u16>(symbols + (<usize>i << 1));
    const length = lengthOf(symbol);
    const rest = restBits(symbol);
    const low = magnitudeOf(load<i64>(values + (<usize>i << 3)) - centre) & (((<u64>1) << rest) - 1);
    if (length + rest <= 64) {
      putBits(codeOf(symbol) | (low << length), length + rest);
    } else {
      putBits(codeOf(symbol), length);
      putBits(low, rest);
    }
  }
  endBits(out, bytes);
}

/** u32[4096]: by the next 12 bits, symbol << 11 | bits of its code << 7 | bits of code and rest. */
const TABLE = memory.data(4096 * 4, 16);

/** Fills TABLE from the codes that were read; gives the most bits that a value takes. */
function fillTable(): u32 {
  let most: u32 = 0;
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
    const length = lengthOf(symbol);
    if (length == 0) continue;
    const total = length + restBits(symbol);
    most = max(most, total);
    const entry = (symbol << 11) | (length << 7) | total;
    for (let at = codeOf(symbol); at < TABLE_SIZE; at += 1 << length) store<u32>(TABLE + (<usize>at << 2), entry);
    if (length == 1 && isAlone(symbol)) {
      for (let at: u32 = 1; at < TABLE_SIZE; at += 2) store<u32>(TABLE + (<usize>at << 2), entry);
    }
  }
  return most;
}

/** A word read at any bit has so many of the bits from there on at the least. */
const WORD_BITS: u32 = 57;

/** Reads `size` values to `target`. */
export function decodeEntropy(size: u32, target: usize): void {
  const centre = readSigned();
  if (!readCodes()) return;
  const bytes = readVarint();
  if (bytes > remaining()) fail(Failure.Corrupt);
  const source = readBytes(<u32>bytes);
  if (failure != Failure.None) return;
  const most = fillTable();
  const end = bytes << 3;
  const stop = target + (<usize>size << 3);
  let at: u64 = 0;
  // Two values of one word: where the next one stands is known sooner.
  if (most << 1 <= WORD_BITS) {
    for (; target + 8 < stop; target += 16) {
      if (at >= end) return fail(Failure.Corrupt);
      const word = wordAt(source, at);
      const first = entryAt(word);
      const second = entryAt(word >> (first & 127));
      at += (first & 127) + (second & 127);
      store<i64>(target, valueInWord(first, word, centre));
      store<i64>(target, valueInWord(second, word >> (first & 127), centre), 8);
    }
  }
  for (; target < stop; target += 8) {
    // Every read starts below `end`, and the input is padded by more than the longest code.
    if (at >= end) return fail(Failure.Corrupt);
    const word = wordAt(source, at);
    const entry = entryAt(word);
    const length = (entry >> 7) & 15;
    const rest = (entry & 127) - length;
    if (rest > MAX_REST) return fail(Failure.Corrupt);
    const low = length + rest <= WORD_BITS ? word >> length : peekBits(source, at + length);
    store<i64>(target, valueOf(entry >> 11, rest, low, centre));
    at += entry & 127;
  }
  if (at > end) fail(Failure.Corrupt);
}

@inline
function wordAt(source: usize, at: u64): u64 {
  return load<u64>(source + <usize>(at >> 3)) >> (at & 7);
}

@inline
function entryAt(word: u64): u32 {
  return load<u32>(TABLE + (<usize>(word & ((1 << MAX_CODE_BITS) - 1)) << 2));
}

/** The value whose symbol and rest `word` begins with. */
@inline
function valueInWord(entry: u32, word: u64, centre: i64): i64 {
  const length = (entry >> 7) & 15;
  return valueOf(entry >> 11, (entry & 127) - length, word >> length, centre);
}

/** `low`: the rest, with whatever above it. */
@inline
function valueOf(symbol: u32, rest: u32, low: u64, centre: i64): i64 {
  let magnitude = <u64>(symbol >> 1);
  if (magnitude >= EXACT) magnitude = (((magnitude & 3) | 4) << rest) | (low & (((<u64>1) << rest) - 1));
  return symbol & 1 ? centre - <i64>magnitude : centre + <i64>magnitude;
}
