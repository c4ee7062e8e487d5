const LONGEST_RETRY_AFTER_MS = 3_600_000;

/** Seconds or a date, RFC 9110 §10.2.3; 0 where it is none. */
export function retryAfterMs(text: string | undefined): number {
  if (text === undefined) return 0;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - Date.now();
  return Number.isNaN(ms) ? 0 : Math.max(0, Math.min(LONGEST_RETRY_AFTER_MS, ms));
}
