import * as z from "zod";
import { DURATION, formatDuration, LONGEST_US, parseDurationUs } from "./durations.ts";
import { formatSize, parseSizeBytes, SIZE } from "./sizes.ts";

/** Texts of the configuration that are measures: durations come out in µs, sizes in bytes. */

export const DURATION_MESSAGE = "must be a duration; write it like 250ms, 5s, 5m, 1h or 7d";
const SIZE_MESSAGE = "must be a size; write it like 64KiB, 16MiB or 10GiB";

export function duration(minUs: number, maxUs = LONGEST_US) {
  const range = `must be from ${formatDuration(minUs)} to ${formatDuration(maxUs)}`;
  return z
    .string(DURATION_MESSAGE)
    .regex(DURATION, DURATION_MESSAGE)
    .transform(orRefuse(parseDurationUs, DURATION_MESSAGE))
    .refine((us) => us >= minUs && us <= maxUs, range);
}

export function size(minBytes: number, maxBytes: number) {
  const range = `must be from ${formatSize(minBytes)} to ${formatSize(maxBytes)}`;
  return z
    .string(SIZE_MESSAGE)
    .regex(SIZE, SIZE_MESSAGE)
    .transform(orRefuse(parseSizeBytes, SIZE_MESSAGE))
    .refine((bytes) => bytes >= minBytes && bytes <= maxBytes, range);
}

export function orRefuse<T extends object | number>(parse: (text: string) => T | null, message: string) {
  return (text: string, context: z.core.$RefinementCtx<string>): T => {
    const value = parse(text);
    if (value !== null) return value;
    context.issues.push({ code: "custom", message, input: text });
    return z.NEVER;
  };
}
