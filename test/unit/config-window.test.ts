import assert from "node:assert/strict";
import { test } from "node:test";
import { configJsonSchema } from "../../host/config/json-schema.ts";
import { parseConfig } from "../../host/config/load.ts";
import { describePaneWindow } from "../../host/config/pane-window.ts";
import { queryPlan } from "../../host/config/plans.ts";
import { formatProblem } from "../../host/config/problems.ts";
import type { WindowPlan } from "../../workers/messages.ts";

const SECOND_US = 1_000_000;
const HOUR_US = 3_600 * SECOND_US;
const DAY_US = 24 * HOUR_US;

function parse(window: string, more = ""): ReturnType<typeof parseConfig> {
  const query = `queries:\n  q:\n    from: s\n    select: { n: count() }\n    window: ${window}\n${more}`;
  return parseConfig(`streams:\n  s: {}\n${query}`, "test.yaml", {}, {});
}

function problemsOf(window: string, more = ""): string[] {
  const loaded = parse(window, more);
  return loaded.ok ? [] : loaded.problems.map(formatProblem);
}

function windowOf(window: string): WindowPlan {
  const loaded = parse(window);
  assert.ok(loaded.ok, problemsOf(window).join("\n"));
  return loaded.config.queries.get("q")!.window;
}

const calendar = (
  unit: "time" | "day" | "week" | "month",
  size: number,
  every = size,
  offsetUs = 0,
  timezone = "Europe/Berlin",
): WindowPlan => ({ kind: "calendar", timezone, unit, size, every, offsetUs });

test("windows of a fixed length", () => {
  const cases: readonly (readonly [string, WindowPlan])[] = [
    ["{ tumbling: 5m, offset: 7m }", { kind: "tumbling", sizeUs: 300e6, offsetUs: 120e6 }],
    ["{ tumbling: 5m, offset: -7m }", { kind: "tumbling", sizeUs: 300e6, offsetUs: 180e6 }],
    ["{ tumbling: 5m, offset: -10m }", { kind: "tumbling", sizeUs: 300e6, offsetUs: 0 }],
    ["{ tumbling: 7d }", { kind: "tumbling", sizeUs: 7 * DAY_US, offsetUs: 0 }],
    [
      "{ sliding: 5m, every: 1m, offset: 90s }",
      { kind: "sliding", sizeUs: 300e6, everyUs: 60e6, offsetUs: 30e6 },
    ],
    ["{ sliding: 5m, every: 2m }", { kind: "sliding", sizeUs: 300e6, everyUs: 120e6, offsetUs: 0 }],
  ];
  for (const [text, plan] of cases) assert.deepEqual(windowOf(text), plan, text);
});

test("windows of a calendar: days, weeks, months, parts of a day", () => {
  const zone = "timezone: Europe/Berlin";
  const cases: readonly (readonly [string, WindowPlan])[] = [
    [`{ tumbling: 1d, ${zone} }`, calendar("day", 1)],
    [`{ tumbling: 24h, ${zone}, offset: 6h }`, calendar("day", 1, 1, 6 * HOUR_US)],
    [`{ tumbling: 7d, ${zone} }`, calendar("week", 1)],
    [`{ tumbling: 2w, ${zone} }`, calendar("week", 2)],
    [`{ tumbling: 3d, ${zone} }`, calendar("day", 3)],
    [`{ tumbling: 1mo, ${zone}, offset: 14d }`, calendar("month", 1, 1, 14 * DAY_US)],
    [`{ tumbling: 1mo, ${zone}, offset: -2d }`, calendar("month", 1, 1, -2 * DAY_US)],
    [`{ tumbling: 1d, ${zone}, offset: -2h }`, calendar("day", 1, 1, 22 * HOUR_US)],
    [`{ tumbling: 6h, ${zone} }`, calendar("time", 6 * HOUR_US)],
    [`{ sliding: 7d, every: 1d, ${zone} }`, calendar("day", 7, 1)],
    [`{ sliding: 1w, every: 1d, ${zone} }`, calendar("day", 7, 1)],
    [`{ sliding: 28d, every: 7d, ${zone} }`, calendar("week", 4, 1)],
    [`{ sliding: 3mo, every: 1mo, ${zone} }`, calendar("month", 3, 1)],
    ["{ tumbling: 1w }", calendar("week", 1, 1, 0, "UTC")],
    ["{ tumbling: 1mo }", calendar("month", 1, 1, 0, "UTC")],
    ["{ tumbling: 1d, timezone: '+05:30' }", calendar("day", 1, 1, 0, "+05:30")],
  ];
  for (const [text, plan] of cases) assert.deepEqual(windowOf(text), plan, text);
});

test("what a plan came from is written back, and reads as the same plan", () => {
  const texts = [
    "{ tumbling: 5m, offset: 1m }",
    "{ sliding: 1h, every: 7m }",
    "{ tumbling: 6h, timezone: Asia/Kolkata, offset: 30m }",
    "{ sliding: 7d, every: 1d, timezone: Europe/Berlin }",
    "{ sliding: 3mo, every: 1mo }",
    "{ tumbling: 1mo, offset: -2d }",
    "{ tumbling: 2w, timezone: UTC }",
  ];
  for (const text of texts) {
    const plan = windowOf(text);
    assert.ok(plan.kind === "tumbling" || plan.kind === "sliding" || plan.kind === "calendar");
    assert.deepEqual(windowOf(JSON.stringify(describePaneWindow(plan))), plan);
  }
});

test("wrong windows are shown where they stand, with what to do", () => {
  const zone = "timezone: Europe/Berlin";
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      "{ offset: 1m }",
      /^test\.yaml:7: queries\.q\.window: names no kind of window; add one of tumbling, sliding, session, count, none$/,
    ],
    ["{ tumbling: 5m, sliding: 5m, every: 1m }", /is both tumbling and sliding; keep one of them$/],
    ["{ tumbling: 5m, every: 1m }", /window\.every: every goes with sliding windows; write sliding/],
    ["{ sliding: 5m }", /window\.sliding: sliding needs to know how often a window begins; add every: 1m$/],
    ["{ sliding: 5m, every: 5m }", /every is as long as the windows; write tumbling: 5m instead$/],
    ["{ sliding: 5m, every: 6m }", /every is longer than the windows/],
    ["{ sliding: 7d, every: 1s }", /more than 100000 windows; make it longer$/],
    [`{ tumbling: 1mo, ${zone}, offset: -28d }`, /offset must be below 28d/],
    ["{ tumbling: 5m, offset: --5s }", /window\.offset: must be a duration/],
    ["{ tumbling: 5 }", /must be a length of time; write it like 10s, 5m, 1h, 7d, 1w or 1mo$/],
    ["{ tumbling: 0s }", /must be from 1us to 36500d/],
    ["{ tumbling: 1.5mo }", /must be a length of time/],
    ["{ tumbling: 0mo }", /must be from 1us to 36500d, 5200w or 1200mo/],
    ["{ tumbling: 1d, timezone: Europe/Berln }", /window\.timezone: .*; did you mean `Europe\/Berlin`\?$/],
    ["{ tumbling: 1d, timezone: Berlin }", /did you mean `Europe\/Berlin`\?$/],
    ["{ tumbling: 1d, timezone: New York }", /did you mean `America\/New_York`\?$/],
    ["{ tumbling: 1d, timezone: xyzzyqq }", /write one such as Europe\/Berlin$/],
    [`{ tumbling: 5h, ${zone} }`, /does not divide a day, as it must in a calendar; write 1h, 2h/],
    [`{ tumbling: 36h, ${zone} }`, /must be whole days in a calendar; write 1d, 7d or 1mo$/],
    [`{ tumbling: 30s, ${zone} }`, /must be 1m or more in a calendar; leave out timezone$/],
    [`{ sliding: 24h, every: 1h, ${zone} }`, /every must be whole days in a calendar; write every: 1d/],
    [`{ sliding: 7d, every: 2d, ${zone} }`, /does not divide 7d/],
    [`{ sliding: 1mo, every: 1d, ${zone} }`, /must both be months or neither/],
    [`{ sliding: 1mo, every: 1mo, ${zone} }`, /write tumbling: 1mo instead$/],
    [`{ tumbling: 1mo, offset: 28d, ${zone} }`, /offset must be below 28d/],
    [`{ tumbling: 1d, offset: 1us, ${zone} }`, /offset must be whole milliseconds/],
  ];
  for (const [text, expected] of cases) {
    const [first, ...others] = problemsOf(text);
    assert.match(first ?? "", expected, text);
    assert.deepEqual(others, [], text);
  }
});

test("early results and a query's own lateness are in its plan", () => {
  const loaded = parse("{ tumbling: 5m }", "    early: 10s\n    lateness: 2m\n");
  assert.ok(loaded.ok);
  const { streams, queries } = loaded.config;
  const plan = queryPlan(queries.get("q")!, streams.get("s")!, 0);
  assert.deepEqual([plan.earlyUs, plan.latenessUs], [10 * SECOND_US, 120 * SECOND_US]);
  assert.match(
    problemsOf("{ tumbling: 5s }", "    early: 10s\n")[0] ?? "",
    /^test\.yaml:8: queries\.q\.early: .*make it shorter$/,
  );
  assert.match(
    problemsOf("{ sliding: 1h, every: 1s }", "    early: 10s\n")[0] ?? "",
    /more than 100 windows; remove it, or make every longer$/,
  );
});

test("editors know the settings", () => {
  const schema = JSON.stringify(configJsonSchema());
  for (const setting of ["tumbling", "sliding", "every", "offset", "timezone", "early", "lateness"]) {
    assert.ok(schema.includes(`"${setting}"`), setting);
  }
});
