/** Texts of the `sync:` section. */

/** A part of each day, by local time, in minutes since midnight. One that ends before it begins goes over midnight. */
export interface TimeOfDayRange {
  readonly fromMinute: number;
  /** Exclusive. */
  readonly toMinute: number;
}

const RANGE = /^([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-4]):([0-5]\d)$/;
const BANDWIDTH = /^(\d+(?:\.\d+)?)(bps|kbps|Mbps|Gbps)$/;
const UNIT_BITS = { bps: 1, kbps: 1e3, Mbps: 1e6, Gbps: 1e9 } as const;

/** `22:00-06:00`; null when it is none. */
export function parseTimeOfDayRange(text: string): TimeOfDayRange | null {
  const [, fromHour, fromMinute, toHour, toMinute] = RANGE.exec(text) ?? [];
  if (fromHour === undefined) return null;
  const range = {
    fromMinute: Number(fromHour) * 60 + Number(fromMinute),
    toMinute: Number(toHour) * 60 + Number(toMinute),
  };
  return range.toMinute > 1_440 || range.fromMinute === range.toMinute ? null : range;
}

export function formatTimeOfDayRange({ fromMinute, toMinute }: TimeOfDayRange): string {
  const text = (minute: number): string =>
    `${String(Math.floor(minute / 60)).padStart(2, "0")}:${String(minute % 60).padStart(2, "0")}`;
  return `${text(fromMinute)}-${text(toMinute)}`;
}

/** `10Mbps` in bytes a second; null when it is none. */
export function parseBandwidth(text: string): number | null {
  const match = BANDWIDTH.exec(text);
  return match === null ? null : (Number(match[1]) * UNIT_BITS[match[2] as keyof typeof UNIT_BITS]) / 8;
}

export function formatBandwidth(bytesPerSecond: number): string {
  const bits = bytesPerSecond * 8;
  for (const [unit, factor] of Object.entries(UNIT_BITS).toReversed())
    if (bits >= factor && Number.isInteger(bits / factor)) return `${bits / factor}${unit}`;
  return `${bits}bps`;
}
