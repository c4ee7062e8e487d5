import { ByteBuffer } from "../memory/bytes";
import { decodeIntegers, encodeIntegers } from "./integers";
import { decodeKeyed, encodeKeyed } from "./keyed";
import { Failure, fail, failure, readBytes, readU8, readVarint } from "./reader";
import { sampleIndex } from "./sample";
import { Scratch, scratch } from "./scratch";
import { writeVarint } from "./writer";

/**
 * Doubles that came from decimals, as integers: 21.37 is 2137 / 10². The idea is ALP's (Afroozeh, Kuffó and
 * Boncz, "ALP: Adaptive Lossless floating-Point Compression", 2023); here the decoder divides by the power of
 * ten, which is exact for every decimal of up to 15 digits since both operands are exact doubles.
 *
 * A double within 7 last places of such a quotient (means and sums of decimals: 41.361999999999995) keeps the
 * integer and adds the distance. All others (NaN, infinities, −0, full mantissas) are exceptions, kept whole.
 */
const HAS_CORRECTIONS: u32 = 1;
const HAS_EXCEPTIONS: u32 = 2;
const MAX_CORRECTION: u64 = 7;

export const NO_POWER: u32 = 255;
const MAX_POWER: u32 = 18;
const SAMPLES: u32 = 32;
/** What a sampled exception costs, in bits: the value and its row, against the group it does not widen. */
const EXCEPTION_BITS: u32 = 80;
const CORRECTION_BITS: u32 = 3;

/** 10^0 … 10^18, all exact. */
const POWERS = memory.data<f64>([
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
]);

/** 1.5·2^52: added to a number below 2^51, it leaves the nearest integer in the low bits of the mantissa. */
const ROUNDER: f64 = 6755399441055744.0;
const ROUNDER_BITS: i64 = 0x4338000000000000;
const MAX_DECIMAL: f64 = 2251799813685248.0;

@inline
function powerOf(exponent: u32): f64 {
  return load<f64>(POWERS + (<usize>exponent << 3));
}

/** The power of ten that makes a sample of the values smallest, or NO_POWER when decimals do not help. */
export function choosePower(source: usize, count: u32): u32 {
  const step = max<u32>(1, count / SAMPLES);
  const samples = count / step;
  let best = NO_POWER;
  let bestCost: u64 = u64.MAX_VALUE;
  for (let exponent: u32 = 0; exponent <= MAX_POWER; exponent++) {
    const power = powerOf(exponent);
    let exceptions: u64 = 0;
    let corrected: u64 = 0;
    let decimals: u64 = 0;
    let least = i64.MAX_VALUE;
    let greatest = i64.MIN_VALUE;
    for (let i: u32 = 0; i < samples; i++) {
      const value = load<f64>(source + (<usize>sampleIndex(i, step) << 3));
      const scaled = value * power;
      if (!(abs(scaled) < MAX_DECIMAL)) {
        exceptions++;
        continue;
      }
      const whole = nearest(scaled);
      const distance = reinterpret<i64>(value) - reinterpret<i64>((whole + 0.0) / power);
      if (distance != 0) {
        if (<u64>(distance + MAX_CORRECTION) > 2 * MAX_CORRECTION) {
          exceptions++;
          continue;
        }
        corrected++;
      }
      decimals++;
      least = min(least, <i64>whole);
      greatest = max(greatest, <i64>whole);
    }
    if (decimals == 0) continue;
    const bits = 64 - clz<u64>(<u64>(greatest - least));
    const cost = decimals * bits + exceptions * EXCEPTION_BITS + (corrected == 0 ? 0 : decimals * CORRECTION_BITS);
    if (cost < bestCost) {
      bestCost = cost;
      best = exponent;
    }
    if (exceptions == 0 && corrected == 0) break;
  }
  return bestCost < <u64>samples * 64 ? best : NO_POWER;
}

/** What the last `split` found. */
let exceptions: u32 = 0;
let isCorrected: bool = false;

/** Appends `count` doubles at `source` as decimals of that power of ten. */
export function encodeDecimals(source: usize, count: u32, exponent: u32, out: ByteBuffer): void {
  split(source, count, exponent);
  encodeSplit(count, exponent, out);
}

/** The same when `encodeKeyedDecimals` was called for just these, and they did not pay. */
export function encodeSplit(count: u32, exponent: u32, out: ByteBuffer): void {
  writeHead(exponent, out);
  encodeIntegers(scratch(Scratch.Decimals, 0), count, out);
  writeOddities(count, out);
}

/** The same by key; false, and nothing appended, when that does not pay. */
export function encodeKeyedDecimals(source: usize, count: u32, exponent: u32, out: ByteBuffer): bool {
  const start = out.length;
  split(source, count, exponent);
  writeHead(exponent, out);
  if (!encodeKeyed(scratch(Scratch.Decimals, 0), count, out)) {
    out.length = start;
    return false;
  }
  writeOddities(count, out);
  return true;
}

/** Makes decimals, corrections and exceptions in the memory for them. */
function split(source: usize, count: u32, exponent: u32): void {
  const decimals = scratch(Scratch.Decimals, <usize>count << 3);
  const corrections = scratch(Scratch.Corrections, <usize>count << 3);
  exceptions = 0;
  isCorrected = false;
  if (splitPairs(source, count, powerOf(exponent), decimals, corrections) == 0) return;
  exceptions = takeExceptions(source, count, decimals, corrections);
  for (let i: u32 = 0; i < count && !isCorrected; i++) isCorrected = load<i64>(corrections + (<usize>i << 3)) != 0;
}

function writeHead(exponent: u32, out: ByteBuffer): void {
  out.u8(<u8>exponent);
  out.u8(<u8>((isCorrected ? HAS_CORRECTIONS : 0) | (exceptions > 0 ? HAS_EXCEPTIONS : 0)));
}

function writeOddities(count: u32, out: ByteBuffer): void {
  if (isCorrected) encodeIntegers(scratch(Scratch.Corrections, 0), count, out);
  if (exceptions == 0) return;
  writeVarint(out, exceptions);
  encodeIntegers(scratch(Scratch.ExceptionRows, 0), exceptions, out);
  out.append(scratch(Scratch.ExceptionValues, 0), exceptions << 3);
}

/** Writes each value's integer, and the value's bits less the quotient's. Gives the OR of these distances. */
function splitPairs(source: usize, count: u32, power: f64, decimals: usize, corrections: usize): u64 {
  const powers = f64x2.splat(power);
  const rounder = f64x2.splat(ROUNDER);
  const rounderBits = i64x2.splat(ROUNDER_BITS);
  const bound = f64x2.splat(MAX_DECIMAL);
  const farAway = i64x2.splat(i64.MIN_VALUE);
  const end = <usize>(count & ~1) << 3;
  let all = i64x2.splat(0);
  let at: usize = 0;
  for (; at < end; at += 16) {
    const value = v128.load(source + at);
    const scaled = f64x2.mul(value, powers);
    const rounded = f64x2.add(scaled, rounder);
    const quotient = f64x2.div(f64x2.sub(rounded, rounder), powers);
    const isBounded = f64x2.lt(f64x2.abs(scaled), bound);
    const distance = v128.bitselect(i64x2.sub(value, quotient), farAway, isBounded);
    all = v128.or(all, distance);
    v128.store(decimals + at, i64x2.sub(rounded, rounderBits));
    v128.store(corrections + at, distance);
  }
  let any = <u64>(i64x2.extract_lane(all, 0) | i64x2.extract_lane(all, 1));
  if (count & 1) {
    const value = load<f64>(source + at);
    const scaled = value * power;
    const rounded = scaled + ROUNDER;
    const quotient = (rounded - ROUNDER) / power;
    const distance = abs(scaled) < MAX_DECIMAL ? reinterpret<i64>(value) - reinterpret<i64>(quotient) : i64.MIN_VALUE;
    any |= <u64>distance;
    store<i64>(decimals + at, reinterpret<i64>(rounded) - ROUNDER_BITS);
    store<i64>(corrections + at, distance);
  }
  return any;
}

/** Moves values too far from their decimal aside; in their place stands the decimal before, at distance 0. */
function takeExceptions(source: usize, count: u32, decimals: usize, corrections: usize): u32 {
  let found: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    if (isFar(load<i64>(corrections + (<usize>i << 3)))) found++;
  }
  if (found == 0) return 0;
  const rows = scratch(Scratch.ExceptionRows, <usize>found << 3);
  const values = scratch(Scratch.ExceptionValues, <usize>found << 3);
  let placeholder: i64 = 0;
  for (let i: u32 = 0; i < count; i++) {
    if (isFar(load<i64>(corrections + (<usize>i << 3)))) continue;
    placeholder = load<i64>(decimals + (<usize>i << 3));
    break;
  }
  let taken: usize = 0;
  for (let i: u32 = 0; i < count; i++) {
    const at = <usize>i << 3;
    if (!isFar(load<i64>(corrections + at))) {
      placeholder = load<i64>(decimals + at);
      continue;
    }
    store<i64>(rows + taken, i);
    store<u64>(values + taken, load<u64>(source + at));
    store<i64>(decimals + at, placeholder);
    store<i64>(corrections + at, 0);
    taken += 8;
  }
  return found;
}

@inline
function isFar(distance: i64): bool {
  return <u64>(distance + MAX_CORRECTION) > 2 * MAX_CORRECTION;
}

/** Reads `count` doubles to `target`. */
export function decodeDecimals(count: u32, target: usize): void {
  const exponent = readU8();
  const parts = readU8();
  decodeIntegers(count, target);
  finish(exponent, parts, count, target);
}

/** The same by key. */
export function decodeKeyedDecimals(count: u32, target: usize): void {
  const exponent = readU8();
  const parts = readU8();
  decodeKeyed(count, target);
  finish(exponent, parts, count, target);
}

function finish(exponent: u32, parts: u32, count: u32, target: usize): void {
  if (exponent > MAX_POWER || parts > 3) fail(Failure.Corrupt);
  if (failure != Failure.None) return;
  const power = powerOf(exponent);
  for (let at = target, end = target + (<usize>count << 3); at < end; at += 8) {
    store<f64>(at, <f64>load<i64>(at) / power);
  }
  if (parts & HAS_CORRECTIONS) addCorrections(count, target);
  if (parts & HAS_EXCEPTIONS) placeExceptions(count, target);
}

function addCorrections(count: u32, target: usize): void {
  const corrections = scratch(Scratch.Corrections, <usize>count << 3);
  decodeIntegers(count, corrections);
  if (failure != Failure.None) return;
  for (let at: usize = 0, end = <usize>count << 3; at < end; at += 8) {
    store<i64>(target + at, load<i64>(target + at) + load<i64>(corrections + at));
  }
}

function placeExceptions(count: u32, target: usize): void {
  const exceptions = readVarint();
  if (exceptions > count) return fail(Failure.Corrupt);
  const rows = scratch(Scratch.ExceptionRows, <usize>exceptions << 3);
  decodeIntegers(<u32>exceptions, rows);
  const values = readBytes(<u32>exceptions << 3);
  if (failure != Failure.None) return;
  for (let at: usize = 0, end = <usize>exceptions << 3; at < end; at += 8) {
    const row = load<u64>(rows + at);
    if (row >= count) return fail(Failure.Corrupt);
    store<u64>(target + (<usize>row << 3), load<u64>(values + at));
  }
}
