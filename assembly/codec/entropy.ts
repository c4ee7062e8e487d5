import { ByteBuffer } from "../memory/bytes";
import { beginBits, endBits, peekBits, putBits } from "./bitstream";
import {
  buildCodes,
  COUNTS,
  clearCounts,
  codeOf,
  codesBytes,
  countOf,
  lengthOf,
  MAX_CODE_BITS,
  MAX_SYMBOLS,
  readCodes,
  TABLE,
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
export function estimateEntropy(values: usize, size: u32, centre: i64): u64 {
  clearCounts();
  const step = max<u32>(1, size / SAMPLES);
  const sampled = size / step;
  for (let i: u32 = 0; i < sampled; i++) {
    count(symbolOf(load<i64>(values + (<usize>sampleIndex(i, step) << 3)) - centre));
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

/** Appends the values unless they take `limit` bytes or more; false then, and `out` is as before. */
export function encodeEntropy(values: usize, size: u32, centre: i64, limit: u32, out: ByteBuffer): bool {
  clearCounts();
  const end = values + (<usize>size << 3);
  for (let at = values; at < end; at += 8) count(symbolOf(load<i64>(at) - centre));
  buildCodes();
  let bits: u64 = 0;
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
    bits += <u64>countOf(symbol) * (lengthOf(symbol) + restBits(symbol));
  }
  const bytes = <u32>((bits + 7) >> 3);
  if (bytes + codesBytes() >= limit) return false;
  writeSigned(out, centre);
  writeCodes(out);
  writeVarint(out, bytes);
  beginBits(out, bytes);
  for (let at = values; at < end; at += 8) {
    const distance = load<i64>(at) - centre;
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

/** Reads `size` values to `target`. */
export function decodeEntropy(size: u32, target: usize): void {
  const centre = readSigned();
  if (!readCodes()) return;
  const bytes = readVarint();
  if (bytes > remaining()) fail(Failure.Corrupt);
  const source = readBytes(<u32>bytes);
  if (failure != Failure.None) return;
  const end = bytes << 3;
  let at: u64 = 0;
  for (const stop = target + (<usize>size << 3); target < stop; target += 8) {
    // Every read starts below `end`, and the input is padded by more than the longest code.
    if (at >= end) return fail(Failure.Corrupt);
    let word = peekBits(source, at);
    const entry = <u32>load<u16>(TABLE + (<usize>(word & ((1 << MAX_CODE_BITS) - 1)) << 1));
    const length = entry & 15;
    const symbol = entry >> 4;
    const rest = restBits(symbol);
    at += length;
    word = length + rest <= 64 ? word >> length : peekBits(source, at);
    at += rest;
    if (rest > MAX_REST) return fail(Failure.Corrupt);
    let magnitude = <u64>(symbol >> 1);
    if (magnitude >= EXACT) magnitude = ((magnitude & 3) | 4) << rest | (word & (((<u64>1) << rest) - 1));
    store<i64>(target, symbol & 1 ? centre - <i64>magnitude : centre + <i64>magnitude);
  }
  if (at > end) fail(Failure.Corrupt);
}
