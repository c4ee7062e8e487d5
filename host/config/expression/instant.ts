const INSTANT = /^(\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,6})\d*)?(Z|[+-]\d\d:?\d\d)$/;

/** A time of ISO 8601 with its zone as µs since the epoch, or null. Digits below a µs are cut off. */
export function parseInstantUs(text: string): bigint | null {
  const match = INSTANT.exec(text);
  if (match === null) return null;
  const [, whole = "", fraction = "", zone = ""] = match;
  const ms = Date.parse(whole + zone.replace(/^([+-]\d\d)(\d\d)$/, "$1:$2"));
  return Number.isNaN(ms) ? null : BigInt(ms) * 1_000n + BigInt(fraction.padEnd(6, "0"));
}
