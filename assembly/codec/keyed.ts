import { ByteBuffer } from "../memory/bytes";
import { isThorough } from "./effort";
import { decodeIntegers, encodeIntegers } from "./integers";
import { Failure, failure } from "./reader";
import { Scratch, scratch } from "./scratch";
import { estimateBits } from "./steps";

/**
 * Numbers by key: each as its difference from the one before it of the same key. In a block of a fleet's events the
 * event before is of another device, but each device's own readings are close to one another.
 */

/** u32 a value: the key of each value in hand, below `keyCount`; 0 when the block has no keys. */
let keys: usize = 0;
let keyCount: u32 = 0;
/** With so many values a key, in quarters, it can pay. */
const MIN_VALUES_PER_KEY: u32 = 8;
const MIN_VALUES_PER_KEY_THOROUGH: u32 = 5;
/** Keyed numbers are slower, so they must save an eighth. */
const KEYED_GAIN: u64 = 7;

export function setKeys(address: usize, count: u32): void {
  keys = address;
  keyCount = count;
}

@inline
export function hasKeys(): bool {
  return keys != 0;
}

/** Appends `count` integers by key when that is clearly smaller; false, and nothing appended, otherwise. */
export function encodeKeyed(values: usize, count: u32, out: ByteBuffer): bool {
  const perKey = isThorough ? MIN_VALUES_PER_KEY_THOROUGH : MIN_VALUES_PER_KEY;
  if (keys == 0 || <u64>count << 2 < <u64>keyCount * perKey) return false;
  const firsts = scratch(Scratch.Firsts, <usize>keyCount << 3);
  const steps = scratch(Scratch.Steps, <usize>count << 3);
  const last = clearLast();
  let firstCount: u32 = 0;
  let stepCount: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const value = load<i64>(values + (<usize>i << 3));
    const key = load<u32>(keys + (<usize>i << 2));
    const at = last + (<usize>key << 3);
    // Without branches: the first of a key comes at any time.
    const isFirst = <u32>!isSeen(key);
    store<i64>(steps + (<usize>stepCount << 3), value - load<i64>(at));
    store<i64>(firsts + (<usize>firstCount << 3), value);
    stepCount += 1 - isFirst;
    firstCount += isFirst;
    see(key);
    store<i64>(at, value);
  }
  const cost = estimateBits(firsts, firstCount) + estimateBits(steps, stepCount);
  if (cost << 3 >= estimateBits(values, count) * KEYED_GAIN) return false;
  encodeIntegers(firsts, firstCount, out);
  encodeIntegers(steps, stepCount, out);
  return true;
}

/** Reads `count` integers to `target`. */
export function decodeKeyed(count: u32, target: usize): void {
  const last = clearLast();
  let firstCount: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const key = load<u32>(keys + (<usize>i << 2));
    if (isSeen(key)) continue;
    see(key);
    firstCount++;
  }
  const firsts = scratch(Scratch.Firsts, <usize>firstCount << 3);
  const steps = scratch(Scratch.Steps, <usize>count << 3);
  decodeIntegers(firstCount, firsts);
  decodeIntegers(count - firstCount, steps);
  if (failure != Failure.None) return;
  clearLast();
  let first = firsts;
  let step = steps;
  for (let i: u32 = 0; i < count; i++) {
    const key = load<u32>(keys + (<usize>i << 2));
    const at = last + (<usize>key << 3);
    let value: i64;
    if (isSeen(key)) {
      value = load<i64>(at) + load<i64>(step);
      step += 8;
    } else {
      value = load<i64>(first);
      first += 8;
      see(key);
    }
    store<i64>(at, value);
    store<i64>(target + (<usize>i << 3), value);
  }
}

let seen: usize = 0;

/** Room for each key's last value; marks all keys as not yet seen. */
function clearLast(): usize {
  seen = scratch(Scratch.Seen, keyCount);
  memory.fill(seen, 0, keyCount);
  return scratch(Scratch.Last, <usize>keyCount << 3);
}

@inline
function isSeen(key: u32): bool {
  return load<u8>(seen + key) != 0;
}

@inline
function see(key: u32): void {
  store<u8>(seen + key, 1);
}
