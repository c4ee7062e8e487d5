import assert from "node:assert/strict";
import { type BatchBuilder, buildBatch } from "../../workers/core/batch-builder.ts";
import { keepHaving } from "../../workers/core/having.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../../workers/core/window.ts";
import type { AggregateName, Output, QueryPlan, ResultRow } from "../../workers/messages.ts";
import { Captures } from "../support/captures.ts";
import { type KeyedEvent, KeyedOracle, type KeyedRow, type KeyedWindow } from "../support/keyed-oracle.ts";
import { fireInPortions } from "../support/portions.ts";
import { Random } from "../support/random.ts";
import { aggregateExactly } from "./window-model.ts";

const core = instantiateCore();
const BEFORE_ALL = -(2n ** 63n);

export const SELECT: readonly Omit<Output, "bounds">[] = [
  { name: "n", fn: "count", field: null, parameter: null },
  { name: "nv", fn: "count", field: "v", parameter: null },
  ...(["sum", "avg", "min", "max", "range", "first", "last", "variance", "stddev"] as const).map(
    (fn: AggregateName) => ({ name: fn, fn, field: "v", parameter: null }),
  ),
];

/** Those of them that need no times: lanes pass the rows of sessions on as they came. */
const UNTIMED = SELECT.filter(({ fn }) => fn !== "first" && fn !== "last");

export interface Scenario {
  /** As the oracle has it. */
  readonly window: KeyedWindow;
  /** As the plan has it, where that is another form. */
  readonly planWindow?: QueryPlan["window"];
  readonly latenessUs: number;
  readonly boundUs: number;
  readonly isPerKey: boolean;
  /** null: no early results. */
  readonly earlyUs: number | null;
  /** Without what needs times or a look at each value, default false. */
  readonly isUntimed?: boolean;
  /** Lanes keep their texts from batch to batch, default false. */
  readonly keepsTexts?: boolean;
  readonly steps: readonly Step[];
}

export type Step =
  | { readonly kind: "block"; readonly worker: number; readonly events: readonly KeyedEvent[] }
  | { readonly kind: "watermark"; readonly timeUs: number }
  | { readonly kind: "restart" };

function earlyOf({ window, earlyUs }: Scenario): { readonly earlyUs?: number } {
  return earlyUs === null || window.kind === "none" ? {} : { earlyUs };
}

export function planOf(given: Scenario): QueryPlan {
  const { window, planWindow, latenessUs, boundUs, isPerKey, isUntimed = false } = given;
  return {
    ...earlyOf(given),
    id: 0,
    name: "q",
    stream: "s",
    window: planWindow ?? (window.kind === "spans" ? assert.fail("no plan of these") : window),
    latenessUs,
    ...(isPerKey ? { keyClock: { boundUs, maxIdleKeys: 1_000 } } : {}),
    by: [["k"]],
    select: isUntimed ? UNTIMED : SELECT,
  };
}

interface BatchExports {
  codecSeal(batch: number): number;
  batchSetRows(batch: number, rows: number): void;
  batchKeepTexts(batch: number): void;
  batchDispose(batch: number): void;
}

const { codecSeal, batchSetRows, batchKeepTexts, batchDispose } = core.exports as unknown as BatchExports;
const KEY = 0;
const VALUE = 1;

function openBatch(): BatchBuilder {
  const builder = buildBatch(core);
  builder.addColumn("k", "string");
  builder.addColumn("v", "float");
  return builder;
}

interface Lane {
  readonly local: LocalAggregator;
  /** The batch that keeps its texts, or null. */
  readonly kept: BatchBuilder | null;
}

/** Aggregates events, and says of what the windows refuse which of them it was. */
function mergeBlock(
  { local, kept }: Lane,
  merge: (partial: Uint8Array) => { lateGroups: Uint8Array | null; lateCount: number },
  events: readonly KeyedEvent[],
): KeyedEvent[] {
  const builder = kept ?? openBatch();
  if (kept !== null) batchSetRows(kept.batch, 0);
  for (const { key: text, timeUs, value } of events) {
    const row = builder.addRow(BigInt(timeUs), 0);
    builder.setText(KEY, row, text);
    if (value !== null) builder.setFloat(VALUE, row, value);
  }
  codecSeal(builder.batch);
  if (kept !== null) batchKeepTexts(kept.batch);
  const { lateGroups, lateCount } = merge(local.aggregate(builder.batch));
  const mask = lateGroups === null ? null : local.maskLate(builder.batch, lateGroups);
  if (kept === null) batchDispose(builder.batch);
  const late = events.filter((_, row) => mask !== null && mask[row] === 1);
  assert.equal(lateCount, late.length);
  return late;
}

const text = (value: unknown): string => JSON.stringify(value);

function expectedRow({ key, events, isRetracted, ...row }: KeyedRow, isUntimed: boolean): string {
  const all = aggregateExactly(events);
  const { first: _first, last: _last, ...untimed } = all;
  const values = isRetracted ? {} : isUntimed ? untimed : all;
  return text([row.startUs, row.endUs, key, row.revision, row.kind, isRetracted, values]);
}

function givenRow({ startUs, endUs, key, values, revision, kind, retracted }: ResultRow): string {
  const { k } = JSON.parse(key) as { k: string };
  return text([startUs, endUs, k, revision, kind, retracted === true, JSON.parse(values)]);
}

/** Runs a scenario as a node would: a block is merged under the clock before it, then the clock moves, then rows come. */
export function run(
  plan: QueryPlan,
  given: Scenario,
  check: boolean,
  filter: (rows: readonly KeyedRow[]) => readonly KeyedRow[] = (rows) => rows,
): { rows: string[]; snapshot: Uint8Array; earlyRows: number } {
  const { isPerKey, boundUs } = given;
  const lanes: readonly Lane[] = [0, 1, 2].map(() => ({
    local: createLocal(core, plan),
    kept: given.keepsTexts === true ? openBatch() : null,
  }));
  const open = (): Windows => keepHaving(core, plan, createWindows(core, plan));
  let windows = open();
  const random = new Random(given.steps.length * 64 + given.latenessUs);
  let captures = new Captures(windows, open, random);
  const oracle = new KeyedOracle({
    window: given.window,
    latenessUs: given.latenessUs,
    keyBoundUs: isPerKey ? boundUs : null,
    ...earlyOf(given),
  });
  const rows: string[] = [];
  let watermark = BEFORE_ALL;
  let greatest = -Infinity;
  let portion = 0;
  const advance = (timeUs: number): void => {
    if (BigInt(timeUs) > watermark) watermark = BigInt(timeUs);
  };
  for (const step of given.steps) {
    if (step.kind === "restart") {
      if (random.chance(0.5)) {
        windows = captures.replace();
      } else {
        const state = windows.snapshot();
        windows.dispose();
        windows = open();
        windows.restore(state);
        assert.deepEqual(windows.snapshot(), state);
      }
      captures = new Captures(windows, open, random);
      continue;
    }
    if (step.kind === "watermark") advance(step.timeUs);
    else if (step.events.length > 0) {
      const late = mergeBlock(
        lanes[step.worker]!,
        (partial) => windows.merge(partial, watermark),
        step.events,
      );
      if (check) {
        const expected = oracle.merge(step.events, Number(watermark));
        assert.deepEqual(late.map(text).toSorted(), expected.map(text).toSorted());
      }
      greatest = Math.max(greatest, ...step.events.map(({ timeUs }) => timeUs));
      if (!isPerKey) advance(greatest - boundUs);
    }
    captures.turn();
    portion = (portion % 5) + 1;
    const fired = fireInPortions(windows, watermark, portion).map(givenRow).toSorted();
    if (check)
      assert.deepEqual(
        fired,
        filter(oracle.fire(Number(watermark)))
          .map((row) => expectedRow(row, given.isUntimed === true))
          .toSorted(),
      );
    captures.turn();
    if (check && plan.window.kind !== "none") assert.equal(windows.stats().groups, oracle.openWindows);
    rows.push(...fired);
  }
  const snapshot = windows.snapshot();
  for (const { local, kept } of lanes) {
    local.dispose();
    if (kept !== null) batchDispose(kept.batch);
  }
  windows.dispose();
  const earlyRows = rows.filter((row) => row.includes('"early"')).length;
  return { rows, snapshot, earlyRows };
}
