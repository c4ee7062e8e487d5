import assert from "node:assert/strict";
import { test } from "node:test";
import { parseSelect } from "../../host/config/select.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type Windows } from "../../workers/core/window.ts";
import type { Output } from "../../workers/messages.ts";
import { type ColumnKind, makePlan, type Rows, withBatch } from "./window-batch.ts";

const core = instantiateCore();
type Cells = Rows["columns"][number]["cells"];

/** Batches of one column, each of one type. Times in µs; default: 0, 1, 2 … */
interface Part {
  readonly kind: ColumnKind;
  readonly cells: Cells;
  readonly times?: readonly bigint[];
}

function outputOf(call: string): Output {
  const parsed = parseSelect(call);
  assert.ok(parsed.ok, call);
  return { name: call, ...parsed.expression };
}

function withWindows<T>(calls: readonly string[], parts: readonly Part[], use: (windows: Windows) => T): T {
  const plan = makePlan({ by: [], select: calls.map(outputOf) });
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  for (const { kind, cells, times } of parts) {
    const rows: Rows = {
      times: times ?? cells.map((_, index) => BigInt(index)),
      columns: [{ name: "x", kind, cells }],
    };
    withBatch(core, rows, (batch) => windows.merge(local.aggregate(batch), 0n));
  }
  const used = use(windows);
  local.dispose();
  windows.dispose();
  return used;
}

/** The results by call, as JSON texts. */
function results(calls: readonly string[], ...parts: readonly Part[]): Record<string, string> {
  const text = withWindows(calls, parts, (windows) => windows.fire(2n ** 60n)[0]!.values);
  const values = JSON.parse(text, (_, value: unknown, context?: { source?: string }) =>
    typeof value === "number" ? { source: context?.source } : value,
  ) as Record<string, unknown>;
  const show = (value: unknown): string => JSON.stringify(value).replaceAll(/\{"source":"([^"]*)"\}/g, "$1");
  return Object.fromEntries(Object.entries(values).map(([call, value]) => [call, show(value)]));
}

const EVERY_CALL = [
  "count(x)",
  "min(x)",
  "max(x)",
  "first(x)",
  "last(x)",
  "any(x)",
  "all(x)",
  "distinct(x)",
  "topk(x, 2)",
  "mode(x)",
  "histogram(x, 1)",
  "delta(x)",
  "rate(x)",
  "twa(x)",
  "twa(x, step)",
  "integral(x)",
];

test("over nothing, counts are 0, lists are empty, the rest is null", () => {
  for (const kind of ["float", "int", "bool", "text"] as const) {
    const nothing = results(EVERY_CALL, { kind, cells: [null, null] });
    for (const call of EVERY_CALL) {
      const expected =
        call === "count(x)" || call === "distinct(x)"
          ? "0"
          : call === "topk(x, 2)"
            ? "[]"
            : call === "histogram(x, 1)"
              ? '{"bounds":[1],"counts":[0,0]}'
              : "null";
      assert.equal(nothing[call], expected, `${call} of ${kind}`);
    }
  }
});

test("over strings, what is of numbers or bools is as over nothing", () => {
  assert.deepEqual(results(EVERY_CALL, { kind: "text", cells: ["b", null, "", "b"] }), {
    "count(x)": "3",
    "min(x)": '""',
    "max(x)": '"b"',
    "first(x)": '"b"',
    "last(x)": '"b"',
    "any(x)": "null",
    "all(x)": "null",
    "distinct(x)": "2",
    "topk(x, 2)": '[{"value":"b","count":2},{"value":"","count":1}]',
    "mode(x)": '"b"',
    "histogram(x, 1)": '{"bounds":[1],"counts":[0,0]}',
    "delta(x)": "null",
    "rate(x)": "null",
    "twa(x)": "null",
    "twa(x, step)": "null",
    "integral(x)": "null",
  });
});

test("one value", () => {
  assert.deepEqual(results(EVERY_CALL, { kind: "float", cells: [1] }), {
    "count(x)": "1",
    "min(x)": "1",
    "max(x)": "1",
    "first(x)": "1",
    "last(x)": "1",
    "any(x)": "null",
    "all(x)": "null",
    "distinct(x)": "1",
    "topk(x, 2)": '[{"value":1,"count":1}]',
    "mode(x)": "1",
    "histogram(x, 1)": '{"bounds":[1],"counts":[0,1]}',
    "delta(x)": "0",
    "rate(x)": "null",
    "twa(x)": "1",
    "twa(x, step)": "1",
    "integral(x)": "0",
  });
});

test("bools stay bools alone, and are 0 and 1 beside numbers", () => {
  const calls = ["min(x)", "max(x)", "first(x)", "last(x)", "any(x)", "all(x)", "mode(x)", "distinct(x)"];
  const bools: Part = { kind: "bool", cells: [true, false, true], times: [0n, 1n, 2n] };
  assert.deepEqual(results(calls, bools), {
    "min(x)": "false",
    "max(x)": "true",
    "first(x)": "true",
    "last(x)": "true",
    "any(x)": "true",
    "all(x)": "false",
    "mode(x)": "true",
    "distinct(x)": "2",
  });
  const numbers: Part = { kind: "int", cells: [-5n, 1n], times: [9n, 10n] };
  assert.deepEqual(results(calls, bools, numbers), {
    "min(x)": "-5",
    "max(x)": "1",
    "first(x)": "1",
    "last(x)": "1",
    "any(x)": "true",
    "all(x)": "false",
    "mode(x)": "true",
    "distinct(x)": "4",
  });
});

test("strings are greater than numbers, and first and last go by time all the same", () => {
  const calls = ["min(x)", "max(x)", "first(x)", "last(x)"];
  const numbers: Part = { kind: "float", cells: [7, 8, 9], times: [5n, 6n, 7n] };
  const texts: Part = { kind: "text", cells: ["4", "3"], times: [7n, 5n] };
  for (const parts of [
    [numbers, texts],
    [texts, numbers],
  ]) {
    assert.deepEqual(results(calls, ...parts), {
      "min(x)": "7",
      "max(x)": '"4"',
      "first(x)": "7",
      "last(x)": '"4"',
    });
  }
});

test("whole numbers that no double holds keep their digits in topk, mode and distinct", () => {
  const big = 2n ** 53n;
  const part: Part = { kind: "int", cells: [big + 1n, big, big + 1n, big + 2n, 3n] };
  assert.deepEqual(results(["topk(x, 9)", "mode(x)", "distinct(x)"], part), {
    "topk(x, 9)":
      '[{"value":9007199254740993,"count":2},{"value":3,"count":1},{"value":9007199254740992,"count":1},{"value":9007199254740994,"count":1}]',
    "mode(x)": "9007199254740993",
    "distinct(x)": "4",
  });
});

test("a counter: rises count, a fall is a reset, and among equal times the order is ascending", () => {
  const second = 1_000_000n;
  const rate = (cells: Cells, times: readonly bigint[]): string =>
    results(["rate(x)"], { kind: "float", cells, times })["rate(x)"]!;
  assert.equal(rate([10, 30, 5, 6], [0n, second, 2n * second, 4n * second]), "6.5");
  // The same, as it may arrive.
  assert.equal(rate([6, 10, 5, 30], [4n * second, 0n, 2n * second, second]), "6.5");
  assert.equal(rate([0, 9, 3, 9], [0n, second, second, 2n * second]), "4.5");
  assert.equal(rate([5, 7], [second, second]), "null");
});

test("curves: lines and steps, and the middle of what stands at one time", () => {
  const times = [0n, 0n, 2_000_000n];
  assert.deepEqual(
    results(["integral(x)", "integral(x, step)", "twa(x)", "twa(x, step)"], {
      kind: "float",
      cells: [0, 10, 20],
      times,
    }),
    { "integral(x)": "30", "integral(x, step)": "20", "twa(x)": "15", "twa(x, step)": "10" },
  );
  const instant: Part = { kind: "float", cells: [3, 1, 2], times: [7n, 7n, 7n] };
  assert.deepEqual(results(["twa(x)", "twa(x, step)", "integral(x)"], instant), {
    "twa(x)": "2",
    "twa(x, step)": "3",
    "integral(x)": "0",
  });
  const huge: Part = { kind: "float", cells: [1e300, 1], times: [0n, 1n] };
  assert.deepEqual(results(["twa(x)", "integral(x)"], huge), { "twa(x)": "null", "integral(x)": "null" });
});

test("a histogram counts what is on a bound above it", () => {
  const part: Part = { kind: "float", cells: [-1, 0, 0.5, 1, 1.5, 2, 1e300] };
  assert.equal(
    results(["histogram(x, 0, 1, 2)"], part)["histogram(x, 0, 1, 2)"],
    '{"bounds":[0,1,2],"counts":[1,2,2,2]}',
  );
});

test("topk and mode look at the first 256 bytes of a string, between characters", () => {
  const long = `${"a".repeat(255)}ö`;
  const part: Part = { kind: "text", cells: [`${long}1`, `${long}2`, `${"a".repeat(256)}b`, "c"] };
  assert.deepEqual(results(["topk(x, 1)", "mode(x)"], part), {
    "topk(x, 1)": `[{"value":"${"a".repeat(255)}","count":2}]`,
    "mode(x)": `"${"a".repeat(255)}"`,
  });
  // Others look further.
  assert.equal(results(["last(x)"], { kind: "text", cells: [`${long}1`] })["last(x)"], `"${long}1"`);
});

test("min, max, first and last keep the first 4,096 bytes of a string, between characters", () => {
  const long = "ü".repeat(2_047);
  const part: Part = { kind: "text", cells: [`${long}a😀`, `${long}b😀`] };
  assert.deepEqual(results(["first(x)", "last(x)", "min(x)", "max(x)"], part), {
    "first(x)": `"${long}a"`,
    "last(x)": `"${long}b"`,
    "min(x)": `"${long}a"`,
    "max(x)": `"${long}b"`,
  });
});

test("topk says by how much a count may be too great, once values are too many", () => {
  const rare = Array.from({ length: 3_000 }, (_, index) => `rare-${index}`);
  const parts = [0, 1, 2].map((part): Part => {
    const cells = rare.slice(part * 1_000, (part + 1) * 1_000);
    return { kind: "text", cells: [...cells, ...Array.from({ length: 50 }, () => "often")] };
  });
  const [often, next] = JSON.parse(results(["topk(x, 2)"], ...parts)["topk(x, 2)"]!) as {
    value: string;
    count: number;
    error?: number;
  }[];
  assert.deepEqual(often, { value: "often", count: 150 });
  assert.ok(next!.error! >= 1 && next!.count - next!.error! <= 1);
});

test("the memory of a key and window is bounded, whatever comes", () => {
  const bytesOf = (call: string, kind: ColumnKind, cell: (index: number) => string | number): number => {
    const parts = Array.from({ length: 20 }, (_, part): Part => {
      const indexes = Array.from({ length: 5_000 }, (_, index) => part * 5_000 + index);
      return { kind, cells: indexes.map(cell), times: indexes.map((index) => BigInt(index * 90)) };
    });
    return withWindows([call], parts, (windows) => windows.stats().bytes);
  };
  const text = (index: number): string => `value number ${index}`;
  // Keys and the window itself take some 30 KiB.
  const KIB = 1_024;
  assert.ok(bytesOf("distinct(x)", "text", text) < (32 + 30) * KIB);
  assert.ok(bytesOf("topk(x, 3)", "text", text) < (48 + 16 + 30) * KIB);
  assert.ok(bytesOf("rate(x)", "float", (index) => index % 977) < (256 + 30) * KIB);
  assert.ok(bytesOf("last(x)", "text", text) < 31 * KIB);
});

test("a saved histogram is refused by a query with other bounds", () => {
  const part: Part = { kind: "float", cells: [1, 2] };
  const saved = withWindows(["histogram(x, 1)"], [part], (windows) => windows.snapshot());
  withWindows(["histogram(x, 1)"], [], (windows) => windows.restore(saved));
  withWindows(["histogram(x, 2)"], [], (windows) =>
    assert.throws(() => windows.restore(saved), { code: "E_CHECKPOINT_VERSION" }),
  );
});

test("distinct: of hashes that agree in 25 bits the longer run of zeros is kept, in any order", () => {
  const byIndex = Map.groupBy(
    Array.from({ length: 60_000 }, (_, value) => value),
    (value) => Number(hashOf(value) >> 39n),
  );
  const pairs = [...byIndex.values()].filter((values) => values.length === 2);
  assert.ok(pairs.length > 20, `${pairs.length} pairs`);
  const orders = [pairs.flat(), pairs.flatMap((pair) => pair.toReversed())];
  const [first, second] = orders.map((cells) =>
    withWindows(["distinct(x)"], [{ kind: "float", cells }], (windows) => windows.snapshot()),
  );
  assert.deepEqual(first, second);
  assert.equal(
    results(["distinct(x)"], { kind: "float", cells: orders[0]! })["distinct(x)"],
    `${pairs.length}`,
  );
});

/** The hash of a number, by its definition: it is stored, so it never changes. */
function hashOf(value: number): bigint {
  const wrap = (word: bigint): bigint => BigInt.asUintN(64, word);
  const bits = new BigUint64Array(Float64Array.of(value).buffer)[0]!;
  let word = bits ^ wrap(2n * 0x9e3779b97f4a7c15n);
  word = wrap((word ^ (word >> 30n)) * 0xbf58476d1ce4e5b9n);
  word = wrap((word ^ (word >> 27n)) * 0x94d049bb133111ebn);
  return word ^ (word >> 31n);
}
