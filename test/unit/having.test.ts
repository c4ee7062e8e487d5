import assert from "node:assert/strict";
import { test } from "node:test";
import { compileHaving } from "../../host/config/expression/compile.ts";
import { keepHaving } from "../../workers/core/having.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { Windows } from "../../workers/core/window.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { ExpressionProgram, ResultRow } from "../../workers/messages.ts";
import { packResults, unpackResults } from "../../workers/result-rows.ts";
import { parsed, streamOf } from "../support/expression-fixture.ts";
import { makePlan } from "./window-batch.ts";

const core = instantiateCore();
const SECOND = 1_000_000;

function compiledHaving(text: string): ExpressionProgram {
  const select = [
    { name: "n", fn: "count", field: null, parameter: null },
    { name: "what", fn: "last", field: "what", parameter: null },
  ] as const;
  const attempt = compileHaving({ having: parsed(text), by: ["device"], select }, streamOf(null), new Map());
  assert.ok(attempt?.ok, text);
  return attempt.value;
}

function row(device: unknown, startUs: number, values: object, rest: Partial<ResultRow> = {}): ResultRow {
  return {
    query: "q",
    startUs,
    endUs: startUs + 10 * SECOND,
    key: `{"device":${typeof device === "bigint" ? device : JSON.stringify(device)}}`,
    values: JSON.stringify(values),
    revision: 0,
    kind: "on-time",
    ...rest,
  };
}

/** Windows that give what they are told to. */
function scripted(): { windows: Windows; give: (rows: readonly ResultRow[]) => void } {
  let next: readonly ResultRow[] = [];
  const windows: Windows = {
    merge: () => ({ lateGroups: null, lateCount: 0 }),
    fire: () => next.map((given) => ({ ...given })),
    portions: () => [next.map((given) => ({ ...given }))],
    lastEndUs: () => null,
    snapshot: () => Uint8Array.of(1, 2, 3),
    restore: (snapshot) => assert.deepEqual([...snapshot], [1, 2, 3]),
    capture: {
      begin: () => Uint8Array.of(1, 2),
      next: () => null,
      savedBytes: () => 0,
      end: () => undefined,
    },
    adoption: {
      isWhole: () => true,
      begin: (head) => assert.deepEqual([...head], [1, 2]),
      head: (head) => assert.deepEqual([...head], [1, 2]),
      piece: () => undefined,
      end: () => undefined,
    },
    largestKeys: () => ({ largest: [], next: null }),
    stats: () => ({ keys: 0, panes: 0, groups: 0, bytes: 0 }),
    dispose: () => undefined,
  };
  return {
    windows,
    give: (rows) => {
      next = rows;
    },
  };
}

function filtered(
  having: string,
  latenessUs = 0,
): { fire: (rows: readonly ResultRow[], watermarkUs?: bigint) => ResultRow[]; windows: Windows } {
  const script = scripted();
  const windows = keepHaving(core, makePlan({ having: compiledHaving(having), latenessUs }), script.windows);
  return {
    windows,
    fire: (rows, watermarkUs = 0n) => {
      script.give(rows);
      return windows.fire(watermarkUs);
    },
  };
}

const passes = (having: string, rows: readonly ResultRow[]): number[] => {
  const given = filtered(having).fire(rows);
  return rows.flatMap(({ key, startUs }, index) =>
    given.some((other) => other.key === key && other.startUs === startUs) ? [index] : [],
  );
};

test("results that are not true are not given", () => {
  const rows = [
    row("a", 0, { n: 1, what: "on" }),
    row("b", 0, { n: 5, what: "off" }),
    row("c", 0, { n: null, what: null }),
  ];
  assert.deepEqual(passes("n > 1", rows), [1]);
  assert.deepEqual(passes("not (n > 1)", rows), [0]);
  assert.deepEqual(passes("n is null or what == 'on'", rows), [0, 2]);
  assert.deepEqual(passes("device in ('a', 'c')", rows), [0, 2]);
});

test("having sees the window's bounds, and keys of any type exactly", () => {
  const rows = [
    row(1, 0, { n: 1 }),
    row(9_007_199_254_740_993n, 0, { n: 1 }),
    row("1", 0, { n: 1 }),
    row(true, 0, { n: 1 }),
    row(1.5, 3_600 * SECOND, { n: 1 }),
    row(null, 0, { n: 1 }),
  ];
  assert.deepEqual(passes("device == 1", rows), [0]);
  assert.deepEqual(passes("device == 9007199254740993", rows), [1]);
  assert.deepEqual(passes("device == 9007199254740992.0", rows), []);
  assert.deepEqual(passes("device == '1'", rows), [2]);
  assert.deepEqual(passes("device", rows), [3]);
  assert.deepEqual(passes("device is null", rows), [5]);
  assert.deepEqual(passes("hour(window.start) == 1", rows), [4]);
  assert.deepEqual(passes("window.end - window.start == 10000000", rows), [0, 1, 2, 3, 4, 5]);
});

test("a revision that is no longer true withdraws what was given, once", () => {
  const { fire } = filtered("n > 1", 60 * SECOND);
  const first = row("a", 0, { n: 2 });
  assert.deepEqual(fire([first]), [first]);
  const worse = row("a", 0, { n: 1 }, { revision: 1, kind: "late" });
  assert.deepEqual(fire([worse]), [{ ...worse, values: "{}", retracted: true }]);
  assert.deepEqual(fire([{ ...worse, revision: 2 }]), []);
  const better = row("a", 0, { n: 3 }, { revision: 3, kind: "late" });
  assert.deepEqual(fire([better]), [better]);
});

test("a retraction of the windows' own is passed on where the result was given", () => {
  const { fire } = filtered("n > 1", 60 * SECOND);
  const gone = { revision: 1, retracted: true } as const;
  fire([row("a", 0, { n: 2 }), row("b", 0, { n: 1 })]);
  const retraction = row("a", 0, {}, gone);
  assert.deepEqual(fire([retraction, row("b", 0, {}, gone)]), [retraction]);
});

test("what was given is in the snapshot, and is forgotten with its window", () => {
  const before = filtered("n > 1", 5 * SECOND);
  before.fire(
    [row("b", 0, { n: 2 }), row("a", 0, { n: 2 }), row("a", 10 * SECOND, { n: 2 })],
    BigInt(12 * SECOND),
  );
  const state = before.windows.snapshot();
  const after = filtered("n > 1", 5 * SECOND);
  after.windows.restore(state);
  assert.deepEqual(after.windows.snapshot(), state);
  const worse = { revision: 1, kind: "late" } as const;
  const given = after.fire([row("b", 0, { n: 1 }, worse), row("a", 10 * SECOND, { n: 1 }, worse)]);
  assert.deepEqual(
    given.map(({ retracted }) => retracted),
    [true, true],
  );
  const closed = filtered("n > 1", 5 * SECOND);
  closed.windows.restore(state);
  closed.fire([], BigInt(100 * SECOND));
  assert.equal(closed.windows.snapshot().length, filtered("n > 1").windows.snapshot().length);
});

test("windows that close without the watermark are forgotten when the windows say so", () => {
  const script = scripted();
  let closed: readonly ResultRow[] = [];
  const windows = keepHaving(core, makePlan({ having: compiledHaving("n > 1") }), {
    ...script.windows,
    lastClosed: () => closed,
  });
  const empty = windows.snapshot().length;
  for (let window = 0; window < 50; window++) {
    const rows = [row("a", window * 10 * SECOND, { n: 2 }), row("b", window * 10 * SECOND, { n: 2 })];
    script.give(rows);
    closed = rows.slice(0, 1);
    windows.fire(-(2n ** 63n));
  }
  const kept = windows.snapshot().length;
  assert.ok(kept > empty);
  closed = Array.from({ length: 50 }, (_, window) => row("b", window * 10 * SECOND, {}));
  script.give([]);
  windows.fire(-(2n ** 63n));
  assert.equal(windows.snapshot().length, empty);
});

test("a snapshot that is none is refused", () => {
  const { windows } = filtered("n > 1");
  for (const bytes of [[], [9, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 255, 255, 0, 0]])
    assert.throws(
      () => windows.restore(Uint8Array.from(bytes)),
      (thrown) => thrown instanceof MillraceError && thrown.code === "E_CHECKPOINT_VERSION",
    );
});

test("a retraction crosses threads", () => {
  const rows = [row("a", 0, { n: 1 }), row("b", 0, {}, { retracted: true })];
  assert.deepEqual(unpackResults(packResults(rows)), rows);
});

test("what an aggregate gives is of its field's kind, and lists are no values", () => {
  const select = [
    { name: "worst", fn: "max", field: "state", parameter: null },
    { name: "hottest", fn: "max", field: "temp", parameter: null },
    { name: "on", fn: "any", field: "on", parameter: null },
    { name: "users", fn: "distinct", field: "state", parameter: null },
    { name: "top", fn: "topk", field: "state", parameter: 3 },
  ] as const;
  const stream = streamOf({ state: "string", temp: "float", on: "bool" });
  const attempt = (text: string): boolean =>
    compileHaving({ having: parsed(text), by: [], select }, stream, new Map())?.ok === true;
  for (const right of ['worst == "error"', "hottest > 90", "on", "not on and users >= 2"])
    assert.ok(attempt(right), right);
  for (const wrong of ["worst > 5", 'hottest == "hot"', "on > 1", 'users == "x"', "top == 1"])
    assert.ok(!attempt(wrong), wrong);
});
