const MS_US = 1_000;

/** A time in a request: ISO 8601 or epoch microseconds. @returns µs, or null when it is neither. */
export function parseTime(value: string | number): number | null {
  if (typeof value === "number") return Number.isSafeInteger(value) ? value : null;
  if (/^-?\d{1,16}$/.test(value)) return Number(value);
  const match = /^(\d{4}-\d\d-\d\d)(?:[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)?([Zz]|[+-]\d\d:?\d\d)?$/.exec(value);
  if (match === null) return null;
  const [, date, time = "00:00:00", fraction = "", zone = "Z"] = match;
  const offset = /^[zZ]$/.test(zone) ? "Z" : zone.replace(/^(.\d\d)(\d\d)$/, "$1:$2");
  const ms = Date.parse(`${date}T${time}${offset}`);
  if (Number.isNaN(ms)) return null;
  return ms * MS_US + Number(fraction.slice(0, 6).padEnd(6, "0"));
}
