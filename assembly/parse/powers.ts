/**
 * The most significant 128 bits of 5^q for q from -342 to 308, as two u64 each (high, low): the table of Lemire,
 * "Number Parsing at a Gigabyte per Second" (2021). Made at first use by exact big-integer arithmetic, in about a tenth
 * of a millisecond, instead of standing here as 1,302 constants.
 *
 * Positive powers are truncated. Negative ones are 2^k / 5^-q, truncated, plus 1 in the last place where 5^-q fits in
 * 64 bits (q >= -27), as the algorithm's proof asks.
 */
export const MIN_POWER: i32 = -342;
export const MAX_POWER: i32 = 308;
const LAST_ROUNDED_UP: i32 = -27;

const TABLE = memory.data((308 + 342 + 1) * 16, 8);
/** 2^1056 holds 2^1024 / 5^342 with more than 128 bits, and 5^308. */
const LIMBS: usize = 34;
const NUMBER = memory.data(34 * 4, 8);
let isMade: bool = false;

/** Where the two words of 5^q stand. */
@inline
export function powerOfFive(q: i32): usize {
  if (!isMade) makeTable();
  return TABLE + ((q - MIN_POWER) << 4);
}

function makeTable(): void {
  isMade = true;
  memory.fill(NUMBER, 0, LIMBS << 2);
  store<u32>(NUMBER, 1);
  for (let q = 0; q <= MAX_POWER; q++) {
    storeTop(q);
    multiplyByFive();
  }
  memory.fill(NUMBER, 0, LIMBS << 2);
  store<u32>(NUMBER + (32 << 2), 1);
  for (let q = -1; q >= MIN_POWER; q--) {
    // floor(floor(x / 5^n) / 5) is floor(x / 5^(n+1)), so every step is exact.
    divideByFive();
    storeTop(q);
    if (q >= LAST_ROUNDED_UP) addOne(TABLE + ((q - MIN_POWER) << 4));
  }
}

function multiplyByFive(): void {
  let carry: u64 = 0;
  for (let at: usize = 0; at < LIMBS << 2; at += 4) {
    carry += <u64>load<u32>(NUMBER + at) * 5;
    store<u32>(NUMBER + at, <u32>carry);
    carry >>= 32;
  }
}

function divideByFive(): void {
  let rest: u64 = 0;
  for (let at = <isize>(LIMBS << 2) - 4; at >= 0; at -= 4) {
    rest = (rest << 32) | load<u32>(NUMBER + at);
    store<u32>(NUMBER + at, <u32>(rest / 5));
    rest %= 5;
  }
}

/** Stores the highest 128 bits of the number, the first of them set. */
function storeTop(q: i32): void {
  let top = <isize>LIMBS - 1;
  while (load<u32>(NUMBER + (top << 2)) == 0) top--;
  const shift = <u64>clz<u32>(load<u32>(NUMBER + (top << 2)));
  const a = limb(top);
  const b = limb(top - 1);
  const c = limb(top - 2);
  const d = limb(top - 3);
  const e = limb(top - 4);
  const high = (a << 32) | b;
  const low = (c << 32) | d;
  const target = TABLE + ((q - MIN_POWER) << 4);
  if (shift == 0) {
    store<u64>(target, high);
    store<u64>(target, low, 8);
    return;
  }
  store<u64>(target, (high << shift) | (low >> (64 - shift)));
  store<u64>(target, (low << shift) | (e >> (32 - shift)), 8);
}

@inline
function limb(index: isize): u64 {
  return index < 0 ? 0 : <u64>load<u32>(NUMBER + (index << 2));
}

function addOne(target: usize): void {
  const low = load<u64>(target, 8) + 1;
  store<u64>(target, low, 8);
  if (low == 0) store<u64>(target, load<u64>(target) + 1);
}
