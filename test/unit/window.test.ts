import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../../workers/core/window.ts";
import type { QueryPlan, ResultRow } from "../../workers/messages.ts";
import { makeOutputs, makePlan, type Rows, withBatch } from "./window-batch.ts";

const core = instantiateCore();
const NEVER_US = -(2n ** 63n);
const COUNT = makeOutputs({ n: ["count"] });

interface Engine {
  readonly local: LocalAggregator;
  readonly windows: Windows;
  readonly plan: QueryPlan;
  /** Merges rows under a watermark; returns how many were late. */
  send(rows: Rows, watermarkUs?: bigint): number;
}

function makeEngine(settings: Partial<QueryPlan>): Engine {
  const plan = makePlan(settings);
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  const send = (rows: Rows, watermarkUs = NEVER_US): number =>
    withBatch(core, rows, (batch) => windows.merge(local.aggregate(batch), watermarkUs).lateCount);
  return { local, windows, plan, send };
}

/** Events of devices at seconds, each with a value `v`. */
function events(...items: readonly (readonly [device: string, second: number, v?: number | null])[]): Rows {
  return {
    times: items.map(([, second]) => BigInt(second * 1_000_000)),
    columns: [
      { name: "device", kind: "text", cells: items.map(([device]) => device) },
      { name: "v", kind: "float", cells: items.map(([, , v]) => v ?? null) },
    ],
  };
}

function brief(rows: readonly ResultRow[]): string[] {
  return rows
    .map(
      ({ startUs, key, values, revision, kind }) => `${startUs / 1e6} ${key} ${values} ${revision} ${kind}`,
    )
    .toSorted();
}

test("a window fires once, when the watermark reaches its end", () => {
  const { send, windows } = makeEngine({ select: COUNT });
  send(events(["a", 0], ["a", 9.999999], ["a", 10], ["b", 5]));
  assert.deepEqual(windows.fire(9_999_999n), []);
  assert.deepEqual(brief(windows.fire(10_000_000n)), [
    '0 {"device":"a"} {"n":2} 0 on-time',
    '0 {"device":"b"} {"n":1} 0 on-time',
  ]);
  assert.deepEqual(windows.fire(10_000_000n), []);
  assert.equal(windows.lastEndUs(), 20_000_000n);
  assert.equal(windows.fire(20_000_000n).length, 1);
  assert.equal(windows.lastEndUs(), null);
});

test("rows of a window come in the order of their keys, as the store has them, whichever turned up first", () => {
  const { send, windows } = makeEngine({ select: COUNT });
  const keysAt = (watermarkUs: bigint): string[] => windows.fire(watermarkUs).map(({ key }) => key);
  send(
    events(["c", 0], ["a", 1], ["b", 2], ["b", 11], ["c", 12], ["B", 12], ["a", 13], ["b", 21], ["B", 22]),
  );
  assert.deepEqual(keysAt(10_000_000n), ['{"device":"a"}', '{"device":"b"}', '{"device":"c"}']);
  assert.deepEqual(keysAt(20_000_000n), [
    '{"device":"B"}',
    '{"device":"a"}',
    '{"device":"b"}',
    '{"device":"c"}',
  ]);
  assert.deepEqual(keysAt(30_000_000n), ['{"device":"B"}', '{"device":"b"}']);
});

test("windows before the epoch and with an offset are aligned downwards", () => {
  const { send, windows } = makeEngine({
    select: COUNT,
    window: { kind: "tumbling", sizeUs: 10_000_000, offsetUs: 3_000_000 },
  });
  send(events(["a", -7.000001], ["a", -7], ["a", 2.999999], ["a", 3]));
  assert.deepEqual(
    windows.fire(2n ** 60n).map(({ startUs, endUs, values }) => [startUs / 1e6, endUs / 1e6, values]),
    [
      [-17, -7, '{"n":1}'],
      [-7, 3, '{"n":2}'],
      [3, 13, '{"n":1}'],
    ],
  );
});

test("a late event within the lateness revises its window; after that it is refused", () => {
  const { send, windows } = makeEngine({ select: COUNT, latenessUs: 500_000 });
  send(events(["a", 1], ["b", 1]));
  windows.fire(10_000_000n);
  assert.equal(send(events(["a", 2]), 10_400_000n), 0);
  assert.deepEqual(brief(windows.fire(10_400_000n)), ['0 {"device":"a"} {"n":2} 1 late']);
  assert.deepEqual(windows.fire(10_400_000n), []);
  assert.equal(send(events(["a", 3], ["c", 3]), 10_499_999n), 0);
  assert.deepEqual(brief(windows.fire(20_000_000n)), [
    '0 {"device":"a"} {"n":3} 2 late',
    '0 {"device":"c"} {"n":1} 0 late',
  ]);
  assert.equal(send(events(["a", 4], ["a", 21]), 20_000_000n), 1);
  assert.deepEqual(brief(windows.fire(30_000_000n)), ['20 {"device":"a"} {"n":1} 0 on-time']);
});

test("a window whose first events come after its end gives revision 0 as late, also after a restart", () => {
  const { send, windows, plan } = makeEngine({ select: COUNT, latenessUs: 5_000_000 });
  send(events(["a", 1]), 12_000_000n);
  const restored = createWindows(core, plan);
  restored.restore(windows.snapshot());
  for (const engine of [windows, restored]) {
    assert.deepEqual(brief(engine.fire(12_000_000n)), ['0 {"device":"a"} {"n":1} 0 late']);
    assert.deepEqual(engine.fire(12_000_000n), []);
  }
});

test("events of one block move no window that the block's watermark then passes to late", () => {
  const { send, windows } = makeEngine({ select: COUNT });
  send(events(["a", 1], ["a", 50]), NEVER_US);
  assert.deepEqual(brief(windows.fire(50_000_000n)), ['0 {"device":"a"} {"n":1} 0 on-time']);
});

test("the rows of refused groups, and no others, are found in their batch", () => {
  const { local, windows } = makeEngine({ select: COUNT });
  const rows: Rows = {
    ...events(["a", 1], ["b", 12], ["a", 3], ["a", 15], ["c", 1]),
    flags: [0, 0, 0, 0, 1],
  };
  withBatch(core, rows, (batch) => {
    const { lateGroups, lateCount } = windows.merge(local.aggregate(batch), 10_000_000n);
    assert.equal(lateCount, 2);
    assert.deepEqual([...local.maskLate(batch, lateGroups!)], [1, 0, 1, 0, 0]);
    assert.deepEqual([...local.maskLate(batch, new Uint8Array([1, 2, 3]))], [0, 0, 0, 0, 0]);
  });
  assert.deepEqual(windows.stats().groups, 2);
});

test("clock-skewed events are in no window", () => {
  const { send, windows } = makeEngine({ select: "*" });
  send({ ...events(["a", 1, 5], ["a", 2, 7]), flags: [0, 1] });
  assert.deepEqual(brief(windows.fire(2n ** 60n)), [
    '0 {"device":"a"} {"count":1,"v_avg":5,"v_min":5,"v_max":5} 0 on-time',
  ]);
});

test("keys of every type have their JSON; whole floats and ints are one key", () => {
  const { send, windows } = makeEngine({ select: COUNT, by: [["k"]] });
  const cells = {
    text: ['q"\n', "", null],
    int: [7n, -(2n ** 63n), null],
    float: [7, 0.5, -0],
    bool: [true, false, null],
  };
  for (const kind of ["text", "int", "float", "bool"] as const) {
    send({ times: [0n, 0n, 0n], columns: [{ name: "k", kind, cells: cells[kind] }] });
  }
  send({ times: [0n], columns: [] });
  assert.deepEqual(
    brief(windows.fire(2n ** 60n)),
    [
      '0 {"k":""} {"n":1} 0 on-time',
      '0 {"k":"q\\"\\n"} {"n":1} 0 on-time',
      '0 {"k":-9223372036854775808} {"n":1} 0 on-time',
      '0 {"k":0.5} {"n":1} 0 on-time',
      '0 {"k":0} {"n":1} 0 on-time',
      '0 {"k":7} {"n":2} 0 on-time',
      '0 {"k":false} {"n":1} 0 on-time',
      '0 {"k":null} {"n":4} 0 on-time',
      '0 {"k":true} {"n":1} 0 on-time',
    ].toSorted(),
  );
});

test("a slot of several candidates takes the first that is there, and is left out when none is", () => {
  const { send, windows } = makeEngine({ select: COUNT, by: [["device", "id"], ["site"]] });
  send({
    times: [0n, 0n, 0n],
    columns: [
      { name: "id", kind: "int", cells: [1n, 2n, null] },
      { name: "device", kind: "text", cells: ["x", null, null] },
      { name: "site", kind: "text", cells: [null, "s", "s"] },
    ],
  });
  assert.deepEqual(
    windows.fire(2n ** 60n).map(({ key }) => key),
    ['{"device":"x","site":null}', '{"id":2,"site":"s"}', '{"site":"s"}'],
  );
});

test("without a key there is one group", () => {
  const { send, windows } = makeEngine({ select: COUNT, by: [] });
  send(events(["a", 1], ["b", 2]));
  assert.deepEqual(brief(windows.fire(2n ** 60n)), ['0 {} {"n":2} 0 on-time']);
});

test('"*" takes fields as they turn up, in the order of their names, and leaves out those without a value', () => {
  const { send, windows, plan } = makeEngine({ select: "*" });
  const at = (
    name: string,
    kind: "int" | "float" | "text" | "bool",
    cell: number | string | boolean,
  ): Rows => ({
    times: [0n],
    columns: [
      { name: "device", kind: "text", cells: ["a"] },
      { name, kind, cells: [cell] },
    ],
  });
  send(at("z", "int", 3));
  send({ times: [0n], columns: [{ name: "device", kind: "text", cells: ["b"] }] });
  send(at("name", "text", "x"));
  send(at("on", "bool", true));
  const snapshot = windows.snapshot();
  send(at("b", "float", 0.5));
  const expected = [
    '0 {"device":"a"} {"count":4,"b_avg":0.5,"b_min":0.5,"b_max":0.5,"z_avg":3,"z_min":3,"z_max":3} 0 on-time',
    '0 {"device":"b"} {"count":1} 0 on-time',
  ];
  assert.deepEqual(brief(windows.fire(2n ** 60n)), expected);
  const restored = createWindows(core, plan);
  restored.restore(snapshot);
  assert.ok(!restored.fire(2n ** 60n).some(({ values }) => values.includes("b_avg")));
});

test("a damaged, foreign or newer snapshot is refused and changes nothing", () => {
  const { send, windows } = makeEngine({ select: makeOutputs({ q: ["quantile", "v", 0.5] }) });
  send(events(["a", 1, 5], ["b", 2, 6]));
  const snapshot = windows.snapshot();
  const damaged = Array.from({ length: snapshot.length }, (_, index) => {
    const copy = snapshot.slice();
    copy[index]! ^= 0x10;
    return copy;
  });
  const cut = Array.from({ length: snapshot.length }, (_, length) => snapshot.slice(0, length));
  const other = makeEngine({ select: makeOutputs({ m: ["avg", "v"] }) });
  for (const bytes of [...damaged, ...cut, other.windows.snapshot()]) {
    assert.throws(() => windows.restore(bytes), { code: "E_CHECKPOINT_VERSION" });
  }
  assert.deepEqual(windows.snapshot(), snapshot);
  assert.throws(() => windows.merge(new Uint8Array([9, 0, 0, 0]), NEVER_US), { code: "E_PARTIAL_VERSION" });
  assert.throws(() => windows.merge(new Uint8Array(0), NEVER_US), { code: "E_PARTIAL_VERSION" });
});

test("keys that nobody sends any more are let go", () => {
  const { send, windows } = makeEngine({ select: COUNT });
  let sizeBytes = 0;
  for (let round = 0; round < 60; round++) {
    const items = Array.from(
      { length: 1_000 },
      (_, i) => [`round-${round}-device-${i}`, round * 10] as const,
    );
    send(events(["steady", round * 10], ...items));
    const rows = windows.fire(BigInt(round * 10_000_000));
    assert.equal(rows.length, round === 0 ? 0 : 1_001);
    assert.ok(rows.every(({ key }) => key === '{"device":"steady"}' || key.includes(`round-${round - 1}-`)));
    assert.equal(windows.stats().keys, 1_001);
    if (round === 25) sizeBytes = windows.stats().bytes;
  }
  assert.ok(windows.stats().bytes <= sizeBytes * 2);
});
