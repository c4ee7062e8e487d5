import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import pino from "pino";
import { buildSync } from "../../host/config/sync-config.ts";
import type { Sink } from "../../host/sync/sink.ts";
import { SinkRunner } from "../../host/sync/sink-runner.ts";
import type { SyncStep } from "../../workers/store/sync-operations.ts";
import { advancing } from "../support/advancing.ts";
import { Random } from "../support/random.ts";

/** A runner on a clock of its own, with a store that has had so many full batches of events. */
function start(context: TestContext, stored: { readonly batches: number }, deliver: Sink["deliver"]) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let nowMs = 0;
  let id = 0;
  const steps: SyncStep[] = [];
  const settled: number[] = [];
  const answer = advancing({
    claim: ({ class: kind }) => {
      if (kind !== "events" || id === stored.batches) return { kind: "nothing" };
      const sizes = { items: 1, rows: 4_000, bytes: 20_000, strikes: 0, nextAtUs: 0, reason: null };
      return { kind: "claimed", batch: { id: ++id, sink: "hub", class: kind, ...sizes }, isFull: true };
    },
    settle: (outcomes) => {
      settled.push(...outcomes.map(({ batch }) => batch));
      return [];
    },
  });
  const runner = new SinkRunner({
    sink: { name: "hub", form: "wire", deliver, probe: async () => true, close: async () => undefined },
    config: buildSync({ url: "http://127.0.0.1:1" }),
    clock: { nowUs: () => nowMs * 1_000, monotonicMs: () => nowMs },
    advance: (step) => {
      steps.push(step);
      return answer(step);
    },
    pack: async () => ({
      ...{ key: "0", items: 1, rows: 1, tables: [], incarnation: "0" },
      body: new Uint8Array(1),
    }),
    unsettled: [],
    log: pino({ level: "silent" }),
    random: () => random.next(),
  });
  context.after(() => runner.close());
  const pass = async (ms: number): Promise<void> => {
    for (let left = ms; left > 0; left -= 10) {
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      nowMs += 10;
      context.mock.timers.tick(10);
    }
  };
  return { runner, steps, settled, pass };
}

test("what became of a batch is written with the next claim, and soon where there is none", async (context) => {
  const { runner, steps, settled, pass } = start(context, { batches: 20 }, async () => {
    return { kind: "delivered", stored: 1, isDuplicate: false };
  });
  runner.wake();
  await pass(3_000);
  assert.deepEqual(
    settled.toSorted((a, b) => a - b),
    Array.from({ length: 20 }, (_, index) => index + 1),
  );
  const alone = steps.filter(({ outcomes, claims }) => outcomes.length > 0 && claims.length === 0);
  assert.ok(alone.length <= 1, `${alone.length} steps settled and claimed nothing`);
  // Some looks find nothing, and each claim is one.
  assert.ok(steps.length < 2 * 20 + 10, `${steps.length} steps for 20 batches`);
});

test("a runner that is woken just as it comes to rest goes on", async (context) => {
  const stored = { batches: 0 };
  const { runner, pass, settled } = start(context, stored, async () => {
    return { kind: "delivered", stored: 1, isDuplicate: false };
  });
  for (let hops = 0; hops < 60; hops++) {
    runner.wake();
    for (let hop = 0; hop < hops; hop++) await Promise.resolve();
    stored.batches++;
    runner.wake();
    await pass(1_000);
    assert.equal(settled.length, hops + 1, `woken after ${hops} turns of promises`);
  }
});
