const MS_US = 1_000;
const EPOCH_US = /^-?\d{1,16}$/;
const ISO = /^(\d{4}-\d\d-(\d\d))(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)?([Zz]|[+ -]\d\d:?\d\d)?$/;

/**
 * A time in a request: ISO 8601 (UTC when it names no zone) or epoch microseconds.
 * A `+` of a zone that was not escaped in a URL arrives as a space, and is taken for what it was meant.
 * @returns µs, or null when it is neither.
 */
export function parseTime(value: string | number): number | null {
  if (typeof value === "number") return Number.isSafeInteger(value) ? value : null;
  if (EPOCH_US.test(value)) {
    const us = Number(value);
    return Number.isSafeInteger(us) ? us : null;
  }
  const match = ISO.exec(value);
  if (match === null) return null;
  const [, date = "", day, time = "00:00:00", fraction = "", zone = "Z"] = match;
  // Date.parse takes February 30 for March 2.
  if (new Date(`${date}T00:00:00Z`).getUTCDate() !== Number(day)) return null;
  const offset = zone
    .replace(" ", "+")
    .replace(/^(.\d\d)(\d\d)$/, "$1:$2")
    .toUpperCase();
  const ms = Date.parse(`${date}T${time}${offset}`);
  if (Number.isNaN(ms)) return null;
  return ms * MS_US + Number(fraction.slice(0, 6).padEnd(6, "0"));
}
