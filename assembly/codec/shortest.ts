/**
 * The shortest digits that read back as a double, by exact big-integer arithmetic: Burger and Dybvig, "Printing
 * Floating-Point Numbers Quickly and Accurately" (1996), §3, free format.
 */

/** 1,280 bits: the greatest number that occurs is 2^1074 · 10^17. */
const LIMBS: usize = 40;
const BYTES: usize = LIMBS << 2;
const NUMERATOR = memory.data(160, 8);
const DENOMINATOR = memory.data(160, 8);
/** Half the distance to the next double above and below, over the denominator. */
const ABOVE = memory.data(160, 8);
const BELOW = memory.data(160, 8);
const SUM = memory.data(160, 8);
const LOG10_OF_2: f64 = 0.30102999566398114;
const MIN_EXPONENT: i32 = -1074;

/**
 * Writes the digits of a positive, finite double. Gives their count in the high half and in the low half the
 * place p of the decimal point: the value is 0.d₁d₂… · 10^p.
 */
export function writeShortest(value: f64, target: usize): u64 {
  const bits = reinterpret<u64>(value);
  const biased = <i32>(bits >> 52) & 0x7ff;
  const fraction = bits & 0xfffffffffffff;
  const mantissa = biased == 0 ? fraction : fraction | 0x10000000000000;
  const exponent = biased == 0 ? MIN_EXPONENT : biased - 1075;
  const isEven = (mantissa & 1) == 0;
  // The double below is nearer when the mantissa is a power of two.
  const isUneven: i32 = fraction == 0 && biased > 1 ? 1 : 0;
  set(NUMERATOR, mantissa);
  set(DENOMINATOR, 1);
  set(ABOVE, 1);
  set(BELOW, 1);
  shift(NUMERATOR, max(exponent, 0) + 1 + isUneven);
  shift(DENOMINATOR, max(-exponent, 0) + 1 + isUneven);
  shift(ABOVE, max(exponent, 0) + isUneven);
  shift(BELOW, max(exponent, 0));

  const bitLength = 64 - <i32>clz<u64>(mantissa);
  let place = <i32>ceil<f64>(<f64>(exponent + bitLength - 1) * LOG10_OF_2 - 1e-10);
  for (let i = 0; i < place; i++) multiplyByTen(DENOMINATOR);
  for (let i = place; i < 0; i++) multiplyAll();
  // The estimate may be one too small.
  if (isAtLeastOne(isEven)) place++;
  else multiplyAll();

  let count: u32 = 0;
  while (true) {
    let digit: u8 = 48;
    while (compare(NUMERATOR, DENOMINATOR) >= 0) {
      subtract(NUMERATOR, DENOMINATOR);
      digit++;
    }
    const order = compare(NUMERATOR, BELOW);
    const isLowEnough = isEven ? order <= 0 : order < 0;
    const isHighEnough = isAtLeastOne(isEven);
    if (isLowEnough || isHighEnough) {
      if (!isLowEnough || (isHighEnough && isPastHalf(digit))) digit++;
      store<u8>(target + count++, digit);
      return (<u64>count << 32) | <u32>place;
    }
    store<u8>(target + count++, digit);
    multiplyAll();
  }
}

/** Whether numerator + above reaches the denominator (or passes it, when the mantissa is odd). */
function isAtLeastOne(isEven: bool): bool {
  memory.copy(SUM, NUMERATOR, BYTES);
  add(SUM, ABOVE);
  const order = compare(SUM, DENOMINATOR);
  return isEven ? order >= 0 : order > 0;
}

/** Whether the rest rounds up; from the very middle it rounds to the even digit. */
function isPastHalf(digit: u8): bool {
  memory.copy(SUM, NUMERATOR, BYTES);
  add(SUM, NUMERATOR);
  const order = compare(SUM, DENOMINATOR);
  return order > 0 || (order == 0 && (digit & 1) == 1);
}

function multiplyAll(): void {
  multiplyByTen(NUMERATOR);
  multiplyByTen(ABOVE);
  multiplyByTen(BELOW);
}

function set(number: usize, value: u64): void {
  memory.fill(number, 0, BYTES);
  store<u64>(number, value);
}

function shift(number: usize, bits: i32): void {
  const words = bits >> 5;
  const rest: u64 = bits & 31;
  for (let i = <i32>LIMBS - 1; i >= 0; i--) {
    const high = i >= words ? <u64>limb(number, i - words) : 0;
    const low = i > words ? <u64>limb(number, i - words - 1) : 0;
    store<u32>(number + (<usize>i << 2), <u32>(((high << 32) | low) >> (32 - rest)));
  }
}

@inline
function limb(number: usize, index: i32): u32 {
  return load<u32>(number + (<usize>index << 2));
}

function multiplyByTen(number: usize): void {
  let carry: u64 = 0;
  for (let at = number; at < number + BYTES; at += 4) {
    carry += <u64>load<u32>(at) * 10;
    store<u32>(at, <u32>carry);
    carry >>= 32;
  }
}

function add(to: usize, other: usize): void {
  let carry: u64 = 0;
  for (let at: usize = 0; at < BYTES; at += 4) {
    carry += <u64>load<u32>(to + at) + load<u32>(other + at);
    store<u32>(to + at, <u32>carry);
    carry >>= 32;
  }
}

function subtract(from: usize, other: usize): void {
  let borrow: i64 = 0;
  for (let at: usize = 0; at < BYTES; at += 4) {
    borrow += <i64>load<u32>(from + at) - <i64>load<u32>(other + at);
    store<u32>(from + at, <u32>borrow);
    borrow >>= 32;
  }
}

function compare(a: usize, b: usize): i32 {
  for (let i = <i32>LIMBS - 1; i >= 0; i--) {
    const left = limb(a, i);
    const right = limb(b, i);
    if (left != right) return left < right ? -1 : 1;
  }
  return 0;
}
