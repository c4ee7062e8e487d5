/**
 * Event times as `workers/time-format.ts` writes them: `2026-01-31T12:00:00.250Z`, with six digits of the second where
 * microseconds are present. For the years 0000 to 9999. The date by "chrono-Compatible Low-Level Date Algorithms"
 * (Hinnant, 2013), `civil_from_days`.
 */
const SECOND_US: i64 = 1000000;
const DAY_SECONDS: i64 = 86400;
/** "2026-01-31T12:00:00" of `lastSecond`: neighbouring events mostly share it. */
const TEXT = memory.data(24, 8);
let lastSecond: i64 = i64.MIN_VALUE;

/** The bytes that `writeTime` writes at most. */
export const TIME_BYTES: u32 = 29;

/** Writes the time with its quotes. Gives the end. */
export function writeTime(timeUs: i64, target: usize): usize {
  let second = timeUs / SECOND_US;
  let rest = timeUs - second * SECOND_US;
  if (rest < 0) {
    second--;
    rest += SECOND_US;
  }
  if (second != lastSecond) writeSecond(second);
  store<u8>(target, 0x22);
  memory.copy(target + 1, TEXT, 19);
  store<u8>(target, 0x2e, 20); // .
  const millis = <u32>rest / 1000;
  const micros = <u32>rest - millis * 1000;
  writeThree(millis, target + 21);
  let end = target + 24;
  if (micros != 0) {
    writeThree(micros, end);
    end += 3;
  }
  store<u16>(end, 0x225a); // Z"
  return end + 2;
}

@inline
function writeThree(value: u32, target: usize): void {
  store<u8>(target, <u8>(48 + value / 100));
  writeTwo(value % 100, target + 1);
}

@inline
function writeTwo(value: u32, target: usize): void {
  store<u8>(target, <u8>(48 + value / 10));
  store<u8>(target + 1, <u8>(48 + (value % 10)));
}

function writeSecond(second: i64): void {
  let days = second / DAY_SECONDS;
  let inDay = <i32>(second - days * DAY_SECONDS);
  if (inDay < 0) {
    days--;
    inDay += <i32>DAY_SECONDS;
  }
  const shifted = days + 719468;
  const era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
  const dayOfEra = <u32>(shifted - era * 146097);
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const part = (5 * dayOfYear + 2) / 153;
  const day = dayOfYear - (153 * part + 2) / 5 + 1;
  const month = part < 10 ? part + 3 : part - 9;
  const year = <u32>(<i64>yearOfEra + era * 400 + (month <= 2 ? 1 : 0));
  writeTwo(year / 100, TEXT);
  writeTwo(year % 100, TEXT + 2);
  store<u8>(TEXT, 0x2d, 4); // -
  writeTwo(month, TEXT + 5);
  store<u8>(TEXT, 0x2d, 7);
  writeTwo(day, TEXT + 8);
  store<u8>(TEXT, 0x54, 10); // T
  writeTwo(inDay / 3600, TEXT + 11);
  store<u8>(TEXT, 0x3a, 13); // :
  writeTwo((inDay / 60) % 60, TEXT + 14);
  store<u8>(TEXT, 0x3a, 16);
  writeTwo(inDay % 60, TEXT + 17);
  lastSecond = second;
}
