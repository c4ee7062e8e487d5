import assert from "node:assert/strict";
import { test } from "node:test";
import type { ResultRow } from "../../workers/messages.ts";
import { recordLoss } from "../../workers/store/ledger.ts";
import { CorrectedSessions } from "../support/corrected-sessions.ts";
import { computeSessions, computeWindows, type OracleEvent, type OracleWindow } from "../support/oracle.ts";
import { Random } from "../support/random.ts";
import { StoredNode } from "../support/stored-node.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 60);
const SECOND_US = 1_000_000;
const MAX_AHEAD_US = 30 * SECOND_US;
const START_US = 1_767_225_600 * SECOND_US;

interface Event {
  readonly device: string;
  readonly ts: number;
  readonly v: number;
}

const SELECT = "select: { n: count(), total: sum(v), high: max(v), end: last(v) }";

function configOf(
  per: string,
  boundUs: number,
  latenessUs: number,
  gapUs: number,
  maxAhead = "36500d",
): string {
  const above =
    per === "key"
      ? ""
      : `
  over_tumbling: { from: tumbling, window: { tumbling: 1m }, by: [device], select: { n: count(), total: sum(total), high: max(high), end: last(end) } }
  over_over: { from: over_tumbling, window: { tumbling: 3m }, by: [], select: { n: count(), total: sum(total), high: max(high), end: last(n) } }
  over_sessions: { from: sessions, window: { tumbling: 1m }, by: [device], select: { n: count(), total: sum(total), high: max(high), end: last(n) } }
  sessions_over: { from: tumbling, window: { session: 25s }, by: [device], select: { n: count(), total: sum(total), high: max(high), end: last(end) } }`;
  return `
streams:
  s:
    key: device
    time: { field: ts, unit: us }
    watermark: { bound: ${boundUs}us, per: ${per}, idle: 3650d, maxAhead: ${maxAhead} }
    lateness: ${latenessUs}us
queries:
  tumbling: { from: s, window: { tumbling: 10s, offset: 3s }, by: [device], ${SELECT} }
  sliding: { from: s, window: { sliding: 30s, every: 7s }, by: [device], ${SELECT} }
  sessions: { from: s, window: { session: ${gapUs}us }, by: [device], ${SELECT} }
  warm: { from: s, where: v > 0, window: { session: ${gapUs}us }, by: [device], having: total > 60, ${SELECT} }
  counts: { from: s, window: { count: 3 }, by: [device], ${SELECT} }
  each: { from: s, window: none, by: [device], ${SELECT} }
  days: { from: s, window: { tumbling: 1h, timezone: Europe/Berlin }, by: [device], ${SELECT} }${above}
`.replaceAll(/(\d+)us/g, (_, us: string) => `${Number(us) / 1_000}ms`);
}

/** With no other windows an event that a session takes in is not late at all, and may leave a piece of a session alone. */
function onlySessions(config: string): string {
  const others = /^ {2}(?:tumbling|sliding|counts|each|days|over_tumbling|over_over|sessions_over): .*\n/gm;
  return config.replaceAll(others, "");
}

/** As `{n, total, high, end}` by window and key. */
function expectedOf(windows: readonly OracleWindow[]): Map<string, unknown> {
  return new Map(
    windows.map(({ key, startUs, endUs, events, sum, max, last }) => [
      `${startUs} ${endUs} ${key}`,
      { n: events, total: sum, high: max, end: last },
    ]),
  );
}

function foundOf(rows: readonly ResultRow[]): Map<string, unknown> {
  return new Map(
    rows.map(({ startUs, endUs, key, values }) => {
      const { device = "all" } = JSON.parse(key) as { device?: string };
      return [`${startUs} ${endUs} ${device}`, JSON.parse(values)];
    }),
  );
}

function assertSame(found: Map<string, unknown>, expected: Map<string, unknown>, what: string): void {
  const sorted = (map: Map<string, unknown>): unknown[] => [...map].toSorted(([a], [b]) => (a < b ? -1 : 1));
  assert.deepEqual(sorted(found), sorted(expected), what);
}

type Rows = ReadonlyMap<string, ReadonlyMap<string, unknown>>;

function assertAlike(found: Rows, expected: Rows, what: string): void {
  for (const [query, rows] of expected)
    assertSame(new Map(found.get(query)), new Map(rows), `${query}, ${what}`);
}

/** Results as the events of another query: at the last µs of their windows. */
function resultsAsEvents(windows: readonly OracleWindow[], value: (window: OracleWindow) => number | null) {
  return windows.map((window) => ({ key: window.key, timeUs: window.endUs - 1, value: value(window) }));
}

interface Scenario {
  readonly blocks: readonly { readonly arrivalUs: number; readonly events: readonly Event[] }[];
  readonly per: "stream" | "source" | "key";
  readonly boundUs: number;
  readonly latenessUs: number;
  readonly gapUs: number;
  /** Some events are further ahead of their arrival than is allowed. */
  readonly hasSkew: boolean;
}

function makeScenario(random: Random): Scenario {
  let nowUs = START_US;
  const hasSkew = random.chance(0.5);
  // Few late events leave sessions in the pieces that the live windows gave.
  const [share, mostSeconds] = random.pick([
    [0.4, 200],
    [0.1, 40],
  ] as const);
  const blocks = Array.from({ length: random.integer(2, 12) }, () => {
    const events = Array.from({ length: random.integer(1, 9) }, () => {
      nowUs += random.integer(0, 9) * SECOND_US;
      const agoUs = random.chance(share) ? random.integer(0, mostSeconds) * SECOND_US : 0;
      return { device: `d${random.integer(0, 2)}`, ts: nowUs - agoUs, v: random.integer(-50, 50) };
    });
    // Where there are others, in time.
    const ahead = (): number => nowUs + MAX_AHEAD_US + random.integer(1, 300) * SECOND_US;
    const isAhead = (): boolean => hasSkew && random.chance(0.1);
    return {
      arrivalUs: nowUs,
      events: events.map((event) => (isAhead() ? { ...event, ts: ahead() } : event)),
    };
  });
  return {
    blocks,
    hasSkew,
    per: random.pick(["stream", "source", "key"] as const),
    boundUs: random.pick([0, 5 * SECOND_US]),
    latenessUs: random.pick([0, 5 * SECOND_US]),
    gapUs: random.pick([4, 11, 30]) * SECOND_US,
  };
}

/**
 * The results of all events, had all come in time; of sessions, and what is over them, see `CorrectedSessions`.
 * `sessions`: as they are stored.
 */
function expectedResults(
  asked: readonly OracleEvent[],
  sessions: readonly OracleWindow[],
  per: string,
): Map<string, Map<string, unknown>> {
  const tumbling = computeWindows(asked, 10 * SECOND_US, 3 * SECOND_US);
  const results = new Map<string, Map<string, unknown>>([
    ["tumbling", expectedOf(tumbling)],
    ["days", expectedOf(computeWindows(asked, 3_600 * SECOND_US))],
  ]);
  if (per === "key") return results;
  // Of the windows below: how many, and the sum, the greatest and the last of theirs, each by itself.
  type Value = (window: OracleWindow) => number | null;
  const over = (
    below: readonly OracleWindow[],
    compute: (events: OracleEvent[]) => OracleWindow[],
    end: Value,
    keyOf: (key: string) => string = (key) => key,
  ): OracleWindow[] => {
    const of = (value: Value): Map<string, OracleWindow> =>
      new Map(
        compute(resultsAsEvents(below, value).map((event) => ({ ...event, key: keyOf(event.key) }))).map(
          (window) => [`${window.startUs} ${window.endUs} ${window.key}`, window],
        ),
      );
    const [highs, ends] = [of(({ max }) => max), of(end)];
    return [...of(({ sum }) => sum)].map(([id, window]) => ({
      ...window,
      max: highs.get(id)!.max,
      last: ends.get(id)!.last,
    }));
  };
  const minutes = over(
    tumbling,
    (list) => computeWindows(list, 60 * SECOND_US),
    ({ last }) => last,
  );
  results.set("over_tumbling", expectedOf(minutes));
  results.set(
    "over_over",
    expectedOf(
      over(
        minutes,
        (list) => computeWindows(list, 180 * SECOND_US),
        ({ events: n }) => n,
        () => "all",
      ),
    ),
  );
  results.set(
    "over_sessions",
    expectedOf(
      over(
        sessions,
        (list) => computeWindows(list, 60 * SECOND_US),
        ({ events: n }) => n,
      ),
    ),
  );
  results.set(
    "sessions_over",
    expectedOf(
      over(
        tumbling,
        (list) => computeSessions(list, 25 * SECOND_US),
        ({ last }) => last,
      ),
    ),
  );
  return results;
}

test(`${RUNS} streams: once late events are applied, results are those of all events in time`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let lateEvents = 0;
  let merged = 0;
  let waited = 0;
  let skewedEvents = 0;
  let pieces = 0;
  for (let run = 0; run < RUNS; run++) {
    const { blocks, per, boundUs, latenessUs, gapUs, hasSkew } = makeScenario(random);
    const config = configOf(per, boundUs, latenessUs, gapUs, hasSkew ? "30s" : "36500d");
    const hasOthers = random.chance(0.6);
    const node = new StoredNode(makeTempDir(context), hasOthers ? config : onlySessions(config));
    const sessions = new CorrectedSessions(node, { per, boundUs, latenessUs, gapUs });
    const isSkewed = ({ ts }: Event, arrivalUs: number): boolean => hasSkew && ts > arrivalUs + MAX_AHEAD_US;
    const message = `run ${run}, per ${per}`;
    for (const [index, { arrivalUs, events }] of blocks.entries()) {
      node.send(events, arrivalUs);
      sessions.take(events, (event) => isSkewed(event, arrivalUs));
      // Some of it written, some lost in a crash, some left for later.
      if (!random.chance(0.3)) continue;
      const isWritten = random.chance(0.7);
      // Which skewed ones are taken in is for all queries to say.
      const includesSkewed = random.chance(0.2);
      const expected = isWritten ? sessions.corrected(false) : sessions.stored();
      const { waitingEvents } = await node.applyLate(includesSkewed, () => isWritten);
      waited += waitingEvents;
      if (!isWritten || !includesSkewed)
        assertAlike(sessions.stored(), expected, `${message}, after block ${index}`);
    }
    const all = blocks.flatMap(({ events }) => events);
    const greatest = Math.max(...all.map(({ ts }) => ts));
    // An end is that of all that has counted.
    if (per === "key" || hasSkew) node.watermark(greatest + 10_000 * SECOND_US);
    else node.watermark("end");
    sessions.end();
    const counts = node.results("counts", "all");
    const each = node.results("each", "all");
    for (const includesSkewed of hasSkew ? [false, true] : [false]) {
      const slides = foundOf(node.results("sliding"));
      lateEvents += node.late().reduce((sum, { count, isApplied }) => sum + (isApplied ? 0 : count), 0);
      const expected = sessions.corrected(includesSkewed);
      await node.applyLate(includesSkewed);
      const what = `${message}, skewed ones ${includesSkewed}`;
      assertAlike(sessions.stored(), expected, what);
      const events = sessions.check(what);
      for (const [query, rows] of expectedResults(events, sessions.windows(), per))
        if (hasOthers || query === "over_sessions")
          assertSame(foundOf(node.results(query)), rows, `${query}, ${what}`);
      const left = node.late().filter(({ isApplied }) => !isApplied);
      assert.ok(
        left.every(({ reason }) => reason === "clock-skew" && !includesSkewed),
        what,
      );
      skewedEvents += left.reduce((sum, { count }) => sum + count, 0);
      checkSliding(slides, foundOf(node.results("sliding")), events, what);
      assert.deepEqual(node.results("counts", "all"), counts);
      assert.deepEqual(node.results("each", "all"), each);
      const again = await node.applyLate(includesSkewed);
      assert.deepEqual([again.events, again.revisions, again.waitingEvents], [0, 0, 0], what);
    }
    pieces += sessions.pieces;
    merged += node.results("sessions", "all").filter(({ retracted }) => retracted).length;
    node.close();
  }
  context.diagnostic(`${lateEvents} late and ${skewedEvents} skewed events, ${pieces} pieces of sessions`);
  assert.ok(RUNS < 400 || pieces > 0, "no session was left in pieces");
  assert.ok(merged > 0 && waited > 0, `${merged} sessions became others, ${waited} events waited`);
  assert.ok(RUNS < 20 || skewedEvents > RUNS / 4, `${skewedEvents} skewed events`);
  assert.ok(lateEvents > RUNS, `${lateEvents} late events`);
});

/** A window that was corrected has all its events; one that was not may lack events that counted in later windows. */
function checkSliding(
  before: Map<string, unknown>,
  after: Map<string, unknown>,
  asked: readonly OracleEvent[],
  message: string,
): void {
  const whole = expectedOf(computeWindows(asked, 30 * SECOND_US, 0, 7 * SECOND_US));
  for (const [id, values] of after) {
    if (JSON.stringify(values) !== JSON.stringify(before.get(id)))
      assert.deepEqual(values, whole.get(id), `sliding ${id}, ${message}`);
  }
}

test("a window whose events are not all held any more stays as it is; others are corrected", async (context) => {
  const node = new StoredNode(makeTempDir(context), configOf("stream", 0, 0, 4 * SECOND_US));
  const at = (second: number) => ({ device: "d0", ts: START_US + second * SECOND_US, v: second });
  node.send([at(5), at(6)], START_US);
  node.send([at(10_000)], START_US);
  node.watermark("end");
  const streamId = 1;
  const lost = {
    fromUs: at(5).ts,
    toUs: at(6).ts,
    count: 1,
    bytes: 1,
    reason: "given-up",
    atUs: at(6).ts,
  } as const;
  recordLoss(node.store.sql, { streamId, ...lost });
  const before = node.results("tumbling");
  node.send([at(7)], START_US);
  node.send([at(4_000)], START_US);
  const { events, unreadableEvents } = await node.applyLate();
  assert.deepEqual([events, unreadableEvents], [1, 1]);
  const after = foundOf(node.results("tumbling"));
  for (const [id, values] of foundOf(before)) assert.deepEqual(after.get(id), values);
  assert.equal(after.size, before.length + 1);
  assert.deepEqual(
    node.late().map(({ isApplied }) => isApplied),
    [false, true],
  );
  node.close();
});
