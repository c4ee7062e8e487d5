import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { compileHaving } from "../../host/config/expression/compile.ts";
import { withExpressions } from "../../workers/core/expression.ts";
import { keepHaving } from "../../workers/core/having.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { Tables } from "../../workers/core/tables.ts";
import { createLocal, createWindows, type Windows } from "../../workers/core/window.ts";
import type { QueryPlan, ResultRow } from "../../workers/messages.ts";
import { batchOf, compiled, disposeBatch, parsed, streamOf } from "../support/expression-fixture.ts";
import { fireInPortions } from "../support/portions.ts";
import { makePlan } from "../unit/window-batch.ts";

const core = instantiateCore();
const SECOND = 1_000_000;
const stream = streamOf({ device: "string", v: "int" });
const select = [
  { name: "n", fn: "count", field: null, parameter: null },
  { name: "total", fn: "sum", field: "twice", parameter: null },
] as const;
const having = compileHaving(
  { having: parsed("n % 2 == 1 and total > 4"), by: ["device"], select },
  stream,
  new Map(),
);
assert.ok(having?.ok);
const plan: QueryPlan = makePlan({
  select,
  latenessUs: 20 * SECOND,
  expressions: compiled({ where: "v != 3", derive: { twice: "v * 2" } }, stream),
  having: having.value,
});

interface Event {
  readonly device: string;
  readonly second: number;
  readonly v: number;
}
const event = fc.record({
  device: fc.constantFrom("a", "b", "c"),
  second: fc.integer({ min: 0, max: 60 }),
  v: fc.integer({ min: -1, max: 6 }),
});
/** Steps: events of a block, whose worker it is, the watermark behind it, and whether the node starts anew then. */
const steps = fc.array(
  fc.record({
    events: fc.array(event, { maxLength: 6 }),
    worker: fc.nat(2),
    advance: fc.integer({ min: 0, max: 12 }),
    restarts: fc.boolean(),
    portion: fc.integer({ min: 1, max: 5 }),
  }),
  { maxLength: 12 },
);

interface Group {
  readonly startUs: number;
  readonly device: string;
  readonly values: number[];
  revision: number;
  isChanged: boolean;
  isGiven: boolean;
}

/** Every event kept, every window computed anew. */
class Model {
  readonly #groups = new Map<string, Group>();

  apply(events: readonly Event[], before: number, watermark: number): string[] {
    for (const { device, second, v } of events) {
      const startUs = Math.floor(second / 10) * 10 * SECOND;
      if (v === 3 || startUs + 30 * SECOND <= before * SECOND) continue;
      const id = `${startUs} ${device}`;
      const fresh = { startUs, device, values: [], revision: 0, isChanged: false, isGiven: false };
      const group: Group = this.#groups.get(id) ?? fresh;
      this.#groups.set(id, group);
      group.values.push(v);
      group.isChanged = true;
    }
    return [...this.#groups.values()].flatMap((group) => {
      if (!group.isChanged || group.startUs + 10 * SECOND > watermark * SECOND) return [];
      group.isChanged = false;
      const revision = group.revision++;
      const n = group.values.length;
      const total = group.values.reduce((sum, v) => sum + 2 * v, 0);
      const isTrue = n % 2 === 1 && total > 4;
      const wasGiven = group.isGiven;
      group.isGiven = isTrue;
      const id = `${group.startUs} {"device":"${group.device}"} ${revision}`;
      if (isTrue) return [`${id} {"n":${n},"total":${total}}`];
      return wasGiven ? [`${id} {} retracted`] : [];
    });
  }
}

function brief({ startUs, key, revision, values, retracted }: ResultRow): string {
  return `${startUs} ${key} ${revision} ${values}${retracted ? " retracted" : ""}`;
}

test("where, derive and having give what the model gives, whatever the workers and the restarts in between", () => {
  fc.assert(
    fc.property(steps, (script) => {
      const tables = new Tables(core);
      const locals = [0, 1, 2].map(() => withExpressions(core, plan, createLocal(core, plan), tables));
      const create = (): Windows => keepHaving(core, plan, createWindows(core, plan));
      let windows = create();
      const model = new Model();
      let watermark = 0;
      for (const { events, worker, advance, restarts, portion } of script) {
        const batch = batchOf(
          core,
          events.map(({ second }) => BigInt(second * SECOND)),
          {
            device: { type: "string", values: events.map(({ device }) => device) },
            v: { type: "int", values: events.map(({ v }) => BigInt(v)) },
          },
        );
        windows.merge(locals[worker]!.aggregate(batch), BigInt(watermark * SECOND));
        disposeBatch(core, batch);
        const before = watermark;
        watermark += advance;
        const rows = fireInPortions(windows, BigInt(watermark * SECOND), portion);
        assert.deepEqual(rows.map(brief).toSorted(), model.apply(events, before, watermark).toSorted());
        if (!restarts) continue;
        const state = windows.snapshot();
        windows.dispose();
        windows = create();
        windows.restore(state);
        assert.deepEqual(windows.snapshot(), state);
      }
      for (const local of locals) local.dispose();
      windows.dispose();
    }),
    { numRuns: 500 },
  );
});
