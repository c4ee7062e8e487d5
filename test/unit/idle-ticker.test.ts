import assert from "node:assert/strict";
import { test } from "node:test";
import { automaticStream } from "../../host/config/plans.ts";
import { IdleTicker } from "../../host/pipeline/idle-ticker.ts";

const stream = (per: "stream" | "source", idleUs: number) => {
  const config = automaticStream("s");
  return { ...config, watermark: { ...config.watermark, per, idleUs } };
};

interface Seen {
  readonly asked: number[];
  readonly ticks: [string, number][];
  readonly failures: unknown[];
}

function makeTicker(idle: (nowUs: number) => readonly string[]): { ticker: IdleTicker; seen: Seen } {
  const seen: Seen = { asked: [], ticks: [], failures: [] };
  let nowUs = 0;
  const ticker = new IdleTicker({
    windows: {
      idleStreams: (at) => {
        seen.asked.push(at);
        return Promise.resolve().then(() => idle(at));
      },
    },
    nowUs: () => ++nowUs,
    tick: (name, atUs) => {
      seen.ticks.push([name, atUs]);
      return Promise.resolve();
    },
    onFailure: (cause) => seen.failures.push(cause),
  });
  return { ticker, seen };
}

test("a tick is written where it would move a watermark, and nowhere else; a failed look is tried again", async (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { ticker, seen } = makeTicker((at) => {
    if (at === 2) throw new Error("the window thread is gone");
    return at === 3 ? ["s", "t"] : [];
  });
  ticker.watch(stream("source", 400_000));
  const look = async (): Promise<void> => {
    context.mock.timers.tick(100);
    await new Promise((resolve) => setImmediate(resolve));
  };
  for (let n = 0; n < 4; n++) await look();
  await ticker.close();
  await look();
  assert.deepEqual(seen.asked, [1, 2, 3, 4]);
  assert.deepEqual(seen.ticks, [
    ["s", 3],
    ["t", 3],
  ]);
  assert.equal(seen.failures.length, 1);
});

test("the shortest idle decides how often is looked; with one watermark for the stream nothing is", async (context) => {
  context.mock.timers.enable({ apis: ["setInterval"] });
  const { ticker, seen } = makeTicker(() => []);
  const pass = async (ms: number): Promise<number> => {
    const before = seen.asked.length;
    for (let passed = 0; passed < ms; passed += 10) {
      context.mock.timers.tick(10);
      await new Promise((resolve) => setImmediate(resolve));
    }
    return seen.asked.length - before;
  };
  ticker.watch(stream("stream", 1));
  assert.equal(await pass(2_000), 0);
  ticker.watch(stream("source", 3_600e6));
  assert.equal(await pass(2_000), 2);
  ticker.watch(stream("source", 1e6));
  ticker.watch(stream("source", 60e6));
  assert.equal(await pass(2_000), 8);
  ticker.watch(stream("source", 1));
  assert.equal(await pass(200), 10);
  await ticker.close();
});
