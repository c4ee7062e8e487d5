/**
 * Where the slices of a calendar begin: local days, weeks, months, and parts of a day, in the rules of the platform's time
 * zone database. Slice n begins when the zone's clocks first show a certain reading, so a day on which clocks are set
 * forward is shorter, one on which they are set back is longer, and a day that a zone skipped has no length.
 *
 * Readings are local times as ms since 1970-01-01T00:00 on the zone's clocks.
 */
import type { QueryPlan } from "../messages.ts";

export type CalendarWindow = Extract<QueryPlan["window"], { kind: "calendar" }>;

/** Neighbouring slices, in the form that `Calendar.add` of `assembly/window/calendar.ts` reads. */
export interface CalendarPage {
  /** Number of the first slice. */
  readonly first: number;
  /** Boundaries beyond the slices on either side, since windows reach over a page's edges. */
  readonly margin: number;
  /** Ascending: margin, slices, end, margin. µs. */
  readonly boundariesUs: readonly bigint[];
}

/** A stretch of time with one offset from UTC; ms. */
interface Segment {
  readonly fromMs: number;
  readonly toMs: number;
  readonly offsetMs: number;
}

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
const MAX_DATE_MS = 8.64e15;
/** Local clocks differ from UTC by less. */
const MAX_OFFSET_MS = 2 * DAY_MS;
/** No zone has changed its offset twice in a day. */
const PROBE_MS = DAY_MS;
/** The first Monday on or before 1970-01-01, a Thursday. */
const MONDAY_MS = -3 * DAY_MS;
/** Slices a page: days of two months, weeks of a year, months of four years. Parts of a day come by the day. */
const PAGE_SLICES = { day: 64, week: 52, month: 48 } as const;

/** The minus sign is escaped, for a source with one letter beyond Latin-1 takes twice the memory in each thread. */
const OFFSET = /^GMT(?:(?<sign>[+\-\u2212])(?<hours>\d{2}):(?<minutes>\d{2})(?::(?<seconds>\d{2}))?)?$/;

/** The slices of a window's calendar, a page at a time. */
export interface SliceCalendar {
  /** The page that holds a time. What it holds depends on the number of the page alone. */
  pageAt(timeUs: bigint): CalendarPage;
}

/** @throws RangeError when the platform does not know the zone. */
export function createCalendar(window: CalendarWindow): SliceCalendar {
  const offsetAt = zoneOffsets(window.timezone);
  return window.unit === "time" ? dayParts(window, offsetAt) : wholeDays(window, window.unit, offsetAt);
}

/** Days, weeks or months, `every` of them a slice. */
function wholeDays(
  window: CalendarWindow,
  unit: "day" | "week" | "month",
  offsetAt: (ms: number) => number,
): SliceCalendar {
  const { every } = window;
  const shiftMs = window.offsetUs / 1_000;
  const margin = window.size / every;
  const pageSlices = PAGE_SLICES[unit];
  const readingOf = (slice: number): number => shiftMs + unitReading(unit, slice * every);
  const read = (page: number): CalendarPage => {
    const first = page * pageSlices;
    const readings = Array.from({ length: pageSlices + 1 + 2 * margin }, (_, index) =>
      readingOf(first - margin + index),
    );
    const segments = segmentsOf(offsetAt, readings[0]! - MAX_OFFSET_MS, readings.at(-1)! + MAX_OFFSET_MS);
    return { first, margin, boundariesUs: readings.map((reading) => toUs(firstShown(segments, reading))) };
  };
  return {
    pageAt: (timeUs) => {
      const ms = Number(timeUs / 1_000n);
      const units = unitsBefore(unit, ms + offsetAt(ms) - shiftMs);
      return pageHolding(read, timeUs, Math.floor(units / every / pageSlices));
    },
  };
}

/** Parts of a day: a page is a day that begins `offset` after midnight. Slices have no numbers that mean anything. */
function dayParts(window: CalendarWindow, offsetAt: (ms: number) => number): SliceCalendar {
  const sizeMs = window.size / 1_000;
  const shiftMs = window.offsetUs / 1_000;
  const read = (day: number): CalendarPage => {
    const fromReading = day * DAY_MS + shiftMs;
    const segments = segmentsOf(offsetAt, fromReading - MAX_OFFSET_MS, fromReading + DAY_MS + MAX_OFFSET_MS);
    const fromMs = firstShown(segments, fromReading);
    const toMs = firstShown(segments, fromReading + DAY_MS);
    const starts = new Set([fromMs]);
    for (let reading = fromReading; reading < fromReading + DAY_MS; reading += sizeMs) {
      starts.add(firstShown(segments, reading));
    }
    for (const ms of shownAgain(segments, sizeMs, shiftMs)) starts.add(ms);
    const sorted = [...starts].filter((ms) => ms >= fromMs && ms < toMs).toSorted((a, b) => a - b);
    return { first: day * MAX_PARTS, margin: 0, boundariesUs: [...sorted, toMs].map(toUs) };
  };
  return {
    pageAt: (timeUs) => {
      const ms = Number(timeUs / 1_000n);
      return pageHolding(read, timeUs, Math.floor((ms + offsetAt(ms) - shiftMs) / DAY_MS));
    },
  };
}

/** More than a day, however long, has parts of a minute. */
const MAX_PARTS = 10_000;

/**
 * When clocks are set back by a multiple of the size, the readings they show again begin slices of their own: the hour
 * that comes twice is two hours. When it is no multiple, the slice at hand is longer.
 */
function shownAgain(segments: readonly Segment[], sizeMs: number, shiftMs: number): number[] {
  return segments.flatMap((segment, index) => {
    const before = segments[index - 1];
    if (before === undefined || before.offsetMs <= segment.offsetMs) return [];
    const back = before.offsetMs - segment.offsetMs;
    if (back % sizeMs !== 0) return [];
    const fromReading = segment.fromMs + segment.offsetMs;
    const first = Math.ceil((fromReading - shiftMs) / sizeMs) * sizeMs + shiftMs;
    const times: number[] = [];
    for (let reading = first; reading < fromReading + back; reading += sizeMs) {
      if (reading - segment.offsetMs < segment.toMs) times.push(reading - segment.offsetMs);
    }
    return times;
  });
}

/** Looks at neighbours too: where clocks were set back over a page's edge, the reading tells the page only nearly. */
function pageHolding(read: (page: number) => CalendarPage, timeUs: bigint, guess: number): CalendarPage {
  for (const page of [guess, guess - 1, guess + 1, guess - 2, guess + 2]) {
    const found = read(page);
    const { margin, boundariesUs } = found;
    if (timeUs >= boundariesUs[margin]! && timeUs < boundariesUs.at(-1 - margin)!) return found;
  }
  throw new RangeError(`no page of the calendar holds ${timeUs}`);
}

/** The reading at which a unit begins, counted from 1970. */
function unitReading(unit: "day" | "week" | "month", units: number): number {
  if (unit === "day") return units * DAY_MS;
  if (unit === "week") return MONDAY_MS + units * 7 * DAY_MS;
  // Date.UTC takes the years 0 to 99 for those of the twentieth century.
  return new Date(0).setUTCFullYear(1970 + Math.floor(units / 12), ((units % 12) + 12) % 12, 1);
}

function unitsBefore(unit: "day" | "week" | "month", reading: number): number {
  if (unit === "day") return Math.floor(reading / DAY_MS);
  if (unit === "week") return Math.floor((reading - MONDAY_MS) / (7 * DAY_MS));
  const date = new Date(reading);
  return (date.getUTCFullYear() - 1970) * 12 + date.getUTCMonth();
}

/** When the clocks first show a reading or a later one. */
function firstShown(segments: readonly Segment[], reading: number): number {
  for (const { fromMs, toMs, offsetMs } of segments) {
    if (reading < toMs + offsetMs) return Math.max(fromMs, reading - offsetMs);
  }
  return segments.at(-1)!.toMs;
}

/** The stretches of one offset between two times. */
function segmentsOf(offsetAt: (ms: number) => number, fromMs: number, toMs: number): Segment[] {
  const segments: Segment[] = [];
  let startMs = fromMs;
  let offsetMs = offsetAt(fromMs);
  for (let at = fromMs; at < toMs; at += PROBE_MS) {
    const next = Math.min(at + PROBE_MS, toMs);
    if (offsetAt(next) === offsetMs) continue;
    const changeMs = changeBetween(offsetAt, at, next);
    segments.push({ fromMs: startMs, toMs: changeMs, offsetMs });
    startMs = changeMs;
    offsetMs = offsetAt(next);
  }
  segments.push({ fromMs: startMs, toMs, offsetMs });
  return segments;
}

/** The first ms with another offset than at `fromMs`. */
function changeBetween(offsetAt: (ms: number) => number, fromMs: number, toMs: number): number {
  const offsetMs = offsetAt(fromMs);
  let same = fromMs;
  let other = toMs;
  while (other - same > 1) {
    const middle = Math.floor((same + other) / 2);
    if (offsetAt(middle) === offsetMs) same = middle;
    else other = middle;
  }
  return other;
}

/** A zone's offset from UTC in ms, at a time in ms; to the second, as the database has it. */
export function zoneOffsets(timezone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: timezone,
    hour: "2-digit",
    timeZoneName: "longOffset",
  });
  return (ms) => {
    const clamped = Math.min(Math.max(ms, -MAX_DATE_MS), MAX_DATE_MS);
    const name = format.formatToParts(clamped).find(({ type }) => type === "timeZoneName")?.value ?? "";
    const parts = OFFSET.exec(name)?.groups;
    if (parts === undefined) throw new RangeError(`the offset ${name} of ${timezone} cannot be read`);
    const { sign = "+", hours = "0", minutes = "0", seconds = "0" } = parts;
    const size = Number(hours) * 60 * MINUTE_MS + Number(minutes) * MINUTE_MS + Number(seconds) * 1_000;
    return sign === "+" ? size : -size;
  };
}

function toUs(ms: number): bigint {
  return BigInt(ms) * 1_000n;
}

/** A page as the core reads it. */
export function encodePage({ first, margin, boundariesUs }: CalendarPage): Uint8Array {
  const bytes = new Uint8Array(16 + boundariesUs.length * 8);
  const view = new DataView(bytes.buffer);
  view.setBigInt64(0, BigInt(first), true);
  view.setUint32(8, boundariesUs.length - 1 - 2 * margin, true);
  view.setUint32(12, margin, true);
  boundariesUs.forEach((us, index) => {
    view.setBigInt64(16 + index * 8, us, true);
  });
  return bytes;
}
