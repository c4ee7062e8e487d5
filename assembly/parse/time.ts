import { eightDigits, markNonDigits } from "./number";

/** Event times to µs since the epoch. */

/** As `TimeUnit` in workers/messages.ts. */
export const enum Unit {
  Auto = 0,
  Iso = 1,
  Seconds = 2,
  Milliseconds = 3,
  Microseconds = 4,
  Nanoseconds = 5,
}

const US_PER_SECOND: i64 = 1_000_000;
const US_PER_DAY: i64 = 86_400_000_000;
/** 0001-01-01T00:00:00Z and the last µs of the year 9999. */
const MIN_TIME: i64 = -62_135_596_800_000_000;
const MAX_TIME: i64 = 253_402_300_799_999_999;
const MAX_FRACTION_DIGITS: u32 = 9;
/** Numbers below these are seconds, milliseconds and µs when the unit is to be told by magnitude; others are ns. */
const SECONDS_BELOW: u64 = 100_000_000_000;
const MILLISECONDS_BELOW: u64 = 100_000_000_000_000;
const MICROSECONDS_BELOW: u64 = 100_000_000_000_000_000;
/** What is given for a time that is to be read in another way. */
export const NOT_PLAIN_TIME: i64 = i64.MIN_VALUE;
/** YYYY-MM-DDTHH:MM:SSZ */
const MIN_PLAIN_TIME: usize = 20;
const ASCII_ZEROS: u64 = 0x3030303030303030;
/** 00:00:00, and its two colons as digits' bytes would be. */
const NOUGHT_O_CLOCK: u64 = 0x30303a30303a3030;
const COLONS: u64 = 0x0000ff0000ff0000;
/** What no two digits can be. */
const NO_NUMBER: u32 = 1000;

const POWERS = memory.data<u64>([
  1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
  10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000,
]);

/** The time read last. */
export let timeUs: i64 = 0;

/** The date read last, as its ten bytes, and the µs of its midnight: events come mostly on one day. At first 1970-01-01. */
let dateHead: u64 = 0x2d31302d30373931;
let dateTail: u16 = 0x3130;
let dateUs: i64 = 0;

@inline
export function powerOfTen(exponent: i32): u64 {
  return load<u64>(POWERS + (exponent << 3));
}

/** Sets `timeUs`; false when the time is outside the years 1 to 9999. */
@inline
function setTime(us: i64): bool {
  timeUs = us;
  return us >= MIN_TIME && us <= MAX_TIME;
}

/** mantissa · 10^exponent of a unit. Fractions of a µs are cut off towards the past. */
export function timeOfNumber(isNegative: bool, mantissa: u64, exponent: i32, unit: Unit): bool {
  if (mantissa == 0) return setTime(0);
  if (unit == Unit.Auto) unit = unitByMagnitude(mantissa, exponent);
  exponent += unit == Unit.Seconds ? 6 : unit == Unit.Milliseconds ? 3 : unit == Unit.Microseconds ? 0 : -3;
  if (exponent > 18) return false;
  if (exponent >= 0) {
    const power = powerOfTen(exponent);
    if (mantissa > <u64>i64.MAX_VALUE / power) return false;
    const us = <i64>(mantissa * power);
    return setTime(isNegative ? -us : us);
  }
  if (exponent < -18) return setTime(isNegative ? -1 : 0);
  const power = powerOfTen(-exponent);
  const us = <i64>(mantissa / power);
  if (!isNegative) return setTime(us);
  return setTime(mantissa % power == 0 ? -us : -us - 1);
}

/** The µs of a whole number of at most 16 digits, without a division, or `NOT_PLAIN_TIME`. */
@inline
export function usOfWhole(value: u64, unit: Unit): i64 {
  if (unit == Unit.Auto) {
    // None of these can leave the years that times are limited to.
    if (value >= MILLISECONDS_BELOW) return value;
    return value < SECONDS_BELOW ? value * 1_000_000 : value * 1_000;
  }
  if (unit == Unit.Milliseconds && value <= <u64>MAX_TIME / 1_000) return value * 1_000;
  if (unit == Unit.Microseconds) return value;
  return unit == Unit.Seconds && value <= <u64>MAX_TIME / 1_000_000 ? value * 1_000_000 : NOT_PLAIN_TIME;
}

/** The same for a whole number of at most 15 digits, without a division. */
@inline
export function timeOfPlain(value: u64, unit: Unit): bool {
  if (unit == Unit.Auto) {
    // None of these can leave the years that times are limited to.
    timeUs = value * (value < SECONDS_BELOW ? 1_000_000 : value < MILLISECONDS_BELOW ? 1_000 : 1);
    return true;
  }
  if (unit == Unit.Milliseconds && value <= <u64>MAX_TIME / 1_000) {
    timeUs = value * 1_000;
    return true;
  }
  return timeOfNumber(false, value, 0, unit);
}

function unitByMagnitude(mantissa: u64, exponent: i32): Unit {
  let whole = mantissa;
  if (exponent < 0) whole = exponent < -18 ? 0 : mantissa / powerOfTen(-exponent);
  else if (exponent > 0) whole = exponent > 18 || mantissa > MICROSECONDS_BELOW / powerOfTen(exponent) ? u64.MAX_VALUE : mantissa * powerOfTen(exponent);
  if (whole < SECONDS_BELOW) return Unit.Seconds;
  if (whole < MILLISECONDS_BELOW) return Unit.Milliseconds;
  return whole < MICROSECONDS_BELOW ? Unit.Microseconds : Unit.Nanoseconds;
}

@inline
function twoDigits(at: usize): u32 {
  const high = <u32>load<u8>(at) - 48;
  const low = <u32>load<u8>(at, 1) - 48;
  return high > 9 || low > 9 ? NO_NUMBER : high * 10 + low;
}

/**
 * An ISO 8601 date, alone or with a time after `T` or a space: `HH:MM`, `HH:MM:SS` or `HH:MM:SS.fraction` (1 to 9
 * digits, of which 6 count), then `Z`, `±HH:MM`, `±HHMM`, `±HH` or nothing, which means UTC. Second 60 is the next minute's 0, 24:00:00 the next
 * day's midnight. Sets `timeUs`. Reads up to 10 bytes past `end`.
 */
export function readIsoTime(at: usize, end: usize): bool {
  if (end - at < 10 || !readDate(at)) return false;
  at += 10;
  if (at == end) return setTime(dateUs);
  const separator = load<u8>(at);
  if (separator != 0x54 && separator != 0x74 && separator != 0x20) return false;
  if (end - at < 6) return false;
  const hour = twoDigits(at + 1);
  const minute = twoDigits(at + 4);
  if (hour > 24 || minute > 59 || load<u8>(at, 3) != 0x3a) return false;
  at += 6;
  let second: u32 = 0;
  let fraction: i64 = 0;
  if (at < end && load<u8>(at) == 0x3a) {
    if (end - at < 3) return false;
    second = twoDigits(at + 1);
    if (second > 60) return false;
    at += 3;
    const mark = load<u8>(at);
    if (at < end && (mark == 0x2e || mark == 0x2c)) {
      const digits = ++at;
      let scale: i64 = 100_000;
      while (at < end) {
        const digit = <u32>load<u8>(at) - 48;
        if (digit > 9) break;
        fraction += <i64>digit * scale;
        scale /= 10;
        at++;
      }
      if (at == digits || at - digits > MAX_FRACTION_DIGITS) return false;
    }
  }
  if (hour == 24 && (minute | second | <u32>fraction) != 0) return false;
  const us = dateUs + (<i64>hour * 3600 + <i64>minute * 60 + <i64>second) * US_PER_SECOND + fraction;
  return readOffset(at, end, us);
}

/**
 * The same for a text of `length` bytes in the commonest of these forms, on the date read last: date, `T`, `HH:MM:SS`, a point and 1 to 6
 * digits or neither, `Z`. `NOT_PLAIN_TIME` for any other, and for what may have to be refused. Reads 8 bytes before `at` and 24 from it.
 */
@inline
export function usOfPlainText(at: usize, length: usize): i64 {
  if (length < MIN_PLAIN_TIME || load<u64>(at) != dateHead || load<u16>(at, 8) != dateTail) return NOT_PLAIN_TIME;
  if (load<u8>(at, 10) != 0x54 || load<u8>(at + length - 1) != 0x5a) return NOT_PLAIN_TIME;
  const clock = load<u64>(at, 11) ^ NOUGHT_O_CLOCK;
  if ((markNonDigits(clock) | (clock & COLONS)) != 0) return NOT_PLAIN_TIME;
  // Two digits in each of the bytes 0, 3 and 6.
  const pairs = clock * 10 + (clock >> 8);
  const hour = pairs & 0xff;
  const minute = (pairs >> 24) & 0xff;
  const second = (pairs >> 48) & 0xff;
  if (hour > 23) return NOT_PLAIN_TIME;
  if (minute > 59) return NOT_PLAIN_TIME;
  if (second > 59) return NOT_PLAIN_TIME;
  const us = dateUs + <i64>(hour * 3600 + minute * 60 + second) * US_PER_SECOND;
  // Of the year 0, only an offset makes a time.
  if (us < MIN_TIME) return NOT_PLAIN_TIME;
  if (length == MIN_PLAIN_TIME) return us;
  const decimals = length - MIN_PLAIN_TIME - 1;
  if (decimals - 1 > 5 || load<u8>(at, 19) != 0x2e) return NOT_PLAIN_TIME;
  const digits = (load<u64>(at + length - 9) ^ ASCII_ZEROS) & (<u64>-1 << (64 - (<u64>decimals << 3)));
  if (markNonDigits(digits) != 0) return NOT_PLAIN_TIME;
  return us + eightDigits(digits) * powerOfTen(6 - <i32>decimals);
}

function readOffset(at: usize, end: usize, us: i64): bool {
  if (at == end) return setTime(us);
  const sign = load<u8>(at);
  if (sign == 0x5a || sign == 0x7a) return at + 1 == end && setTime(us);
  if (sign != 0x2b && sign != 0x2d) return false;
  const length = end - at;
  if (length != 3 && length != 5 && length != 6) return false;
  if (length == 6 && load<u8>(at, 3) != 0x3a) return false;
  const hours = twoDigits(at + 1);
  const minutes = length == 3 ? 0 : twoDigits(at + length - 2);
  if (hours > 23 || minutes > 59) return false;
  const offset = <i64>(hours * 60 + minutes) * 60 * US_PER_SECOND;
  return setTime(sign == 0x2b ? us - offset : us + offset);
}

/** Reads ten bytes YYYY-MM-DD into `dateUs`. */
@inline
function readDate(at: usize): bool {
  if (load<u64>(at) == dateHead && load<u16>(at, 8) == dateTail) return true;
  return readNewDate(at);
}

function readNewDate(at: usize): bool {
  const century = twoDigits(at);
  const year = twoDigits(at + 2);
  const month = twoDigits(at + 5);
  const day = twoDigits(at + 8);
  if (century > 99 || year > 99 || load<u8>(at, 4) != 0x2d || load<u8>(at, 7) != 0x2d) return false;
  const fullYear = century * 100 + year;
  if (month < 1 || month > 12 || day < 1 || day > daysOf(fullYear, month)) return false;
  dateHead = load<u64>(at);
  dateTail = load<u16>(at, 8);
  dateUs = <i64>daysSinceEpoch(<i32>fullYear, <i32>month, <i32>day) * US_PER_DAY;
  return true;
}

function daysOf(year: u32, month: u32): u32 {
  if (month != 2) return 30 + ((month + (month >> 3)) & 1);
  return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28;
}

/** Of the proleptic Gregorian calendar: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms" (2013). */
function daysSinceEpoch(year: i32, month: i32, day: i32): i32 {
  if (month <= 2) year--;
  const era = (year >= 0 ? year : year - 399) / 400;
  const yearOfEra = year - era * 400;
  const dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  const dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear;
  return era * 146097 + dayOfEra - 719468;
}
