import type { WindowPlan } from "../../workers/messages.ts";
import { formatDuration, parseDurationUs } from "./durations.ts";
import { isTimeZone, nearestTimeZone } from "./time-zones.ts";

/** Tumbling and sliding windows, by a fixed length or by the calendar of a time zone. */

/** A window's length: a duration, or whole weeks or months of a calendar. */
export type WindowLength =
  | { readonly kind: "us"; readonly us: number }
  | { readonly kind: "weeks"; readonly weeks: number }
  | { readonly kind: "months"; readonly months: number };

/** What `window:` says of such windows; `offset` in µs. */
export interface PaneWindowInput {
  readonly tumbling?: WindowLength | undefined;
  readonly sliding?: WindowLength | undefined;
  readonly every?: WindowLength | undefined;
  readonly offset?: number | undefined;
  readonly timezone?: string | undefined;
}

/** What is wrong with one of the settings: `message; fix`. */
export interface WindowProblem {
  readonly setting: keyof PaneWindowInput;
  readonly message: string;
}

export const WINDOW_LENGTH = /^\d+(?:\.\d+)?(?:us|ms|s|m|h|d)$|^\d+(?:w|mo)$/;
const MS_US = 1_000;
const MINUTE_US = 60_000_000;
const DAY_US = 86_400_000_000;
const WEEK_US = 7 * DAY_US;
/** The months of 100 years, and the weeks. */
const MAX_MONTHS = 1_200;
const MAX_WEEKS = 5_200;
const LONGEST_US = 36_500 * DAY_US;
/** Windows that an event may be in: each may have a late revision. */
const MAX_OVERLAP = 100_000;
/** The same where every event may give each an early result. */
export const MAX_EARLY_OVERLAP = 100;
/** Every month has as many days. */
const SHORTEST_MONTH_US = 28 * DAY_US;

/** `5m`, `7d`, `1w`, `3mo`; null when it is none or out of range. */
export function parseWindowLength(text: string): WindowLength | null {
  const [, digits = "", unit = ""] = /^(\d+)(w|mo)$/.exec(text) ?? [];
  const count = Number(digits);
  if (unit === "w") return count >= 1 && count <= MAX_WEEKS ? { kind: "weeks", weeks: count } : null;
  if (unit === "mo") return count >= 1 && count <= MAX_MONTHS ? { kind: "months", months: count } : null;
  const us = parseDurationUs(text);
  return us === null || us < 1 || us > LONGEST_US ? null : { kind: "us", us };
}

/** The first thing that is wrong, or null. Either `tumbling` or `sliding` must be there. */
export function paneWindowProblem(input: PaneWindowInput): WindowProblem | null {
  const { tumbling, sliding, every, timezone } = input;
  if (sliding === undefined && every !== undefined)
    return problem("every", "goes with sliding windows; write sliding instead of tumbling, or remove it");
  if (sliding !== undefined && every === undefined)
    return problem("sliding", "needs to know how often a window begins; add every: 1m");
  if (timezone !== undefined && !isTimeZone(timezone)) return unknownZone(timezone);
  if (isCalendar(input)) return calendarProblem(input);
  const size = usOf(tumbling ?? sliding!);
  const step = usOf(every ?? tumbling!);
  return sliding === undefined ? null : slidingProblem(size, step, formatDuration(size));
}

/** The plan of settings that have no problem. */
export function buildPaneWindow(input: PaneWindowInput): WindowPlan {
  const { tumbling, sliding, every } = input;
  if (isCalendar(input)) return buildCalendar(input);
  const sizeUs = usOf(tumbling ?? sliding!);
  const everyUs = usOf(every ?? tumbling!);
  const offsetUs = within(input.offset ?? 0, everyUs);
  return sliding === undefined
    ? { kind: "tumbling", sizeUs, offsetUs }
    : { kind: "sliding", sizeUs, everyUs, offsetUs };
}

/** The settings of a plan, in the form of the configuration file. */
export function describePaneWindow(plan: Extract<WindowPlan, { offsetUs: number }>): object {
  const offset = plan.offsetUs === 0 ? {} : { offset: formatDuration(plan.offsetUs) };
  if (plan.kind === "tumbling") return { tumbling: formatDuration(plan.sizeUs), ...offset };
  if (plan.kind === "sliding")
    return { sliding: formatDuration(plan.sizeUs), every: formatDuration(plan.everyUs), ...offset };
  const { unit, size, every, timezone } = plan;
  const length = (units: number): string => {
    if (unit === "time") return formatDuration(units);
    return `${units}${unit === "month" ? "mo" : unit === "week" ? "w" : "d"}`;
  };
  const lengths =
    size === every ? { tumbling: length(size) } : { sliding: length(size), every: length(every) };
  return { ...lengths, ...offset, timezone };
}

/** Of its shortest window, in µs; and how many windows an event is in. */
export function extentOf(plan: Extract<WindowPlan, { offsetUs: number }>): {
  sizeUs: number;
  overlap: number;
} {
  if (plan.kind === "tumbling") return { sizeUs: plan.sizeUs, overlap: 1 };
  if (plan.kind === "sliding") return { sizeUs: plan.sizeUs, overlap: Math.ceil(plan.sizeUs / plan.everyUs) };
  const unitUs = { time: 1, day: DAY_US, week: WEEK_US, month: SHORTEST_MONTH_US }[plan.unit];
  return { sizeUs: plan.size * unitUs, overlap: plan.size / plan.every };
}

/** Weeks and months are a calendar's, of UTC unless there is a zone. */
function isCalendar({ tumbling, sliding, every, timezone }: PaneWindowInput): boolean {
  const lengths = [tumbling, sliding, every];
  return timezone !== undefined || lengths.some((length) => length !== undefined && length.kind !== "us");
}

function slidingProblem(size: number, every: number, sizeText: string): WindowProblem | null {
  if (every === size)
    return problem("every", `is as long as the windows; write tumbling: ${sizeText} instead`);
  if (every > size)
    return problem(
      "every",
      "is longer than the windows, so that some events would be in none; make it shorter",
    );
  if (size / every > MAX_OVERLAP)
    return problem("every", `puts each event into more than ${MAX_OVERLAP} windows; make it longer`);
  return null;
}

function calendarProblem(input: PaneWindowInput): WindowProblem | null {
  const { tumbling, sliding, every, offset } = input;
  const setting = tumbling === undefined ? "sliding" : "tumbling";
  const size = (tumbling ?? sliding)!;
  const step = (every ?? tumbling)!;
  if ((size.kind === "months") !== (step.kind === "months"))
    return problem(
      "every",
      "and sliding must both be months or neither, since months differ; write 3mo every 1mo, or 28d every 1d",
    );
  if (size.kind !== "months" && step.kind !== "months") {
    const wrong = daysProblem(setting, usOf(size), usOf(step), sliding !== undefined);
    if (wrong !== null) return wrong;
  }
  if (sliding !== undefined) {
    const { size: units, every: unitsEvery } = unitsOf(size, step);
    const wrong = slidingProblem(units, unitsEvery, textOf(size));
    if (wrong !== null) return wrong;
    if (units % unitsEvery !== 0)
      return problem(
        "every",
        `does not divide ${textOf(size)}, as it must in a calendar; write 1d, or another that does`,
      );
  }
  if (offset === undefined) return null;
  if (offset % MS_US !== 0) return problem("offset", "must be whole milliseconds in a calendar; round it");
  if (step.kind === "months" && Math.abs(offset) >= SHORTEST_MONTH_US)
    return problem("offset", "must be below 28d, the shortest month, either way; make it shorter");
  return null;
}

/** In a calendar lengths are whole days, or divide one. */
function daysProblem(
  setting: "tumbling" | "sliding",
  size: number,
  every: number,
  isSliding: boolean,
): WindowProblem | null {
  if (isSliding && every % DAY_US !== 0)
    return problem("every", "must be whole days in a calendar; write every: 1d, or leave out timezone");
  if (size % DAY_US === 0) return null;
  if (size > DAY_US) return problem(setting, "must be whole days in a calendar; write 1d, 7d or 1mo");
  if (DAY_US % size !== 0)
    return problem(
      setting,
      "does not divide a day, as it must in a calendar; write 1h, 2h, 3h, 4h, 6h, 8h or 12h",
    );
  if (size < MINUTE_US) return problem(setting, "must be 1m or more in a calendar; leave out timezone");
  return null;
}

function unitsOf(size: WindowLength, every: WindowLength): Pick<CalendarPlan, "unit" | "size" | "every"> {
  if (size.kind === "months" && every.kind === "months")
    return { unit: "month", size: size.months, every: every.months };
  const [sizeUs, everyUs] = [usOf(size), usOf(every)];
  const [unit, unitUs] =
    everyUs % WEEK_US === 0
      ? (["week", WEEK_US] as const)
      : everyUs % DAY_US === 0
        ? (["day", DAY_US] as const)
        : (["time", 1] as const);
  return { unit, size: sizeUs / unitUs, every: everyUs / unitUs };
}

type CalendarPlan = Extract<WindowPlan, { kind: "calendar" }>;

function buildCalendar({
  tumbling,
  sliding,
  every,
  offset = 0,
  timezone = "UTC",
}: PaneWindowInput): CalendarPlan {
  const step = (every ?? tumbling)!;
  const offsetUs = step.kind === "months" ? offset : within(offset, usOf(step));
  return { kind: "calendar", timezone, ...unitsOf((tumbling ?? sliding)!, step), offsetUs };
}

/** An offset that shifts windows of such a period as much, from 0 on. */
function within(offsetUs: number, periodUs: number): number {
  return ((offsetUs % periodUs) + periodUs) % periodUs;
}

/** Weeks as if none had a change of clocks; months have no length of their own. */
function usOf(length: WindowLength): number {
  if (length.kind === "us") return length.us;
  return length.kind === "weeks" ? length.weeks * WEEK_US : length.months * SHORTEST_MONTH_US;
}

function textOf(length: WindowLength): string {
  if (length.kind === "us") return formatDuration(length.us);
  return length.kind === "weeks" ? `${length.weeks}w` : `${length.months}mo`;
}

function unknownZone(timezone: string): WindowProblem {
  const hint = nearestTimeZone(timezone);
  const fix = hint === null ? "write one such as Europe/Berlin" : `did you mean \`${hint}\`?`;
  return problem("timezone", `names no time zone that this platform knows; ${fix}`);
}

function problem(setting: keyof PaneWindowInput, message: string): WindowProblem {
  return { setting, message };
}
