const MS_US = 1_000;

/** ISO 8601 in UTC with milliseconds, or microseconds where present. Exact for whole µs in years 1 to 9999. */
export function formatTime(us: number): string {
  const ms = Math.floor(us / MS_US);
  const rest = us - ms * MS_US;
  const text = new Date(ms).toISOString();
  return rest === 0 ? text : `${text.slice(0, -1)}${String(rest).padStart(3, "0")}Z`;
}
