import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import pino from "pino";
import { buildSync } from "../../host/config/sync-config.ts";
import type { Delivery, Sink } from "../../host/sync/sink.ts";
import { SinkRunner } from "../../host/sync/sink-runner.ts";
import type { ClaimAnswer, ClaimedBatch, ClaimTask } from "../../workers/store/sync-operations.ts";
import { advancing } from "../support/advancing.ts";
import { Random } from "../support/random.ts";

const NODES = 200;
/** Of the virtual clock. */
const STEP_MS = 50;
const MINUTE_MS = 60_000;

interface Fleet {
  readonly config: Omit<Parameters<typeof buildSync>[0], "url">;
  readonly seconds: number;
  readonly deliver: (nowMs: number) => Delivery;
  /** What a node's store has, of which its last batch left nothing before `sinceMs`. */
  readonly claim: (task: ClaimTask, nowMs: number, sinceMs: number) => "nothing" | "something";
}

interface Traffic {
  /** Virtual times of deliveries and probes, ms. */
  readonly attempts: number[];
  readonly probes: number[];
}

const REFUSED: Delivery = { kind: "unreachable", reason: "down", retryAfterMs: 0 };

/** Runs nodes that all start at the same moment, each with a sink of its own, on a clock of their own. */
async function simulate({ config, seconds, deliver, claim }: Fleet, context: TestContext): Promise<Traffic> {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let nowMs = STEP_MS;
  const traffic: Traffic = { attempts: [], probes: [] };
  const clock = { nowUs: () => nowMs * 1_000, monotonicMs: () => nowMs };
  const packed = { key: "0", items: 1, rows: 1, tables: [], incarnation: "0" };
  const runners = Array.from({ length: NODES }, () => {
    let [id, sinceMs] = [0, 0];
    const sink: Sink = {
      name: "hub",
      form: "wire",
      deliver: async () => {
        traffic.attempts.push(nowMs);
        return deliver(nowMs);
      },
      probe: async () => {
        traffic.probes.push(nowMs);
        return false;
      },
      close: async () => undefined,
    };
    return new SinkRunner({
      sink,
      config: buildSync({ url: "http://127.0.0.1:1", ...config }),
      clock,
      advance: advancing({
        claim: (task): ClaimAnswer => {
          if (claim(task, nowMs, sinceMs) === "nothing") return { kind: "nothing" };
          sinceMs = nowMs;
          const sizes = { items: 1, rows: 1, bytes: 100, strikes: 0, nextAtUs: 0, reason: null };
          const batch: ClaimedBatch = { id: ++id, sink: "hub", class: task.class, ...sizes };
          return { kind: "claimed", batch, isFull: false };
        },
      }),
      pack: async () => ({ ...packed, body: new Uint8Array(1) }),
      unsettled: [],
      log: pino({ level: "silent" }),
      random: () => random.next(),
    });
  });
  for (const runner of runners) runner.wake();
  for (let step = 0; step < (seconds * 1_000) / STEP_MS; step++) {
    // Promises that follow a timer are let run before the next.
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
    nowMs += STEP_MS;
    context.mock.timers.tick(STEP_MS);
  }
  for (const runner of runners) await runner.close();
  return traffic;
}

/** Of these moments, so many at most in any one second, wherever it begins. */
function busiest(times: readonly number[]): number {
  const inOrder = times.toSorted((a, b) => a - b);
  let [most, from] = [0, 0];
  for (const [at, timeMs] of inOrder.entries()) {
    while (inOrder[from]! <= timeMs - 1_000) from++;
    most = Math.max(most, at - from + 1);
  }
  return most;
}

const events = ({ class: kind }: ClaimTask): "nothing" | "something" =>
  kind === "events" ? "something" : "nothing";

/** telegraf #285: a whole fleet sends on the same second. */
test("thundering-second: windows of a whole fleet end on the same second, and their results do not go out on one", async (context) => {
  const { attempts } = await simulate(
    {
      config: { batch: { every: 30_000_000 } },
      seconds: 155,
      deliver: () => ({ kind: "delivered", stored: 1, isDuplicate: false }),
      claim: ({ class: kind, olderThanUs }, nowMs, sinceMs) => {
        // Results of the minute's windows are there on the minute, everywhere.
        const oldestMs = (Math.floor(sinceMs / MINUTE_MS) + 1) * MINUTE_MS;
        const isDue = kind === "results" && oldestMs <= nowMs && oldestMs * 1_000 <= olderThanUs;
        return isDue ? "something" : "nothing";
      },
    },
    context,
  );
  assert.equal(attempts.length, 2 * NODES, "each minute's results of each node went out");
  assert.ok(Math.max(...attempts.map((atMs) => atMs % MINUTE_MS)) <= 31_000, "none later than batch.every");
  for (const list of Map.groupBy(attempts, (atMs) => Math.floor(atMs / MINUTE_MS)).values())
    assert.ok(busiest(list) < NODES / 5, `${busiest(list)} of ${NODES} nodes sent within one second`);
});

test("thundering-second: no second has much more than its share of the attempts of a fleet that lost its hub", async (context) => {
  const seconds = 20;
  const { attempts } = await simulate(
    {
      config: { retry: { first: 2_000_000, longest: 10_000_000 }, breaker: { failures: 1_000 } },
      seconds,
      deliver: () => REFUSED,
      claim: events,
    },
    context,
  );
  // The first seconds are the start itself.
  const later = attempts.filter((atMs) => atMs >= 5_000 && atMs < seconds * 1_000);
  assert.ok(later.length > NODES, `${later.length} attempts after the start`);
  const share = later.length / (seconds - 5);
  assert.ok(
    busiest(later) < share * 2.5,
    `${busiest(later)} in one second, where ${share.toFixed(0)} is the mean`,
  );
});

test("thundering-second: a fleet whose breakers open at the same moment does not look for its hub on the same second", async (context) => {
  const { probes } = await simulate(
    {
      config: { probe: 8_000_000, breaker: { failures: 1, open: 3_600_000_000 } },
      seconds: 60,
      deliver: () => REFUSED,
      claim: events,
    },
    context,
  );
  assert.ok(probes.length > NODES * 5, `${probes.length} probes`);
  assert.ok(busiest(probes) < NODES / 2, `${busiest(probes)} of ${NODES} nodes looked within one second`);
});

test("thundering-second: a fleet that is asked to come back after some time does not come back on the same second", async (context) => {
  const { attempts } = await simulate(
    {
      config: { retry: { first: 20_000, longest: 20_000 }, breaker: { failures: 1_000 }, concurrency: 1 },
      seconds: 30,
      deliver: (nowMs) => {
        if (nowMs < 10_000) return { kind: "unreachable", reason: "503", retryAfterMs: 20_000 };
        return { kind: "delivered", stored: 1, isDuplicate: false };
      },
      claim: (task, _, sinceMs) => (sinceMs === 0 ? events(task) : "nothing"),
    },
    context,
  );
  const back = attempts.filter((atMs) => atMs >= 10_000);
  assert.equal(back.length, NODES);
  assert.ok(Math.min(...back) >= 20_000, "none sooner than was asked");
  assert.ok(busiest(back) < NODES / 2, `${busiest(back)} of ${NODES} nodes came back within one second`);
});
