import { GROUP } from "./bits";
import { isThorough } from "./effort";
import { estimateEntropy } from "./entropy";
import { narrow } from "./narrow";
import { sampleIndex } from "./sample";
import { Scratch, scratch } from "./scratch";

/**
 * Differences of order 0, 1 and 2 of integers in one page, and the order that makes them small. `T` is how the integers stand
 * in memory: i64, or i32 where all of a page are near its first (`narrow.ts`), which takes a quarter of the instructions.
 */

const SAMPLED_GROUPS: u32 = 6;
const ESTIMATED_GROUPS: u32 = 16;
/** Fewer values than this do not pay for code lengths. */
export const MIN_ENTROPY_VALUES: u32 = 128;
const CENTRE_SAMPLES: u32 = 31;
const CENTRE = memory.data(31 * 8, 8);

/** Least and greatest difference of the last `measure`. */
export let least: i64 = 0;
export let greatest: i64 = 0;

/** Bytes that `count` integers take. */
@inline
export function bytesOf<T>(count: u32): usize {
  return <usize>count * sizeof<T>();
}

/** The address of `size` differences of that order; the values themselves for order 0. */
export function differencesOf<T>(values: usize, size: u32, order: u32): usize {
  if (order == 0) return values;
  const target = scratch(Scratch.Differences, bytesOf<T>(size));
  const source = values + bytesOf<T>(order);
  if (order == 1) differ<T>(source, size, 1, target);
  else differ<T>(source, size, 2, target);
  return target;
}

@inline
function differ<T>(source: usize, size: u32, order: u32, target: usize): void {
  const end = source + bytesOf<T>(size);
  for (; source < end; source += 16, target += 16) v128.store(target, differenceAt<T>(source, order));
}

/** About the median. */
export function centreOf<T>(values: usize, size: u32): i64 {
  const sorted = CENTRE;
  const step = max<u32>(1, size / CENTRE_SAMPLES);
  const taken = min(size / step, CENTRE_SAMPLES);
  for (let i: u32 = 0; i < taken; i++) {
    const value = <i64>load<T>(values + bytesOf<T>(sampleIndex(i, step)));
    let at = i;
    while (at > 0 && load<i64>(sorted + (<usize>(at - 1) << 3)) > value) {
      store<i64>(sorted + (<usize>at << 3), load<i64>(sorted + (<usize>(at - 1) << 3)));
      at--;
    }
    store<i64>(sorted + (<usize>at << 3), value);
  }
  return load<i64>(sorted + (<usize>(taken >> 1) << 3));
}

/** About how many bits `count` integers take, from a sample. */
export function estimateBits(values: usize, count: u32): u64 {
  if (count < 4) return <u64>count << 6;
  const distances = narrow(values, count);
  return distances == 0 ? estimateSpans<i64>(values, count) : estimateSpans<i32>(distances, count);
}

function estimateSpans<T>(values: usize, count: u32): u64 {
  const groups = (count + GROUP - 1) / GROUP;
  const step = max<u32>(1, groups / ESTIMATED_GROUPS);
  let bits: u64 = 0;
  let sampled: u64 = 0;
  for (let group: u32 = 0; group < groups; group += step) {
    const from = max<u32>(2, group * GROUP);
    if (from >= count) break;
    const size = min(GROUP, count - from);
    const order0 = spanBits<T>(values, from, size, 0);
    const order1 = spanBits<T>(values, from, size, 1);
    bits += size * min(order0, min(order1, spanBits<T>(values, from, size, 2)));
    sampled += size;
  }
  return sampled == 0 ? <u64>count << 6 : (bits * count) / sampled;
}

/** The order of differences that takes the fewest bits; the lower one on a tie. */
export function chooseOrder<T>(values: usize, count: u32): u32 {
  return isThorough && count >= MIN_ENTROPY_VALUES ? orderOfAll<T>(values, count) : orderOfSample<T>(values, count);
}

/** The order that packs a sample of groups best. */
function orderOfSample<T>(values: usize, count: u32): u32 {
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
    cost0 += size * spanBits<T>(values, from, size, 0);
    cost1 += size * spanBits<T>(values, from, size, 1);
    cost2 += size * spanBits<T>(values, from, size, 2);
  }
  if (cost0 <= cost1 && cost0 <= cost2) return 0;
  return cost1 <= cost2 ? 1 : 2;
}

/** The order that takes the fewest bits, packed or entropy-coded. */
function orderOfAll<T>(values: usize, count: u32): u32 {
  let best: u32 = 0;
  let leastCost: u64 = u64.MAX_VALUE;
  for (let order: u32 = 0; order <= 2; order++) {
    const size = count - order;
    const differences = differencesOf<T>(values, size, order);
    let packed: u64 = 0;
    for (let from: u32 = 0; from < size; from += GROUP) {
      const members = min(GROUP, size - from);
      packed += <u64>members * spanBits<T>(differences, from, members, 0);
    }
    const cost = min(packed, estimateEntropy<T>(differences, size, centreOf<T>(differences, size), packed));
    if (cost >= leastCost) continue;
    leastCost = cost;
    best = order;
  }
  return best;
}

/** Bits of the span of `size` > 0 differences from index `from` ≥ `order`. Sets `least` and `greatest`. */
export function spanBits<T>(values: usize, from: u32, size: u32, order: u32): u64 {
  const at = values + bytesOf<T>(from);
  if (order == 0) measure<T>(at, size, 0);
  else if (order == 1) measure<T>(at, size, 1);
  else measure<T>(at, size, 2);
  return 64 - clz<u64>(<u64>(greatest - least));
}

/** The differences of that order at `at`, as many as a vector holds; the values before are there. */
@inline
function differenceAt<T>(at: usize, order: u32): v128 {
  const here = v128.load(at);
  if (order == 0) return here;
  const before = v128.load(at - sizeof<T>());
  const step = v128.sub<T>(here, before);
  if (order == 1) return step;
  return v128.sub<T>(step, v128.sub<T>(before, v128.load(at - 2 * sizeof<T>())));
}

@inline
function oneDifferenceAt<T>(at: usize, order: u32): T {
  const here = load<T>(at);
  if (order == 0) return here;
  const before = load<T>(at - sizeof<T>());
  // @ts-ignore: T is an integer.
  if (order == 1) return here - before;
  // @ts-ignore: the same
  return here - before - (before - load<T>(at - 2 * sizeof<T>()));
}

@inline
function measure<T>(at: usize, size: u32, order: u32): void {
  const end = at + bytesOf<T>(size);
  const first = oneDifferenceAt<T>(at, order);
  let low = v128.splat<T>(first);
  let high = low;
  for (; at + 16 <= end; at += 16) {
    const value = differenceAt<T>(at, order);
    if (sizeof<T>() == 4) {
      low = i32x4.min_s(low, value);
      high = i32x4.max_s(high, value);
    } else {
      low = v128.bitselect(value, low, i64x2.gt_s(low, value));
      high = v128.bitselect(value, high, i64x2.gt_s(value, high));
    }
  }
  if (sizeof<T>() == 4) {
    low = i32x4.min_s(low, v128.shuffle<i64>(low, low, 1, 0));
    high = i32x4.max_s(high, v128.shuffle<i64>(high, high, 1, 0));
  }
  let least_ = <i64>min<T>(v128.extract_lane<T>(low, 0), v128.extract_lane<T>(low, 1));
  let greatest_ = <i64>max<T>(v128.extract_lane<T>(high, 0), v128.extract_lane<T>(high, 1));
  for (; at < end; at += sizeof<T>()) {
    const value = <i64>oneDifferenceAt<T>(at, order);
    least_ = min(least_, value);
    greatest_ = max(greatest_, value);
  }
  least = least_;
  greatest = greatest_;
}
