import assert from "node:assert/strict";
import { test } from "node:test";
import { createRowProgram, withExpressions } from "../../workers/core/expression.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { Tables } from "../../workers/core/tables.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { QueryPlan } from "../../workers/messages.ts";
import {
  batchOf,
  type Columns,
  compiled,
  disposeBatch,
  evaluate,
  streamOf,
  viewWithin,
} from "../support/expression-fixture.ts";
import type { Value } from "../support/expression-interpreter.ts";
import { makeOutputs, makePlan } from "./window-batch.ts";

const core = instantiateCore();
const NOON = 1_767_268_800_123_456n; // 2026-01-01T12:00:00.123456Z, a Thursday
const BEFORE_ALL = -(2n ** 63n);

/** The value of an expression for one event with these fields, all of them inferred. */
function resultOf(text: string, fields: Readonly<Record<string, Value>> = {}): Value {
  const types = { boolean: "bool", bigint: "int", number: "float", string: "string" } as const;
  const columns: Columns = Object.fromEntries(
    Object.entries(fields).map(([name, value]) => {
      const type = types[typeof value as keyof typeof types] ?? "float";
      return [name, { type, values: [value] }];
    }),
  );
  return evaluate(core, text, streamOf(null), [NOON], columns)[0] ?? null;
}

test("three-valued logic is that of SQL", () => {
  const three: readonly (boolean | null)[] = [true, false, null];
  for (const a of three) {
    for (const b of three) {
      const fields = { a, b };
      assert.equal(
        resultOf("a and b", fields),
        a === false || b === false ? false : a === null || b === null ? null : true,
      );
      assert.equal(
        resultOf("a or b", fields),
        a === true || b === true ? true : a === null || b === null ? null : false,
      );
      assert.equal(resultOf("a == b", fields), a === null || b === null ? null : a === b);
    }
    assert.equal(resultOf("not a", { a }), a === null ? null : !a);
    assert.equal(resultOf("a is null", { a }), a === null);
    assert.equal(resultOf("a == null", { a }), a === null);
    assert.equal(resultOf("a != null", { a }), a !== null);
  }
  assert.equal(resultOf("x in (1, y)", { x: 2n }), null);
  assert.equal(resultOf("x in (2, y)", { x: 2n }), true);
  assert.equal(resultOf("x between 3 and y", { x: 2n }), false);
  assert.equal(resultOf("if(x > 1, 1, 2)"), 2n);
  assert.equal(resultOf("coalesce(x, y, 3)", { y: 2n }), 2n);
});

test("whole numbers are exact, and null beyond 64 bits", () => {
  const greatest = 2n ** 63n - 1n;
  const least = -(2n ** 63n);
  assert.equal(resultOf("x + 1", { x: 2n ** 53n }), 2n ** 53n + 1n);
  assert.equal(resultOf("x + 1", { x: greatest }), null);
  assert.equal(resultOf("x - 1", { x: least }), null);
  assert.equal(resultOf("x * 2", { x: 2n ** 62n }), null);
  assert.equal(resultOf("x * 3037000499", { x: 3_037_000_499n }), 3_037_000_499n ** 2n);
  assert.equal(resultOf("x * -1", { x: least }), null);
  assert.equal(resultOf("-x", { x: least }), null);
  assert.equal(resultOf("abs(x)", { x: least }), null);
  assert.equal(resultOf("x % -1", { x: least }), 0n);
  assert.equal(resultOf("x % 3", { x: -7n }), -1n);
  assert.equal(resultOf("x / 2", { x: 7n }), 3.5);
  assert.equal(resultOf("x + 0.0", { x: greatest }), 2 ** 63);
  assert.equal(resultOf("x < 9223372036854775808.0", { x: greatest }), true);
  assert.equal(resultOf("x == 9007199254740992.0", { x: 2n ** 53n + 1n }), false);
});

test("what is no finite number is null", () => {
  for (const text of [
    "x / 0",
    "x % 0",
    "x / 0.0",
    "sqrt(-1)",
    "ln(0)",
    "exp(1000)",
    "1e308 * 10",
    "pow(0, -1)",
  ])
    assert.equal(resultOf(text, { x: 1n }), null, text);
});

test("a value of a wrong kind is null, an event without the field has null", () => {
  assert.equal(resultOf("x + 1", { x: "7" }), null);
  assert.equal(resultOf("x > 1", { x: true }), null);
  assert.equal(resultOf('x == "1"', { x: 1n }), null);
  assert.equal(resultOf("upper(x)", { x: 1n }), null);
  assert.equal(resultOf("coalesce(x, 5)", { x: "seven" }), 5n);
  assert.equal(resultOf("missing + 1"), null);
  assert.equal(resultOf("not x", { x: 1n }), null);
});

test("texts", () => {
  assert.equal(resultOf('concat(site, "/", n, "/", on)', { site: "Ü", n: 7n, on: true }), "Ü/7/true");
  assert.equal(resultOf("string(x)", { x: 0.1 }), "0.1");
  assert.equal(resultOf("upper(x)", { x: "größe" }), "GRÖẞE");
  assert.equal(resultOf("lower(x)", { x: "ÀÉΣЖ" }), "àéσж");
  assert.equal(resultOf("length(x)", { x: "é😀" }), 2n);
  assert.equal(resultOf('x like "p*-??"', { x: "press-é1" }), true);
  assert.equal(resultOf('x like "*a*b*c"', { x: "aXbXbX" }), false);
  assert.equal(resultOf('x not like "*"', { x: "" }), false);
  assert.equal(resultOf('x < "b" and x > "A"', { x: "a" }), true);
  assert.equal(
    resultOf('starts_with(x, "ab") and ends_with(x, "yz") and contains(x, "m")', { x: "abmyz" }),
    true,
  );
});

test("time parts are those of UTC, before 1970 too", () => {
  assert.equal(resultOf("year()"), 2026n);
  assert.equal(resultOf("month(ts)"), 1n);
  assert.equal(resultOf("day()"), 1n);
  assert.equal(resultOf("hour()"), 12n);
  assert.equal(resultOf("minute()"), 0n);
  assert.equal(resultOf("second(ts + 59000000)"), 59n);
  assert.equal(resultOf("weekday()"), 4n);
  assert.equal(resultOf("event_time()"), NOON);
  assert.equal(resultOf('ts >= time("2026-01-01T13:00:00.5+01:00")'), false);
  assert.equal(resultOf('time("1969-12-31T23:59:59.999999Z")'), -1n);
  assert.equal(resultOf("year(-1)"), 1969n);
  assert.equal(resultOf("hour(-1)"), 23n);
  assert.equal(resultOf("weekday(-1)"), 3n);
  assert.equal(resultOf('day(time("2024-02-29T00:00:00Z"))'), 29n);
});

test("a derived field may use those before it and may stand for a field of its name", () => {
  const program = createRowProgram(
    core,
    compiled({ derive: { a: "v * 2", v: "v + 1", b: "a + v" }, where: "b > 5" }, streamOf(null)),
  );
  const batch = batchOf(core, [0n, 0n, 0n], {
    v: { type: "int", values: [1n, 2n, null] },
    w: { type: "int", values: [7n, 8n, 9n] },
  });
  const { columns, isDropped } = viewWithin(core, program, batch);
  assert.deepEqual(columns.get("a"), [2n, 4n, null]);
  assert.deepEqual(columns.get("v"), [2n, 3n, null]);
  assert.deepEqual(columns.get("b"), [4n, 7n, null]);
  assert.deepEqual(isDropped, [true, false, true]);
  const plain = createRowProgram(core, compiled({ where: "true" }, streamOf(null)));
  const after = viewWithin(core, plain, batch);
  assert.deepEqual(
    [...after.columns],
    [
      ["v", [1n, 2n, null]],
      ["w", [7n, 8n, 9n]],
    ],
  );
  assert.deepEqual(after.isDropped, [false, false, false]);
  plain.dispose();
  program.dispose();
  disposeBatch(core, batch);
});

test("windows are grouped by derived texts, bools and numbers", () => {
  const expressions = compiled(
    { derive: { class: 'if(v > 10, "high", "low")', odd: "v % 2 == 1", tens: "floor(v / 10)" } },
    streamOf(null),
  );
  for (const [by, expected] of [
    ["class", ['{"class":"high"} {"n":1}', '{"class":"low"} {"n":2}']],
    ["odd", ['{"odd":false} {"n":1}', '{"odd":true} {"n":2}']],
    ["tens", ['{"tens":0} {"n":2}', '{"tens":1} {"n":1}']],
  ] as const) {
    const plan = makePlan({ select: makeOutputs({ n: ["count"] }), by: [[by]], expressions });
    assert.deepEqual(run(plan, [0n, 1n, 2n], { v: { type: "int", values: [1n, 4n, 11n] } }), expected);
  }
});

test("derived texts and bools are aggregated as fields are", () => {
  const plan = makePlan({
    select: makeOutputs({
      last: ["last", "class"],
      least: ["min", "class"],
      any: ["any", "hot"],
      kinds: ["distinct", "class"],
    }),
    by: [],
    expressions: compiled(
      { derive: { hot: "v > 10", class: 'concat(if(hot, "high", "low"), "-", v)' } },
      streamOf(null),
    ),
  });
  assert.deepEqual(run(plan, [0n, 1n, 2n], { v: { type: "int", values: [1n, 11n, null] } }), [
    '{} {"last":"high-11","least":"high-11","any":true,"kinds":2}',
  ]);
});

test("a dropped event is in no window, and not late", () => {
  const plan = makePlan({
    select: makeOutputs({ n: ["count"] }),
    by: [],
    expressions: compiled({ where: 'state != "off"' }, streamOf(null)),
  });
  const local = withExpressions(core, plan, createLocal(core, plan), new Tables(core));
  const windows = createWindows(core, plan);
  const batch = batchOf(core, [0n, 1n, 2n], { state: { type: "string", values: ["on", "off", null] } });
  const { lateCount, lateGroups } = windows.merge(local.aggregate(batch), 10n ** 9n);
  assert.equal(lateCount, 1);
  assert.deepEqual([...local.maskLate(batch, lateGroups!)], [1, 0, 0]);
  windows.dispose();
  local.dispose();
  disposeBatch(core, batch);
});

test("programs run over batches of any size, one after the other", () => {
  const program = createRowProgram(
    core,
    compiled({ where: "i % 3 == 0", derive: { t: 'concat("n", i)', x: "i / 4" } }, streamOf(null)),
  );
  for (const rows of [1, 15, 16, 17, 1_023, 1_024, 1_025, 5_000, 3, 0]) {
    const values = Array.from({ length: rows }, (_, row) => BigInt(row));
    const batch = batchOf(core, values, { i: { type: "int", values } });
    const { columns, isDropped } = viewWithin(core, program, batch);
    assert.deepEqual(
      columns.get("t") ?? [],
      values.map((value) => `n${value}`),
    );
    assert.deepEqual(
      columns.get("x") ?? [],
      values.map((value) => Number(value) / 4),
    );
    assert.deepEqual(
      isDropped,
      values.map((value) => value % 3n !== 0n),
    );
    disposeBatch(core, batch);
  }
  program.dispose();
});

function run(plan: QueryPlan, times: readonly bigint[], columns: Columns): string[] {
  const local = withExpressions(core, plan, createLocal(core, plan), new Tables(core));
  const windows = createWindows(core, plan);
  const batch = batchOf(core, times, columns);
  windows.merge(local.aggregate(batch), BEFORE_ALL);
  const rows = windows.fire(10n ** 12n).map(({ key, values }) => `${key} ${values}`);
  windows.dispose();
  local.dispose();
  disposeBatch(core, batch);
  return rows.toSorted();
}
