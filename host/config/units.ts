const DURATION = /^(\d+(?:\.\d+)?)(us|ms|s|m|h|d)$/;
const DURATION_US = { us: 1, ms: 1e3, s: 1e6, m: 60e6, h: 3_600e6, d: 86_400e6 } as const;
const SIZE = /^(\d+(?:\.\d+)?)(B|KB|MB|GB|KiB|MiB|GiB)$/;
const SIZE_BYTES = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 } as const;

/** `250ms 5s 5m 1h 7d` as whole microseconds, or null when it is none. */
export function parseDurationUs(text: string): number | null {
  const match = DURATION.exec(text);
  if (match === null) return null;
  return Math.round(Number(match[1]) * DURATION_US[match[2] as keyof typeof DURATION_US]);
}

/** `64KiB 10GiB` as whole bytes, or null when it is none. */
export function parseSizeBytes(text: string): number | null {
  const match = SIZE.exec(text);
  if (match === null) return null;
  return Math.round(Number(match[1]) * SIZE_BYTES[match[2] as keyof typeof SIZE_BYTES]);
}
