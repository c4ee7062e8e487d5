import { ColumnType } from "../batch/batch";
import { Op } from "./opcode";
import { Vector } from "./vector";

const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;
const MINUTE_US: i64 = 60_000_000;
const SECOND_US: i64 = 1_000_000;
const TWO_TO_63: f64 = 9223372036854775808.0;
/** Days from 0000-03-01 to 1970-01-01, and of 400 years. */
const EPOCH_DAYS: i64 = 719_468;
const ERA_DAYS: i64 = 146_097;

/** A part, in UTC, of a time in µs since the epoch. Times are whole: what a float has behind the point is cut off, downwards. */
export function timePart(op: Op, a: Vector, out: Vector, rows: u32): void {
  if (!a.isNumber()) return out.clear();
  out.own(ColumnType.Int);
  out.validAs(a);
  const isFloat = a.type == ColumnType.Float;
  for (let row: u32 = 0; row < rows; row++) {
    const at = <usize>row << 3;
    let timeUs: i64;
    if (isFloat) {
      const value = floor(load<f64>(a.cells + at));
      if (!(value >= -TWO_TO_63 && value < TWO_TO_63)) {
        out.setNull(row);
        store<i64>(out.cells + at, 0);
        continue;
      }
      timeUs = <i64>value;
    } else {
      timeUs = load<i64>(a.cells + at);
    }
    store<i64>(out.cells + at, partOf(op, timeUs));
  }
}

function partOf(op: Op, timeUs: i64): i64 {
  let withinDay = timeUs % DAY_US;
  let day = timeUs / DAY_US;
  if (withinDay < 0) {
    withinDay += DAY_US;
    day--;
  }
  switch (op) {
    case Op.Hour:
      return withinDay / HOUR_US;
    case Op.Minute:
      return (withinDay / MINUTE_US) % 60;
    case Op.Second:
      return (withinDay / SECOND_US) % 60;
    case Op.Weekday: {
      // 1970-01-01 was a Thursday.
      const rest = (day + 3) % 7;
      return (rest < 0 ? rest + 7 : rest) + 1;
    }
    default:
      return dateOf(op, day);
  }
}

/** Year, month or day of the Gregorian calendar: `civil_from_days` of Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
function dateOf(op: Op, daysFromEpoch: i64): i64 {
  const days = daysFromEpoch + EPOCH_DAYS;
  const era = (days >= 0 ? days : days - (ERA_DAYS - 1)) / ERA_DAYS;
  const dayOfEra = days - era * ERA_DAYS;
  const yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146096) / 365;
  const dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100);
  const shifted = (5 * dayOfYear + 2) / 153;
  if (op == Op.Day) return dayOfYear - (153 * shifted + 2) / 5 + 1;
  const month = shifted < 10 ? shifted + 3 : shifted - 9;
  if (op == Op.Month) return month;
  return yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
}
