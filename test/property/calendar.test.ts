import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type CalendarWindow, createCalendar } from "../../workers/core/calendar.ts";
import type { CalendarUnit } from "../support/calendar-oracle.ts";
import { type Boundary, scanBoundaries } from "../support/calendar-oracle.ts";
import { makePlan } from "../unit/window-batch.ts";
import type { Span } from "./panes-model.ts";
import { compare, logsOf, RUNS, SELECT } from "./panes-support.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const HOUR_US = HOUR_MS * 1_000;
const DAY_US = DAY_MS * 1_000;

interface Shape {
  readonly unit: CalendarWindow["unit"];
  /** In units; ms for parts of a day. */
  readonly size: number;
  readonly every: number;
  readonly offsetMs: number;
}

/** Days around a change of clocks, or of the calendar. */
interface Place {
  readonly timezone: string;
  readonly about: string;
  readonly around: string;
  readonly days: number;
  readonly stepMs: number;
  readonly shapes: readonly Shape[];
}

const shape = (unit: Shape["unit"], size: number, every = size, offsetMs = 0): Shape => ({
  unit,
  size,
  every,
  offsetMs,
});
const DAYS = [shape("day", 1), shape("day", 1, 1, 6 * HOUR_MS), shape("day", 3, 1), shape("day", 2)];
const PARTS = [
  shape("time", HOUR_MS),
  shape("time", 6 * HOUR_MS),
  shape("time", 30 * MINUTE_MS),
  shape("time", 2 * HOUR_MS, 2 * HOUR_MS, 30 * MINUTE_MS),
];

const PLACES: readonly Place[] = [
  ["Europe/Berlin", "set forward", "2026-03-29T01:00Z"],
  ["Europe/Berlin", "set back", "2026-10-25T01:00Z"],
  ["America/New_York", "set back, west of the epoch's day", "2026-11-01T06:00Z"],
  ["Australia/Lord_Howe", "set back by half an hour", "2026-04-04T15:00Z"],
  ["Australia/Lord_Howe", "set forward by half an hour", "2026-10-03T15:30Z"],
  ["Pacific/Apia", "a day was skipped", "2011-12-30T10:00Z"],
  ["America/Havana", "set back from one to midnight", "2026-11-01T05:00Z"],
  ["America/Sao_Paulo", "set back from midnight to the day before", "2018-02-18T02:00Z"],
  ["America/Sao_Paulo", "there was no midnight", "2018-11-04T03:00Z"],
  ["Asia/Kathmandu", "an offset of quarters, changed once", "1985-12-31T18:30Z"],
  ["Africa/Casablanca", "set back in Ramadan", "2026-02-15T02:00Z"],
  ["Antarctica/Troll", "set forward by two hours", "2026-03-29T01:00Z"],
  ["Asia/Pyongyang", "half an hour forward for good", "2018-05-04T15:00Z"],
  ["Pacific/Kwajalein", "a day was skipped, from west to east", "1993-08-21T12:00Z"],
  ["America/Juneau", "a day came twice", "1867-10-19T08:57:41Z"],
  ["UTC", "nothing happens", "1970-01-01T00:00Z"],
  ["+05:30", "an offset alone, before the epoch", "1931-02-28T18:30Z"],
].map(([timezone, about, around]) => ({
  timezone: timezone!,
  about: about!,
  around: around!,
  days: 6,
  stepMs: MINUTE_MS,
  shapes: timezone === "America/Juneau" ? DAYS.slice(0, 1) : [...DAYS, ...PARTS],
}));

const LONG_PLACES: readonly Place[] = [
  ["Europe/Berlin", "a leap year", "2024-02-20T00:00Z"],
  ["Pacific/Apia", "a day was skipped", "2011-12-20T00:00Z"],
  ["America/St_Johns", "changes a minute after midnight", "2010-11-07T02:31Z"],
].map(([timezone, about, around]) => ({
  timezone: timezone!,
  about: about!,
  around: around!,
  days: 150,
  stepMs: timezone === "America/St_Johns" ? MINUTE_MS : 30 * MINUTE_MS,
  shapes: [
    shape("week", 1),
    shape("week", 2, 1),
    shape("week", 1, 1, 6 * DAY_MS),
    shape("month", 1),
    shape("month", 1, 1, 14 * DAY_MS + HOUR_MS),
    shape("month", 1, 1, -2 * DAY_MS),
    shape("month", 2, 1),
    shape("day", 7, 1),
  ],
}));

/** Europe/Berlin took a whole hour in 1893: before, its offset had seconds. */
const HISTORIC: Place = {
  timezone: "Europe/Berlin",
  about: "the offset had seconds",
  around: "1893-03-31T23:00Z",
  days: 1.2,
  stepMs: 4_000,
  shapes: [shape("day", 1), shape("time", HOUR_MS)],
};

function windowOf({ timezone }: Place, { unit, size, every, offsetMs }: Shape): CalendarWindow {
  const factor = unit === "time" ? 1_000 : 1;
  return {
    kind: "calendar",
    timezone,
    unit,
    size: size * factor,
    every: every * factor,
    offsetUs: offsetMs * 1_000,
  };
}

function scan(place: Place, { unit, every, offsetMs }: Shape): Boundary[] {
  const middle = Date.parse(place.around);
  const range = [middle - place.days * DAY_MS, middle + place.days * DAY_MS] as const;
  const kind: CalendarUnit = unit === "time" ? { partMs: every } : unit;
  return scanBoundaries(place.timezone, kind, unit === "time" ? 1 : every, offsetMs, range, place.stepMs);
}

for (const place of [...PLACES, ...LONG_PLACES, HISTORIC]) {
  test(`slices of ${place.timezone} where ${place.about} begin when its clocks say so`, () => {
    for (const item of place.shapes) {
      const expected = scan(place, item);
      assert.ok(expected.length > 2, "the stretch is long enough to show something");
      const calendar = createCalendar(windowOf(place, item));
      expected.slice(0, -1).forEach(({ timeUs }, index) => {
        const next = expected[index + 1]!.timeUs;
        for (const time of [timeUs, next - 1]) {
          const { margin, boundariesUs } = calendar.pageAt(BigInt(time));
          const own = boundariesUs.slice(margin, boundariesUs.length - margin);
          const at = own.findLastIndex((us) => us <= time);
          assert.deepEqual(
            [Number(own[at]), Number(own[at + 1])],
            [timeUs, next],
            `${JSON.stringify(item)} at ${new Date(timeUs / 1_000).toISOString()}`,
          );
        }
      });
    }
  });
}

/** The windows of scanned slices: each begins at a boundary and has `size` units, some of which may not have existed. */
function spansOf(boundaries: readonly Boundary[], slices: number): (timeUs: number) => Span[] {
  const spans = boundaries.flatMap(({ timeUs, number }, index): Span[] => {
    const end =
      slices === 1 ? boundaries[index + 1] : boundaries.find((other) => other.number >= number + slices);
    return end === undefined ? [] : [{ startUs: timeUs, endUs: end.timeUs }];
  });
  return (timeUs) => spans.filter(({ startUs, endUs }) => startUs <= timeUs && timeUs < endUs);
}

test("calendar windows equal the plain model through changes of clocks, late events and restarts", () => {
  const cases = [...PLACES, ...LONG_PLACES].flatMap((place) =>
    place.shapes.map((item) => ({ place, shape: item })),
  );
  const scanned = new Map<string, readonly Boundary[]>();
  const boundariesOf = (place: Place, item: Shape): readonly Boundary[] => {
    const id = JSON.stringify([place.timezone, place.around, item]);
    const known = scanned.get(id) ?? scan(place, item);
    scanned.set(id, known);
    return known;
  };
  const log = fc.constantFrom(...cases).chain(({ place, shape: item }) => {
    const boundaries = boundariesOf(place, item);
    // Far enough from the ends of what was scanned that every window of an event is known.
    const slices = item.size / item.every;
    const inner = boundaries.slice(slices, -slices - 1);
    const first = inner[0]!.timeUs;
    const last = inner.at(-1)!.timeUs;
    const edge = fc.constantFrom(...inner.slice(0, -1).map(({ timeUs }) => timeUs));
    const time = fc.oneof(
      fc.integer({ min: first, max: last - 1 }),
      edge,
      edge.map((us) => Math.max(first, us - 1)),
    );
    return fc.record({
      place: fc.constant(place),
      shape: fc.constant(item),
      latenessUs: fc.constantFrom(0, 1, 3 * HOUR_US, 40 * DAY_US),
      earlyUs: fc.constantFrom(0, 0, HOUR_US, 10 * HOUR_US),
      blocks: logsOf(time, [0, HOUR_US, DAY_US, 100 * DAY_US]),
    });
  });
  fc.assert(
    fc.property(log, ({ place, shape: item, latenessUs, earlyUs, blocks }) => {
      const windowsOf = spansOf(boundariesOf(place, item), item.size / item.every);
      const plan = makePlan({ window: windowOf(place, item), latenessUs, earlyUs, select: SELECT });
      compare(plan, { windowsOf, latenessUs, earlyUs }, blocks);
    }),
    { numRuns: RUNS },
  );
});

test("days are found from the year 1 to 9999, in any order", () => {
  const calendar = createCalendar(windowOf(PLACES[0]!, shape("day", 1)));
  fc.assert(
    fc.property(fc.integer({ min: -62_135_596_800, max: 253_402_300_799 }), (seconds) => {
      const time = BigInt(seconds) * 1_000_000n;
      const { boundariesUs } = calendar.pageAt(time);
      assert.ok(boundariesUs.every((us, index) => index === 0 || us >= boundariesUs[index - 1]!));
      assert.ok(boundariesUs[0]! <= time && time < boundariesUs.at(-1)!);
    }),
    { numRuns: 300 },
  );
});

test("an unknown zone is refused", () => {
  assert.throws(
    () => createCalendar({ ...windowOf(PLACES[0]!, shape("day", 1)), timezone: "Mars/Olympus" }),
    {
      name: "RangeError",
    },
  );
});
