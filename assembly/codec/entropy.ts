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
import { writeSigned, writeVarint } from "./writer";

/**
 * Integers by their distance from a centre: a Huffman code for its sign and its magnitude to three significant bits,
 * then the magnitude's other bits. Smaller than packing when small distances are frequent and large ones rare, which
 * is what measurements and their differences mostly look like.
 */
const EXACT: u64 = 4;
/** Values looked at before deciding. */
const SAMPLES: u32 = 512;
/** What the code lengths weigh on a page, before they are known. */
const CODES_BITS: u32 = 400;
/** The greatest magnitude is 2^63: its three first bits are in the symbol. */
const MAX_REST: u32 = 61;

@inline
function magnitudeOf(distance: i64): u64 {
  return distance < 0 ? <u64>-distance : <u64>distance;
}

@inline
function symbolOf(distance: i64): u32 {
  const magnitude = magnitudeOf(distance);
  const sign = <u32>(<u64>distance >> 63);
  if (magnitude < EXACT) return (<u32>magnitude << 1) | sign;
  const exponent = <u32>(63 - clz<u64>(magnitude));
  return ((((exponent - 1) << 2) + (<u32>(magnitude >> (exponent - 2)) & 3)) << 1) | sign;
}

/** Bits that follow a symbol. */
@inline
function restBits(symbol: u32): u32 {
  return symbol < <u32>EXACT << 1 ? 0 : (symbol >> 3) - 1;
}

@inline
function count(symbol: u32): void {
  const at = COUNTS + (<usize>symbol << 2);
  store<u32>(at, load<u32>(at) + 1);
}

/** About how many bits `encodeEntropy` takes, from a sample. */
export function estimateEntropy<T>(values: usize, size: u32, centre: i64): u64 {
  clearCounts();
  const step = max<u32>(1, size / SAMPLES);
  const sampled = size / step;
  for (let i: u32 = 0; i < sampled; i++) {
    count(symbolOf(<i64>load<T>(values + <usize>sampleIndex(i, step) * sizeof<T>()) - centre));
  }
  const total = log2Of(sampled);
  let bits: f64 = 0;
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
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
  for (let at = values; at < end; at += sizeof<T>()) count(symbolOf(<i64>load<T>(at) - centre));
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
  beginBits(out, bytes);
  for (let at = values; at < end; at += sizeof<T>()) {
    const distance = <i64>load<T>(at) - centre;
    const symbol = symbolOf(distance);
    const length = lengthOf(symbol);
    const rest = restBits(symbol);
    const low = magnitudeOf(distance) & (((<u64>1) << rest) - 1);
    if (length + rest <= 64) {
      putBits(codeOf(symbol) | (low << length), length + rest);
    } else {
      putBits(codeOf(symbol), length);
      putBits(low, rest);
    }
  }
  endBits(out, bytes);
  return true;
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
