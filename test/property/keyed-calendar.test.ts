import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { CalendarWindow } from "../../workers/core/calendar.ts";
import { type CalendarUnit, scanBoundaries } from "../support/calendar-oracle.ts";
import type { KeyedEvent } from "../support/keyed-oracle.ts";
import { planOf, run, type Scenario, type Step } from "./keyed-support.ts";
import type { Span } from "./panes-model.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 300);
const HOUR_MS = 3_600_000;
const HOUR_US = HOUR_MS * 1_000;
const DAY_MS = 24 * HOUR_MS;
const DAY_US = DAY_MS * 1_000;
const KEYS = ["a", "b", "a key of more than sixteen bytes"];

interface Shape {
  readonly unit: CalendarWindow["unit"];
  /** In units; ms for parts of a day. */
  readonly size: number;
  readonly every: number;
  readonly offsetMs: number;
}

const shape = (unit: Shape["unit"], size: number, every = size, offsetMs = 0): Shape => ({
  unit,
  size,
  every,
  offsetMs,
});

const SHORT = [
  shape("day", 1),
  shape("day", 1, 1, 6 * HOUR_MS),
  shape("day", 3, 1),
  shape("day", 2),
  shape("time", HOUR_MS),
  shape("time", 6 * HOUR_MS),
  shape("time", 2 * HOUR_MS, 2 * HOUR_MS, HOUR_MS / 2),
];
const LONG = [
  shape("week", 1),
  shape("week", 2, 1),
  shape("month", 1),
  shape("month", 1, 1, 14 * DAY_MS),
  shape("month", 3, 1),
  shape("day", 7, 1),
];

/** Zones, and when their clocks changed. */
const PLACES = [
  ["Europe/Berlin", "2026-03-29T01:00Z"],
  ["Europe/Berlin", "2026-10-25T01:00Z"],
  ["America/Havana", "2026-11-01T05:00Z"],
  ["America/Sao_Paulo", "2018-11-04T03:00Z"],
  ["Australia/Lord_Howe", "2026-04-04T15:00Z"],
  ["Pacific/Apia", "2011-12-30T10:00Z"],
  ["UTC", "1970-01-01T00:00Z"],
] as const;

interface Calendar {
  readonly planWindow: CalendarWindow;
  readonly windowsOf: (timeUs: number) => readonly Span[];
  /** Far enough from the ends of what was scanned. */
  readonly edgesUs: readonly number[];
}

function calendarOf(timezone: string, around: string, { unit, size, every, offsetMs }: Shape): Calendar {
  const isLong = unit === "week" || unit === "month" || size > 3;
  const reachMs = (unit === "time" || !isLong ? 7 : 200) * DAY_MS;
  const middle = Date.parse(around);
  const kind: CalendarUnit = unit === "time" ? { partMs: every } : unit;
  const range = [middle - reachMs, middle + reachMs] as const;
  const slices = size / every;
  const boundaries = scanBoundaries(
    timezone,
    kind,
    unit === "time" ? 1 : every,
    offsetMs,
    range,
    HOUR_MS / 2,
  );
  const spans = boundaries.flatMap(({ timeUs, number }, index): Span[] => {
    const end =
      slices === 1 ? boundaries[index + 1] : boundaries.find((other) => other.number >= number + slices);
    return end === undefined ? [] : [{ startUs: timeUs, endUs: end.timeUs }];
  });
  const factor = unit === "time" ? 1_000 : 1;
  return {
    planWindow: {
      kind: "calendar",
      timezone,
      unit,
      size: size * factor,
      every: every * factor,
      offsetUs: offsetMs * 1_000,
    },
    windowsOf: (timeUs) => spans.filter(({ startUs, endUs }) => startUs <= timeUs && timeUs < endUs),
    edgesUs: boundaries.slice(slices, -slices - 1).map(({ timeUs }) => timeUs),
  };
}

const CALENDARS = PLACES.flatMap(([zone, around]) =>
  [...SHORT, ...LONG].map((item) => calendarOf(zone, around, item)),
);

function scenarioOf({ planWindow, windowsOf, edgesUs }: Calendar): fc.Arbitrary<Scenario> {
  const [first, last] = [edgesUs[0]!, edgesUs.at(-1)!];
  const edge = fc.constantFrom(...edgesUs.slice(0, -1));
  const timeUs = fc.oneof(
    fc.integer({ min: first, max: last - 1 }),
    edge,
    edge.map((us) => Math.max(first, us - 1)),
  );
  const event = fc.record({
    key: fc.constantFrom(...KEYS),
    timeUs,
    value: fc.option(
      fc.integer({ min: -1e6, max: 1e6 }).map((x) => x / 1_000),
      { freq: 5 },
    ),
  });
  const step = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("block" as const),
        worker: fc.nat(2),
        events: fc.array(fc.record({ event, isInOrder: fc.boolean() }), { maxLength: 12 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("watermark" as const), timeUs }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  );
  return fc.record({
    window: fc.constant({ kind: "spans" as const, windowsOf }),
    planWindow: fc.constant(planWindow),
    latenessUs: fc.constantFrom(0, 1, 3 * HOUR_US, 40 * DAY_US),
    boundUs: fc.constantFrom(0, HOUR_US, DAY_US, 100 * DAY_US),
    isPerKey: fc.constant(true),
    earlyUs: fc.option(fc.constantFrom(HOUR_US, 10 * HOUR_US, 3 * DAY_US)),
    steps: fc.array(step, { maxLength: 14 }).map(inOrder),
  });
}

type DrawnStep =
  | Exclude<Step, { kind: "block" }>
  | {
      readonly kind: "block";
      readonly worker: number;
      readonly events: readonly { readonly event: KeyedEvent; readonly isInOrder: boolean }[];
    };

/** Half of the events go on in time from block to block, as those of streams do. */
function inOrder(steps: readonly DrawnStep[]): readonly Step[] {
  const drawn = steps.flatMap((step) => (step.kind === "block" ? step.events : []));
  const times = drawn.map(({ event }) => event.timeUs).toSorted((a, b) => a - b);
  let taken = 0;
  return steps.map((step) => {
    if (step.kind !== "block") return step;
    const events = step.events.map(({ event, isInOrder }) => {
      const timeUs = times[taken++]!;
      return isInOrder ? { ...event, timeUs } : event;
    });
    return { ...step, events };
  });
}

test("windows of a calendar that close by their key's clock: rows, revisions and late events are the oracle's", () => {
  const counts = { early: 0, rows: 0 };
  fc.assert(
    fc.property(fc.constantFrom(...CALENDARS).chain(scenarioOf), (given) => {
      const { rows, earlyRows } = run(planOf(given), given, true);
      counts.early += earlyRows;
      counts.rows += rows.length;
    }),
    { numRuns: RUNS },
  );
  assert.ok(RUNS < 100 || counts.early > RUNS, `${counts.early} early rows`);
  assert.ok(RUNS < 100 || counts.rows > 10 * RUNS, `${counts.rows} rows`);
});

test("the order within blocks and the worker show in no bit of rows and state", () => {
  fc.assert(
    fc.property(fc.constantFrom(...CALENDARS).chain(scenarioOf), (given) => {
      const turned = given.steps.map((step) =>
        step.kind === "block"
          ? { ...step, worker: (step.worker + 1) % 3, events: step.events.toReversed() }
          : step,
      );
      const plan = planOf(given);
      const [as, too] = [run(plan, given, false), run(plan, { ...given, steps: turned }, false)];
      assert.deepEqual(too.rows, as.rows);
      assert.deepEqual(too.snapshot, as.snapshot);
    }),
    { numRuns: RUNS / 3 },
  );
});
