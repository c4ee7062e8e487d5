import { Scratch, scratch } from "./scratch";

/** Distances are below 2^29, so that differences of order 2 of them still fit into 32 bits. */
const MAX_DISTANCE: i64 = 1 << 29;

/**
 * The distances of `count` > 0 integers from the first, as i32; 0 when one of them is too far. Behind them stand zeros for another
 * vector. Valid until the next call.
 */
export function narrow(source: usize, count: u32): usize {
  const target = scratch(Scratch.Narrow, <usize>count << 2);
  const firsts = i64x2.splat(load<i64>(source));
  const bias = i64x2.splat(MAX_DISTANCE);
  const end = source + (<usize>count << 3);
  let all = i64x2.splat(0);
  let to = target;
  let at = source;
  for (; at + 32 <= end; at += 32, to += 16) {
    const low = i64x2.sub(v128.load(at), firsts);
    const high = i64x2.sub(v128.load(at, 16), firsts);
    all = v128.or(all, v128.or(i64x2.add(low, bias), i64x2.add(high, bias)));
    v128.store(to, v128.shuffle<i32>(low, high, 0, 2, 4, 6));
  }
  let any = <u64>(i64x2.extract_lane(all, 0) | i64x2.extract_lane(all, 1));
  for (; at < end; at += 8, to += 4) {
    const distance = load<i64>(at) - load<i64>(source);
    any |= <u64>(distance + MAX_DISTANCE);
    store<i32>(to, <i32>distance);
  }
  v128.store(to, i64x2.splat(0));
  return any < 2 * MAX_DISTANCE ? target : 0;
}
