/**
 * The exact comparison that decides how a number with more than 19 digits rounds: both sides as big integers. No double
 * needs more than 768 digits to be told from the midpoint beside it; of further digits only counts whether one is
 * not zero.
 */
const MAX_DIGITS: u32 = 768;
/** 769 digits · 2^1075, or 5^1112 · 2^54, take fewer than 6,144 bits. */
const LIMBS: u32 = 192;
const LEFT = memory.data(192 * 4, 8);
const RIGHT = memory.data(192 * 4, 8);
const FIVE_TO_13: u32 = 1220703125;
const MANTISSA_BITS: u32 = 52;
const MIN_EXPONENT: i32 = -1074;

/**
 * Compares the decimal number d₁d₂…dₙ · 10^exponent (`exponent` belongs to the last digit) with the point half-way
 * between the double of these bits and the next greater one. Negative: the number is less.
 */
export function compareWithMidpoint(bits: u64, digits: usize, digitsEnd: usize, exponent: i32): i32 {
  exponent += readDigits(digits, digitsEnd);
  const biased = <i32>(bits >> MANTISSA_BITS);
  const fraction = bits & (((<u64>1) << MANTISSA_BITS) - 1);
  const mantissa = biased == 0 ? fraction : fraction | ((<u64>1) << MANTISSA_BITS);
  const binaryExponent = (biased == 0 ? MIN_EXPONENT : biased - 1075) - 1;
  memory.fill(RIGHT, 0, LIMBS << 2);
  store<u64>(RIGHT, (mantissa << 1) | 1);
  // left · 10^exponent against right · 2^binaryExponent; negative exponents change sides.
  if (exponent >= 0) multiplyByPowerOfFive(LEFT, exponent);
  else multiplyByPowerOfFive(RIGHT, -exponent);
  const twos = exponent - binaryExponent;
  if (twos >= 0) shiftLeft(LEFT, twos);
  else shiftLeft(RIGHT, -twos);
  return compare();
}

/** Reads the digits into LEFT; gives by how many digits it stopped short. */
function readDigits(at: usize, end: usize): i32 {
  memory.fill(LEFT, 0, LIMBS << 2);
  let count: u32 = 0;
  let skipped: i32 = 0;
  let isRestZero = true;
  for (; at < end; at++) {
    const digit = <u32>load<u8>(at) - 48;
    if (digit > 9) continue;
    if (count < MAX_DIGITS) {
      multiplyAdd(LEFT, 10, digit);
      count++;
      continue;
    }
    skipped++;
    if (digit != 0) isRestZero = false;
  }
  if (!isRestZero) {
    multiplyAdd(LEFT, 10, 1);
    skipped--;
  }
  return skipped;
}

function multiplyAdd(number: usize, factor: u32, addend: u32): void {
  let carry: u64 = addend;
  for (let i: usize = 0; i < LIMBS << 2; i += 4) {
    carry += <u64>load<u32>(number + i) * factor;
    store<u32>(number + i, <u32>carry);
    carry >>= 32;
  }
}

function multiplyByPowerOfFive(number: usize, power: i32): void {
  while (power >= 13) {
    multiplyAdd(number, FIVE_TO_13, 0);
    power -= 13;
  }
  let rest: u32 = 1;
  for (let i = 0; i < power; i++) rest *= 5;
  multiplyAdd(number, rest, 0);
}

function shiftLeft(number: usize, bits: i32): void {
  const words = bits >> 5;
  const rest: u64 = bits & 31;
  for (let i = <i32>LIMBS - 1; i >= 0; i--) {
    const high = i >= words ? <u64>load<u32>(number + ((i - words) << 2)) : 0;
    const low = i > words ? <u64>load<u32>(number + ((i - words - 1) << 2)) : 0;
    store<u32>(number + (i << 2), <u32>(((high << 32) | low) >> (32 - rest)));
  }
}

function compare(): i32 {
  for (let i = <i32>LIMBS - 1; i >= 0; i--) {
    const left = load<u32>(LEFT + (i << 2));
    const right = load<u32>(RIGHT + (i << 2));
    if (left != right) return left < right ? -1 : 1;
  }
  return 0;
}
