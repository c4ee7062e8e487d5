import { ByteBuffer } from "../memory/bytes";
import { GROUP, packGroup, packTail, tailBytes, unpackGroup, unpackTail } from "./bits";
import { decodeEntropy, encodeEntropy, estimateEntropy } from "./entropy";
import { isThorough } from "./effort";
import { divisor, factorOut } from "./factor";
import { cursor, Failure, fail, failure, readBytes, readSigned, readU8, readVarint } from "./reader";
import { sampleIndex } from "./sample";
import { Scratch, scratch } from "./scratch";
import { writeSigned, writeVarint } from "./writer";

/**
 * Integers in pages of 4,096, each as differences of order 0, 1 or 2, chosen from a sample by size. The differences
 * are bit-packed in groups of 128, each relative to its least member at the width it needs (frame of reference), or
 * entropy-coded when that is clearly smaller. All arithmetic is modulo 2^64, so every int64 sequence is exact.
 *
 * When all values of a page are first + factor · n, the n are stored: milliseconds in a microsecond column cost no
 * more than as milliseconds, and doubles that were singles lose their 29 empty bits.
 */
export const PAGE: u32 = 4096;
const ORDER_MASK: u32 = 3;
const HAS_FACTOR: u32 = 4;
const HAS_ENTROPY: u32 = 8;
const MAX_MODE: u32 = 15;
const SAMPLED_GROUPS: u32 = 6;
const ESTIMATED_GROUPS: u32 = 16;
/** Fewer values than this do not pay for code lengths. */
const MIN_ENTROPY_VALUES: u32 = 128;
/** Entropy coding is slower, so it must save a sixteenth. */
const ENTROPY_GAIN: u64 = 15;
const CENTRE_SAMPLES: u32 = 31;

/** Least and greatest difference of the last `measure`. */
let least: i64 = 0;
let greatest: i64 = 0;

/** Appends `count` integers at `source`. Cost: about two passes. */
export function encodeIntegers(source: usize, count: u32, out: ByteBuffer): void {
  for (let from: u32 = 0; from < count; from += PAGE) {
    encodePage(source + (<usize>from << 3), min(PAGE, count - from), out);
  }
}

function encodePage(source: usize, count: u32, out: ByteBuffer): void {
  const first = load<i64>(source);
  const values = factorOut(source, count);
  const order = isThorough ? chooseOrderThoroughly(values, count) : chooseOrder(values, count);
  const mode = out.length;
  let flags = order;
  out.u8(0);
  if (divisor > 1) {
    flags |= HAS_FACTOR;
    writeVarint(out, divisor);
    writeSigned(out, first);
  }
  if (order > 0) writeSigned(out, load<i64>(values));
  if (order > 1) writeSigned(out, load<i64>(values, 8) - load<i64>(values));
  if (encodeDifferences(values, count, order, out)) flags |= HAS_ENTROPY;
  store<u8>(out.data + mode, <u8>flags);
}

/** Appends the differences in the smaller form; true when that is the entropy-coded one. */
function encodeDifferences(values: usize, count: u32, order: u32, out: ByteBuffer): bool {
  const size = count - order;
  const differences = differencesOf(values, size, order);
  const groups = (size + GROUP - 1) / GROUP;
  const widths = scratch(Scratch.Widths, groups);
  const bases = scratch(Scratch.Bases, <usize>groups << 3);
  let packedBytes: u32 = 0;
  for (let group: u32 = 0; group < groups; group++) {
    const members = min(GROUP, size - group * GROUP);
    measure(differences, group * GROUP, members, 0);
    const width = <u32>(64 - clz<u64>(<u64>(greatest - least)));
    store<u8>(widths + group, <u8>width);
    store<i64>(bases + (<usize>group << 3), least);
    packedBytes += tailBytes(members, width);
  }
  const wholeBytes = packedBytes + (groups << 1);
  if (size >= MIN_ENTROPY_VALUES) {
    const limit = isThorough ? <u64>wholeBytes : (<u64>wholeBytes * ENTROPY_GAIN) >> 4;
    const centre = centreOf(differences, size);
    if (estimateEntropy(differences, size, centre) < limit << 3) {
      if (encodeEntropy(differences, size, centre, <u32>limit, out)) return true;
    }
  }
  packGroups(differences, size, groups, widths, bases, packedBytes, out);
  return false;
}

/** The address of `size` differences of that order; the values themselves for order 0. */
function differencesOf(values: usize, size: u32, order: u32): usize {
  if (order == 0) return values;
  const target = scratch(Scratch.Differences, <usize>PAGE << 3);
  differ(values + (<usize>order << 3), size, order, target);
  return target;
}

/** About the median. */
function centreOf(values: usize, size: u32): i64 {
  const sorted = CENTRE;
  const step = max<u32>(1, size / CENTRE_SAMPLES);
  const taken = min(size / step, CENTRE_SAMPLES);
  for (let i: u32 = 0; i < taken; i++) {
    const value = load<i64>(values + (<usize>sampleIndex(i, step) << 3));
    let at = i;
    while (at > 0 && load<i64>(sorted + (<usize>(at - 1) << 3)) > value) {
      store<i64>(sorted + (<usize>at << 3), load<i64>(sorted + (<usize>(at - 1) << 3)));
      at--;
    }
    store<i64>(sorted + (<usize>at << 3), value);
  }
  return load<i64>(sorted + (<usize>(taken >> 1) << 3));
}
const CENTRE = memory.data(31 * 8, 8);

/** Appends all widths, all least members, then the groups: like bytes together compress better. */
function packGroups(
  differences: usize,
  size: u32,
  groups: u32,
  widths: usize,
  bases: usize,
  packedBytes: u32,
  out: ByteBuffer,
): void {
  out.append(widths, groups);
  let previous: i64 = 0;
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
    const source = differences + (<usize>from << 3);
    if (members == GROUP) packGroup(source, base, width, target);
    else packTail(source, members, base, width, target);
    target += tailBytes(members, width);
  }
  out.length += packedBytes;
}

/** About how many bits `count` integers take, from a sample. */
export function estimateBits(values: usize, count: u32): u64 {
  if (count < 4) return <u64>count << 6;
  const groups = (count + GROUP - 1) / GROUP;
  const step = max<u32>(1, groups / ESTIMATED_GROUPS);
  let bits: u64 = 0;
  let sampled: u64 = 0;
  for (let group: u32 = 0; group < groups; group += step) {
    const from = max<u32>(2, group * GROUP);
    if (from >= count) break;
    const size = min(GROUP, count - from);
    const order0 = spanBits(values, from, size, 0);
    const order1 = spanBits(values, from, size, 1);
    bits += size * min(order0, min(order1, spanBits(values, from, size, 2)));
    sampled += size;
  }
  return sampled == 0 ? <u64>count << 6 : (bits * count) / sampled;
}

/** The order of differences that packs a sample of groups best; the lower one on a tie. */
function chooseOrder(values: usize, count: u32): u32 {
  if (count < 4) return 0;
  const groups = (count + GROUP - 1) / GROUP;
  const step = max<u32>(1, groups / SAMPLED_GROUPS);
  let cost0: u64 = 0;
  let cost1: u64 = 0;
  let cost2: u64 = 0;
  for (let group: u32 = 0; group < groups; group += step) {
    const from = max<u32>(2, group * GROUP);
    if (from >= count) break;
    const size = min(GROUP, count - from);
    cost0 += size * spanBits(values, from, size, 0);
    cost1 += size * spanBits(values, from, size, 1);
    cost2 += size * spanBits(values, from, size, 2);
  }
  if (cost0 <= cost1 && cost0 <= cost2) return 0;
  return cost1 <= cost2 ? 1 : 2;
}

/** The order of differences that takes the fewest bits, packed or entropy-coded; the lower one on a tie. */
function chooseOrderThoroughly(values: usize, count: u32): u32 {
  if (count < MIN_ENTROPY_VALUES) return chooseOrder(values, count);
  let best: u32 = 0;
  let least_: u64 = u64.MAX_VALUE;
  for (let order: u32 = 0; order <= 2; order++) {
    const size = count - order;
    const differences = differencesOf(values, size, order);
    let packed: u64 = 0;
    for (let from: u32 = 0; from < size; from += GROUP) {
      const members = min(GROUP, size - from);
      packed += <u64>members * spanBits(differences, from, members, 0);
    }
    const cost = min(packed, estimateEntropy(differences, size, centreOf(differences, size)));
    if (cost >= least_) continue;
    least_ = cost;
    best = order;
  }
  return best;
}

function spanBits(values: usize, from: u32, size: u32, order: u32): u64 {
  measure(values, from, size, order);
  return 64 - clz<u64>(<u64>(greatest - least));
}

/** Two differences of that order at `at`; the values before it are there. */
@inline
function differenceAt(at: usize, order: u32): v128 {
  const here = v128.load(at);
  if (order == 0) return here;
  const before = v128.load(at - 8);
  const step = i64x2.sub(here, before);
  if (order == 1) return step;
  return i64x2.sub(step, i64x2.sub(before, v128.load(at - 16)));
}

@inline
function oneDifferenceAt(at: usize, order: u32): i64 {
  const here = load<i64>(at);
  if (order == 0) return here;
  const before = load<i64>(at - 8);
  if (order == 1) return here - before;
  return here - before - (before - load<i64>(at - 16));
}

function differ(source: usize, size: u32, order: u32, target: usize): void {
  const end = source + (<usize>size << 3);
  if (order == 1) for (; source < end; source += 16, target += 16) v128.store(target, differenceAt(source, 1));
  else for (; source < end; source += 16, target += 16) v128.store(target, differenceAt(source, 2));
}

/** Sets `least` and `greatest` of `size` > 0 differences from index `from` ≥ `order`. */
function measure(values: usize, from: u32, size: u32, order: u32): void {
  const at = values + (<usize>from << 3);
  if (order == 0) measureOrder(at, size, 0);
  else if (order == 1) measureOrder(at, size, 1);
  else measureOrder(at, size, 2);
}

@inline
function measureOrder(at: usize, size: u32, order: u32): void {
  const end = at + (<usize>size << 3);
  const first = oneDifferenceAt(at, order);
  let low = i64x2.splat(first);
  let high = low;
  for (; at + 16 <= end; at += 16) {
    const value = differenceAt(at, order);
    low = v128.bitselect(value, low, i64x2.gt_s(low, value));
    high = v128.bitselect(value, high, i64x2.gt_s(value, high));
  }
  let least_ = min(i64x2.extract_lane(low, 0), i64x2.extract_lane(low, 1));
  let greatest_ = max(i64x2.extract_lane(high, 0), i64x2.extract_lane(high, 1));
  if (at < end) {
    const value = oneDifferenceAt(at, order);
    least_ = min(least_, value);
    greatest_ = max(greatest_, value);
  }
  least = least_;
  greatest = greatest_;
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
