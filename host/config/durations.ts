const UNIT_US = { us: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3_600e6, d: 86_400e6 } as const;

export const DURATION = /^(\d+(?:\.\d+)?)(us|ms|s|m|h|d)$/;

/** The longest duration that settings take: 100 years, exact in a JS number of µs. */
export const LONGEST_US = 36_500 * UNIT_US.d;

/** `250ms 5s 5m 1h 7d` as whole microseconds, or null when it is none. */
export function parseDurationUs(text: string): number | null {
  const match = DURATION.exec(text);
  if (match === null) return null;
  return Math.round(Number(match[1]) * UNIT_US[match[2] as keyof typeof UNIT_US]);
}

/** The shortest way to write it that `parseDurationUs` reads back to the same number. */
export function formatDuration(us: number): string {
  if (us === 0) return "0s";
  const fits = Object.entries(UNIT_US).toReversed();
  const [unit, size] = fits.find(([, unitUs]) => us % unitUs === 0) ?? ["us", 1];
  return `${us / size}${unit}`;
}
