import { decimalExponent, isNegative, mantissa } from "../parse/number";
import { readIsoTime, timeOfNumber, timeUs, Unit } from "../parse/time";
import { readNumber, textAt, textLength } from "./token";

/** The event time read last, µs since the epoch. */
export let time: i64 = 0;

export function setTime(value: i64): void {
  time = value;
}

/** Takes the number read last as a time. */
export function timeOfLastNumber(unit: Unit): bool {
  if (!timeOfNumber(isNegative, mantissa, decimalExponent, unit)) return false;
  time = timeUs;
  return true;
}

/** Takes the string read last as a time: ISO 8601, or a number in digits. */
export function timeOfText(unit: Unit): bool {
  const at = textAt;
  const end = at + textLength;
  if (readIsoTime(at, end)) {
    time = timeUs;
    return true;
  }
  return textLength > 0 && readNumber(at) == end && timeOfLastNumber(unit);
}
