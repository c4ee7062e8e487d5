const SECOND_US = 1_000_000;

const DIGITS: readonly string[] = Array.from({ length: 1000 }, (_, n) => String(n).padStart(3, "0"));

/** Neighbouring events mostly share their second, so its text is kept. */
let lastSecond = Number.NaN;
let lastText = "";

/**
 * ISO 8601 in UTC with milliseconds, or microseconds where present: `2026-01-31T12:00:00.250Z`. Exact for every
 * bigint and every safe integer. Years outside 0000–9999 are written as ISO 8601 expands them (`+010000-…`), and
 * times that no `Date` can hold as epoch microseconds: whatever was stored, this does not throw.
 */
export function formatTime(us: number | bigint): string {
  const [second, rest] = splitSeconds(us);
  if (second !== lastSecond) {
    const date = new Date(second * 1000);
    if (Number.isNaN(date.getTime())) return String(us);
    lastText = date.toISOString().slice(0, -4);
    lastSecond = second;
  }
  const millis = Math.floor(rest / 1000);
  const micros = rest - millis * 1000;
  return micros === 0 ? `${lastText}${DIGITS[millis]}Z` : `${lastText}${DIGITS[millis]}${DIGITS[micros]}Z`;
}

/** Whole seconds, rounded down, and the microseconds of the second begun: 0 to 999,999. */
function splitSeconds(us: number | bigint): [second: number, rest: number] {
  if (typeof us === "number") {
    if (!Number.isSafeInteger(us))
      return Number.isFinite(us) ? splitSeconds(BigInt(Math.trunc(us))) : [Number.NaN, 0];
    const quotient = Math.floor(us / SECOND_US);
    const rest = us - quotient * SECOND_US;
    // The division rounds, so its floor can be one too high.
    return rest < 0 ? [quotient - 1, rest + SECOND_US] : [quotient, rest];
  }
  const remainder = Number(us % 1_000_000n);
  const quotient = Number(us / 1_000_000n);
  return remainder < 0 ? [quotient - 1, remainder + SECOND_US] : [quotient, remainder];
}
