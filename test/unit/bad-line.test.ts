import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import pino from "pino";
import { buildSync } from "../../host/config/sync-config.ts";
import { LineQuality } from "../../host/sync/line-quality.ts";
import type { Sink } from "../../host/sync/sink.ts";
import { SinkRunner } from "../../host/sync/sink-runner.ts";
import type { SyncOutcome } from "../../workers/store/sync-operations.ts";
import { advancing } from "../support/advancing.ts";
import { Random } from "../support/random.ts";

const ATTEMPTS = 5;
/** Of the virtual clock. */
const STEP_MS = 100;

/** Sends batches over a line that lets this share of attempts through, one of which none gets through. @returns what became of them. */
async function send(
  { share, poison, minutes }: { share: number; poison: number | null; minutes: number },
  context: TestContext,
) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let [nowMs, id] = [0, 0];
  const attempts = new Map<number, number>();
  const outcomes: SyncOutcome[] = [];
  const sink: Sink = {
    name: "hub",
    form: "wire",
    deliver: async ({ claimed }) => {
      attempts.set(claimed.id, (attempts.get(claimed.id) ?? 0) + 1);
      return claimed.id !== poison && random.chance(share)
        ? { kind: "delivered", stored: 1, isDuplicate: false }
        : { kind: "unreachable", reason: "cut", retryAfterMs: 0 };
    },
    probe: async () => random.chance(share),
    close: async () => undefined,
  };
  const runner = new SinkRunner({
    sink,
    config: buildSync({
      url: "http://127.0.0.1:1",
      retry: { first: 100_000, longest: 2_000_000, attempts: ATTEMPTS },
      breaker: { failures: 5, open: 1_000_000 },
      probe: 500_000,
    }),
    clock: { nowUs: () => nowMs * 1_000, monotonicMs: () => nowMs },
    advance: advancing({
      claim: ({ class: kind }) => {
        if (kind !== "events") return { kind: "nothing" };
        const sizes = { items: 1, rows: 1, bytes: 100, strikes: 0, nextAtUs: 0, reason: null };
        return { kind: "claimed", batch: { id: ++id, sink: "hub", class: kind, ...sizes }, isFull: false };
      },
      settle: (settled) => {
        outcomes.push(...settled);
        return [];
      },
    }),
    pack: async () => ({
      key: "0",
      items: 1,
      rows: 1,
      tables: [],
      incarnation: "0",
      body: new Uint8Array(1),
    }),
    unsettled: [],
    log: pino({ level: "silent" }),
    random: () => random.next(),
  });
  runner.wake();
  for (let step = 0; step < (minutes * 60_000) / STEP_MS; step++) {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    nowMs += STEP_MS;
    context.mock.timers.tick(STEP_MS);
  }
  await runner.close();
  const batchesOf = (kind: SyncOutcome["kind"]): number[] =>
    outcomes.filter((outcome) => outcome.kind === kind).map(({ batch }) => batch);
  return { parked: batchesOf("parked"), delivered: batchesOf("delivered").length, attempts };
}

test("a line that fails seven of ten attempts parks nothing that is good, and in the end what is not", async (context) => {
  const { parked, delivered } = await send({ share: 0.3, poison: 20, minutes: 15 }, context);
  assert.ok(delivered > 300, `${delivered} batches went through`);
  assert.deepEqual(parked, [20]);
});

test("a line that fails nineteen of twenty parks nothing", async (context) => {
  const { parked, delivered } = await send({ share: 0.05, poison: null, minutes: 15 }, context);
  assert.ok(delivered > 30, `${delivered} batches went through`);
  assert.deepEqual(parked, []);
});

test("on a good line, a batch that fails while others go through is parked after retry.attempts", async (context) => {
  const { parked, attempts } = await send({ share: 1, poison: 190, minutes: 4 }, context);
  assert.deepEqual(parked, [190]);
  // Only a failure since which another has gone through counts.
  const count = attempts.get(190)!;
  assert.ok(count >= ATTEMPTS && count <= 4 * ATTEMPTS, `${count} attempts`);
});

test("how many failures tell: none fewer than are asked for, and as many as chance would not bring", () => {
  const line = new LineQuality();
  assert.equal(line.failuresThatTell(10), 30, "nothing is known: every second may fail");
  for (let n = 0; n < 100; n++) line.firstAttempt("came-through");
  assert.equal(line.failuresThatTell(10), 10);
  for (let n = 0; n < 5_000; n++) line.firstAttempt(n % 10 < 7 ? "failed" : "came-through");
  const told = line.failuresThatTell(10);
  assert.ok(told > 45 && told < 75, `${told}`);
  for (let n = 0; n < 5_000; n++) line.firstAttempt("came-through");
  assert.equal(line.failuresThatTell(10), 10, "the line is good again");
});
