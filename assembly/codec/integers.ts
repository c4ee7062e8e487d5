import { ByteBuffer } from "../memory/bytes";
import { GROUP, packGroup, packTail, tailBytes, unpackGroup, unpackTail } from "./bits";
import { decodeEntropy, encodeEntropy, estimateEntropy } from "./entropy";
import { isThorough } from "./effort";
import { divisor, factorOut, factorOutNarrow } from "./factor";
import { narrow } from "./narrow";
import { cursor, Failure, fail, failure, readBytes, readSigned, readU8, readVarint } from "./reader";
import { Scratch, scratch } from "./scratch";
import { bytesOf, centreOf, chooseOrder, differencesOf, least, MIN_ENTROPY_VALUES, spanBits } from "./steps";
import { writeSigned, writeVarint } from "./writer";

/**
 * Integers in pages of 4,096, each as differences of order 0, 1 or 2, chosen from a sample by size. The differences
 * are bit-packed in groups of 128, each relative to its least member at the width it needs (frame of reference), or
 * entropy-coded when that is clearly smaller. All arithmetic is modulo 2^64, so every int64 sequence is exact.
 *
 * When all values of a page are first + factor · n, the n are stored: milliseconds in a microsecond column cost no
 * more than as milliseconds, and doubles that were singles lose their 29 empty bits.
 *
 * Where all values of a page are near its first one they are handled in 32 bits, which comes to the same bytes.
 */
export const PAGE: u32 = 4096;
const ORDER_MASK: u32 = 3;
const HAS_FACTOR: u32 = 4;
const HAS_ENTROPY: u32 = 8;
const MAX_MODE: u32 = 15;
/** Entropy coding is slower, so it must save a sixteenth. */
const ENTROPY_GAIN: u64 = 15;

/** Appends `count` integers at `source`. Cost: about two passes. */
export function encodeIntegers(source: usize, count: u32, out: ByteBuffer): void {
  for (let from: u32 = 0; from < count; from += PAGE) {
    encodePage(source + (<usize>from << 3), min(PAGE, count - from), out);
  }
}

function encodePage(source: usize, count: u32, out: ByteBuffer): void {
  const first = load<i64>(source);
  const distances = narrow(source, count);
  if (distances == 0) return writePage<i64>(factorOut(source, count), count, first, 0, out);
  const values = factorOutNarrow(distances, count);
  writePage<i32>(values, count, first, divisor > 1 ? 0 : first, out);
}

/** Appends a page of the integers at `values`, each less `origin`; where there is a factor it is taken out of them, and `first` too. */
function writePage<T>(values: usize, count: u32, first: i64, origin: i64, out: ByteBuffer): void {
  const order = chooseOrder<T>(values, count);
  const mode = out.length;
  let flags = order;
  out.u8(0);
  if (divisor > 1) {
    flags |= HAS_FACTOR;
    writeVarint(out, divisor);
    writeSigned(out, first);
  }
  if (order > 0) writeSigned(out, <i64>load<T>(values) + origin);
  if (order > 1) writeSigned(out, <i64>load<T>(values, sizeof<T>()) - <i64>load<T>(values));
  if (encodeDifferences<T>(values, count, order, order == 0 ? origin : 0, out)) flags |= HAS_ENTROPY;
  store<u8>(out.data + mode, <u8>flags);
}

/** Appends the differences, each with `origin` added, in the smaller form; true when that is the entropy-coded one. */
function encodeDifferences<T>(values: usize, count: u32, order: u32, origin: i64, out: ByteBuffer): bool {
  const size = count - order;
  const differences = differencesOf<T>(values, size, order);
  const groups = (size + GROUP - 1) / GROUP;
  const widths = scratch(Scratch.Widths, groups);
  const bases = scratch(Scratch.Bases, <usize>groups << 3);
  let packedBytes: u32 = 0;
  for (let group: u32 = 0; group < groups; group++) {
    const members = min(GROUP, size - group * GROUP);
    const width = <u32>spanBits<T>(differences, group * GROUP, members, 0);
    store<u8>(widths + group, <u8>width);
    store<i64>(bases + (<usize>group << 3), least);
    packedBytes += tailBytes(members, width);
  }
  const wholeBytes = packedBytes + (groups << 1);
  const limit = isThorough ? <u64>wholeBytes : (<u64>wholeBytes * ENTROPY_GAIN) >> 4;
  // A code has a bit at the least.
  if (size >= MIN_ENTROPY_VALUES && limit << 3 > size) {
    const centre = centreOf<T>(differences, size);
    if (estimateEntropy<T>(differences, size, centre, limit << 3) < limit << 3) {
      if (encodeEntropy<T>(differences, size, centre, origin, <u32>limit, out)) return true;
    }
  }
  packGroups<T>(differences, size, groups, widths, bases, packedBytes, origin, out);
  return false;
}

/** Appends all widths, all least members, then the groups: like bytes together compress better. */
function packGroups<T>(
  differences: usize,
  size: u32,
  groups: u32,
  widths: usize,
  bases: usize,
  packedBytes: u32,
  origin: i64,
  out: ByteBuffer,
): void {
  out.append(widths, groups);
  let previous: i64 = -origin;
  for (let group: u32 = 0; group < groups; group++) {
    const base = load<i64>(bases + (<usize>group << 3));
    writeSigned(out, base - previous);
    previous = base;
  }
  let target = out.reserve(packedBytes + 16);
  for (let group: u32 = 0; group < groups; group++) {
    const from = group * GROUP;
    const members = min(GROUP, size - from);
    const width = <u32>load<u8>(widths + group);
    const base = load<i64>(bases + (<usize>group << 3));
    const source = differences + bytesOf<T>(from);
    if (members == GROUP) packGroup<T>(source, base, width, target);
    else packTail<T>(source, members, base, width, target);
    target += tailBytes(members, width);
  }
  out.length += packedBytes;
}

/** Reads `count` integers to `target`, which has room for them. On failure the room's content is undefined. */
export function decodeIntegers(count: u32, target: usize): void {
  for (let from: u32 = 0; from < count && failure == Failure.None; from += PAGE) {
    decodePage(min(PAGE, count - from), target + (<usize>from << 3));
  }
}

function decodePage(count: u32, target: usize): void {
  const mode = readU8();
  const order = mode & ORDER_MASK;
  if (mode > MAX_MODE || order > 2 || order > count) return fail(Failure.Corrupt);
  let factor: u64 = 1;
  let origin: i64 = 0;
  if (mode & HAS_FACTOR) {
    factor = readVarint();
    origin = readSigned();
  }
  if (order > 0) store<i64>(target, readSigned());
  if (order > 1) store<i64>(target, readSigned(), 8);
  if (count > order) {
    if (mode & HAS_ENTROPY) decodeEntropy(count - order, target + (<usize>order << 3));
    else decodeGroups(count - order, target + (<usize>order << 3));
  }
  if (failure != Failure.None) return;
  if (order == 1) addUp(target, count);
  else if (order == 2) addUpTwice(target, count);
  if (mode & HAS_FACTOR) multiply(target, count, origin, factor);
}

function decodeGroups(count: u32, target: usize): void {
  const groups = (count + GROUP - 1) / GROUP;
  const widths = readBytes(groups);
  if (widths == 0) return;
  let packedBytes: u64 = 0;
  for (let group: u32 = 0; group < groups; group++) {
    const width = <u32>load<u8>(widths + group);
    if (width > 64) return fail(Failure.Corrupt);
    packedBytes += tailBytes(min(GROUP, count - group * GROUP), width);
  }
  const bases = cursor;
  for (let group: u32 = 0; group < groups; group++) readSigned();
  if (packedBytes > <u64>u32.MAX_VALUE) return fail(Failure.Corrupt);
  let source = readBytes(<u32>packedBytes);
  if (failure != Failure.None) return;
  let basesAt = bases;
  let base: i64 = 0;
  for (let group: u32 = 0; group < groups; group++) {
    const width = <u32>load<u8>(widths + group);
    let zigzag: u64 = 0;
    let shift: u64 = 0;
    // These bytes were read before, within bounds.
    while (true) {
      const byte = <u64>load<u8>(basesAt++);
      zigzag |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
      shift += 7;
    }
    base += <i64>(zigzag >> 1) ^ -(<i64>(zigzag & 1));
    const size = min(GROUP, count - group * GROUP);
    if (size == GROUP) unpackGroup(source, base, width, target);
    else unpackTail(source, size, base, width, target);
    source += tailBytes(size, width);
    target += <usize>size << 3;
  }
}

function addUp(values: usize, count: u32): void {
  const end = values + (<usize>count << 3);
  let value: i64 = 0;
  for (; values < end; values += 8) {
    value += load<i64>(values);
    store<i64>(values, value);
  }
}

/** values[0] is the first value, values[1] the first step, the rest are changes of the step. */
function addUpTwice(values: usize, count: u32): void {
  const end = values + (<usize>count << 3);
  let value = load<i64>(values);
  let step: i64 = 0;
  for (values += 8; values < end; values += 8) {
    step += load<i64>(values);
    value += step;
    store<i64>(values, value);
  }
}

function multiply(values: usize, count: u32, origin: i64, factor: u64): void {
  const end = values + (<usize>count << 3);
  for (; values < end; values += 8) store<i64>(values, origin + load<i64>(values) * <i64>factor);
}
