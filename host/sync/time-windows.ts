import type { TimeOfDayRange } from "../config/sync-parts.ts";

/** Whether a moment lies in any of the parts of the day, by local time. Without any, it always does. */
export function isWithin(windows: readonly TimeOfDayRange[], now: Date): boolean {
  if (windows.length === 0) return true;
  const minute = now.getHours() * 60 + now.getMinutes();
  return windows.some(({ fromMinute, toMinute }) =>
    fromMinute < toMinute
      ? minute >= fromMinute && minute < toMinute
      : minute >= fromMinute || minute < toMinute,
  );
}
