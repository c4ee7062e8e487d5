/**
 * Slices of a calendar the slow way: a zone's clock is read step by step, and a slice begins when it first shows a later
 * day, week, month or part of a day than ever before.
 */

export type CalendarUnit = "day" | "week" | "month" | { readonly partMs: number };

/** Where slices begin, and the number of the unit that begins there. */
export interface Boundary {
  readonly timeUs: number;
  readonly number: number;
}

const DAY_MS = 86_400_000;

/** Reads the clocks of a zone: the local time as ms since 1970 on them. */
export function clockOf(timezone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone: timezone,
    hourCycle: "h23",
    era: "short",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  });
  return (ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]));
    const part = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.get(type));
    const year = parts.get("era") === "BC" ? 1 - part("year") : part("year");
    const date = new Date(0).setUTCFullYear(year, part("month") - 1, part("day"));
    return date + part("hour") * 3_600_000 + part("minute") * 60_000 + part("second") * 1_000;
  };
}

/** What a clock showed, step by step: read once, since that is slow. */
const tapes = new Map<string, readonly number[]>();

/** The readings at `fromMs − stepMs` and every step after it, before `toMs`. */
function tapeOf(timezone: string, fromMs: number, toMs: number, stepMs: number): readonly number[] {
  const id = `${timezone} ${fromMs} ${toMs} ${stepMs}`;
  const known = tapes.get(id);
  if (known !== undefined) return known;
  const clock = clockOf(timezone);
  const tape: number[] = [];
  for (let ms = fromMs - stepMs; ms < toMs; ms += stepMs) tape.push(clock(ms));
  tapes.set(id, tape);
  return tape;
}

/** All boundaries in [fromMs, toMs), a step being short enough that none falls into its middle. */
export function scanBoundaries(
  timezone: string,
  unit: CalendarUnit,
  every: number,
  offsetMs: number,
  [fromMs, toMs]: readonly [number, number],
  stepMs: number,
): Boundary[] {
  const tape = tapeOf(timezone, fromMs, toMs, stepMs);
  const numberOf = (reading: number): number => Math.floor(unitNumber(unit, reading - offsetMs) / every);
  const boundaries: Boundary[] = [];
  let previous = tape[0]!;
  let greatest = previous;
  let back = 0;
  for (let step = 1; step < tape.length; step++) {
    const reading = tape[step]!;
    const ms = fromMs + (step - 1) * stepMs;
    if (reading < previous) back = previous + stepMs - reading;
    previous = reading;
    const isRepeated = reading <= greatest;
    if (isRepeated && typeof unit === "object") {
      // Clocks were set back: by whole parts, these come again.
      const isStart = (reading - offsetMs) % unit.partMs === 0 && back % unit.partMs === 0;
      if (isStart) boundaries.push({ timeUs: ms * 1_000, number: numberOf(reading) });
    }
    if (isRepeated) continue;
    if (numberOf(reading) > numberOf(greatest))
      boundaries.push({ timeUs: ms * 1_000, number: numberOf(reading) });
    greatest = reading;
  }
  return boundaries;
}

function unitNumber(unit: CalendarUnit, reading: number): number {
  if (typeof unit === "object") return Math.floor(reading / unit.partMs);
  if (unit === "day") return Math.floor(reading / DAY_MS);
  const date = new Date(reading);
  if (unit === "month") return date.getUTCFullYear() * 12 + date.getUTCMonth() - 1970 * 12;
  // 1969-12-29 was a Monday.
  return Math.floor((reading - Date.UTC(1969, 11, 29)) / (7 * DAY_MS));
}
