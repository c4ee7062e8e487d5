import { ByteBuffer } from "../memory/bytes";
import {
  choosePower,
  decodeDecimals,
  decodeKeyedDecimals,
  encodeDecimals,
  encodeKeyedDecimals,
  encodeSplit,
  NO_POWER,
} from "./decimals";
import { decodeIntegers, encodeIntegers, PAGE } from "./integers";
import { hasKeys } from "./keyed";
import { Failure, fail, failure, readU8 } from "./reader";
import { Scratch, scratch } from "./scratch";
import { decodeXor, encodeXor, measureXor } from "./xor";

/** How a column of doubles is written: whichever is smallest. All are exact to the bit. */
const enum FloatMode {
  Decimal = 0,
  /** The bits, mapped so that their order as int64 is the order of the numbers, as integers. */
  Ordered = 1,
  Xor = 2,
}

/** Decimals this small (bytes a value) are taken without trying the other forms. */
const GOOD_ENOUGH_BYTES: u32 = 3;

/** The mode and the length. */
const XOR_HEADER_BYTES: u32 = 4;

/** In a keyed block, how the whole column is written. */
const enum ColumnMode {
  Pages = 0,
  KeyedDecimal = 1,
}

/** Appends `count` doubles at `source`: as decimals by key, or page by page, each in its own form. */
export function encodeFloats(source: usize, count: u32, out: ByteBuffer): void {
  if (hasKeys()) {
    const mode = out.length;
    out.u8(<u8>ColumnMode.KeyedDecimal);
    const power = choosePower(source, count);
    if (power != NO_POWER && encodeKeyedDecimals(source, count, power, out)) return;
    store<u8>(out.data + mode, <u8>ColumnMode.Pages);
    if (power != NO_POWER && count <= PAGE) return encodePage(source, count, power, out);
  }
  for (let from: u32 = 0; from < count; from += PAGE) {
    encodePage(source + ((<usize>from) << 3), min(PAGE, count - from), NO_POWER, out);
  }
}

/** `splitBy`: the power by which the values were split a moment ago, or NO_POWER. */
function encodePage(source: usize, count: u32, splitBy: u32, out: ByteBuffer): void {
  const start = out.length;
  let best: u32 = u32.MAX_VALUE;
  const power = splitBy != NO_POWER ? splitBy : choosePower(source, count);
  if (power != NO_POWER) {
    out.u8(<u8>FloatMode.Decimal);
    if (splitBy != NO_POWER) encodeSplit(count, power, out);
    else encodeDecimals(source, count, power, out);
    best = out.length - start;
    if (best <= count * GOOD_ENOUGH_BYTES) return;
  }
  // The other forms go behind the best so far and take its place when they are smaller.
  const second = out.length;
  out.u8(<u8>FloatMode.Ordered);
  encodeOrdered(source, count, out);
  if (out.length - second < best) best = moveBack(out, start, second);
  else out.length = second;
  const xorBytes = measureXor(source, count);
  if (xorBytes + XOR_HEADER_BYTES < best) {
    out.length = start;
    out.u8(<u8>FloatMode.Xor);
    encodeXor(source, count, xorBytes, out);
  }
}

/** Moves what stands from `from` on to `to`, over what stood there. Gives its length. */
function moveBack(out: ByteBuffer, to: u32, from: u32): u32 {
  const length = out.length - from;
  memory.copy(out.data + to, out.data + from, length);
  out.length = to + length;
  return length;
}

/** Reads `count` doubles to `target`. On failure the room's content is undefined. */
export function decodeFloats(count: u32, target: usize): void {
  if (count == 0) return;
  if (hasKeys()) {
    const mode = readU8();
    if (mode == ColumnMode.KeyedDecimal) return decodeKeyedDecimals(count, target);
    if (mode != ColumnMode.Pages) return fail(Failure.Corrupt);
  }
  for (let from: u32 = 0; from < count && failure == Failure.None; from += PAGE) {
    decodePage(min(PAGE, count - from), target + ((<usize>from) << 3));
  }
}

function decodePage(count: u32, target: usize): void {
  const mode = readU8();
  if (failure != Failure.None) return;
  if (mode == FloatMode.Decimal) {
    decodeDecimals(count, target);
  } else if (mode == FloatMode.Ordered) {
    decodeIntegers(count, target);
    reorder(target, count, target);
  } else if (mode == FloatMode.Xor) {
    decodeXor(count, target);
  } else {
    fail(Failure.Corrupt);
  }
}

function encodeOrdered(source: usize, count: u32, out: ByteBuffer): void {
  const ordered = scratch(Scratch.Decimals, (<usize>count) << 3);
  reorder(source, count, ordered);
  encodeIntegers(ordered, count, out);
}

/** Flips all but the sign of negative numbers: its own inverse. */
function reorder(source: usize, count: u32, target: usize): void {
  for (let at: usize = 0, end = (<usize>count) << 3; at < end; at += 8) {
    const bits = load<i64>(source + at);
    store<i64>(target + at, bits ^ <i64>(<u64>(bits >> 63) >> 1));
  }
}
