import assert from "node:assert/strict";
import { test } from "node:test";
import { CommitQueue } from "../../host/pipeline/commit-queue.ts";
import type { CommitOperation, CommitOutcome } from "../../workers/messages.ts";

const watermark = (timeUs: number): CommitOperation => ({ kind: "watermark", stream: "s", timeUs });
const results: CommitOperation = { kind: "results", rows: [] };

/** A sink whose commits end when the test says so. */
class ManualSink {
  readonly groups: (readonly CommitOperation[])[] = [];
  #end: ((outcome: "ok" | "fail") => void)[] = [];
  #seq = 0;

  commit(operations: readonly CommitOperation[]): Promise<readonly CommitOutcome[]> {
    this.groups.push(operations);
    return new Promise((resolve, reject) => {
      this.#end.push((outcome) => {
        if (outcome === "fail") reject(new Error("disk full"));
        else resolve(operations.map(() => ({ kind: "committed", seq: ++this.#seq })));
      });
    });
  }

  end(outcome: "ok" | "fail"): void {
    this.#end.shift()?.(outcome);
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what waits during a commit goes into the next as one group, in order", async () => {
  const sink = new ManualSink();
  const queue = new CommitQueue(sink, 0, () => {});
  const first = queue.push(watermark(1), 1);
  const second = queue.push(watermark(2), 1);
  const third = queue.push(watermark(3), 1);
  assert.deepEqual(sink.groups, [[watermark(1)]]);
  sink.end("ok");
  await first;
  await turn();
  assert.deepEqual(sink.groups[1], [watermark(2), watermark(3)]);
  sink.end("ok");
  assert.deepEqual(await Promise.all([second, third]), [
    { kind: "committed", seq: 2 },
    { kind: "committed", seq: 3 },
  ]);
});

test("a failed commit tells the senders of events and tries results again", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const sink = new ManualSink();
  const causes: unknown[] = [];
  const queue = new CommitQueue(sink, 0, (cause) => causes.push(cause));
  const opener = queue.push(watermark(0), 1);
  const events = queue.push(watermark(1), 1);
  const kept = queue.push(results, 1);
  sink.end("ok");
  await opener;
  await turn();
  sink.end("fail");
  await turn();
  assert.deepEqual(sink.groups.at(-1), [watermark(1)], "the sender's own is tried by itself");
  sink.end("fail");
  await assert.rejects(events, /disk full/);
  assert.equal(queue.isStalled, true);
  assert.equal(causes.length, 1);
  context.mock.timers.tick(1_000);
  await turn();
  assert.deepEqual(sink.groups.at(-1), [results]);
  sink.end("ok");
  assert.equal((await kept).kind, "committed");
  assert.equal(queue.isStalled, false);
});

test("what is derived and cannot be written refuses nobody's events, and stays in order", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const sink = new ManualSink();
  const causes: unknown[] = [];
  const queue = new CommitQueue(sink, 0, (cause) => causes.push(cause));
  const piece: CommitOperation = {
    kind: "checkpoint-piece",
    segment: 1,
    number: 0,
    bytes: new Uint8Array(1),
  };
  const opener = queue.push(watermark(0), 1);
  const events = queue.push(watermark(1), 1);
  const bad = queue.push(piece, 1);
  const kept = queue.push(results, 1);
  sink.end("ok");
  await opener;
  await turn();
  assert.deepEqual(sink.groups.at(-1), [watermark(1), piece, results]);
  sink.end("fail");
  await turn();
  assert.deepEqual(sink.groups.at(-1), [watermark(1)]);
  sink.end("ok");
  assert.equal((await events).kind, "committed");
  for (let attempt = 2; attempt < 5; attempt++) {
    // While it waits, and when it fails again, senders' operations are committed.
    const between = queue.push(watermark(attempt), 1);
    await turn();
    assert.deepEqual(sink.groups.at(-1), [watermark(attempt)]);
    sink.end("ok");
    assert.equal((await between).kind, "committed");
    await turn();
    assert.equal(queue.isStalled, false);
    context.mock.timers.tick(1_000);
    const beside = queue.push(watermark(-attempt), 1);
    await turn();
    assert.deepEqual(sink.groups.at(-1), [piece, results]);
    sink.end(attempt < 4 ? "fail" : "ok");
    await turn();
    assert.deepEqual(sink.groups.at(-1), [watermark(-attempt)]);
    sink.end("ok");
    assert.equal((await beside).kind, "committed");
    await turn();
    assert.equal(causes.length, Math.min(attempt, 3));
  }
  assert.deepEqual(await Promise.all([bad, kept].map(async (each) => (await each).kind)), [
    "committed",
    "committed",
  ]);
});

test("alerts go in front of results that wait, in their own order, also after a commit that failed", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const sink = new ManualSink();
  const queue = new CommitQueue(sink, 0, () => {});
  const alerts = (id: string): CommitOperation => ({ kind: "alerts", rows: [], webhooks: [{ id }] as never });
  const opener = queue.push(watermark(0), 1);
  const pushed = [results, alerts("a"), results, alerts("b")].map((operation) =>
    queue.push(operation, 60_000),
  );
  sink.end("ok");
  await opener;
  await turn();
  assert.deepEqual(sink.groups[1], [alerts("a"), alerts("b"), results, results]);
  sink.end("fail");
  await turn();
  const third = queue.push(alerts("c"), 1);
  context.mock.timers.tick(60_000);
  await turn();
  assert.deepEqual(sink.groups[2], [alerts("a"), alerts("b"), alerts("c"), results, results]);
  sink.end("ok");
  await Promise.all([...pushed, third]);
});

test("beside senders few results are written at once, more in a commit of their own, and more where many wait", async () => {
  const part = 64 * 1024;
  const taken = async (parts: number, hasSender: boolean): Promise<number> => {
    const sink = new ManualSink();
    const queue = new CommitQueue(sink, 0, () => {});
    void queue.push(watermark(0), 1);
    for (let index = 0; index < parts; index++) void queue.push(results, part);
    if (hasSender) void queue.push(watermark(1), 1);
    sink.end("ok");
    await turn();
    return sink.groups[1]?.filter(({ kind }) => kind === "results").length ?? 0;
  };
  assert.equal(await taken(12, true), 2);
  assert.equal(await taken(24, true), 3);
  assert.equal(await taken(1_000, true), 4);
  assert.equal(await taken(3, false), 3);
  assert.equal(await taken(20, false), 4);
  assert.equal(await taken(64, false), 8);
  assert.equal(await taken(1_000, false), 16);
});

test("what a commit had no room for waits for no interval, what comes later does", async () => {
  const sink = new ManualSink();
  const queue = new CommitQueue(sink, 60_000, () => {});
  const part = 64 * 1024;
  const pushed = [0, 1, 2, 3, 4, 5].map(() => queue.push(results, part));
  for (const [index, parts] of [1, 4, 1].entries()) {
    assert.equal(sink.groups[index]?.length, parts);
    sink.end("ok");
    await turn();
  }
  await Promise.all(pushed);
  const later = [0, 1, 2].map(() => queue.push(results, part));
  await turn();
  assert.equal(sink.groups.length, 3);
  // That many are not waited with.
  later.push(queue.push(results, part));
  assert.equal(sink.groups.length, 4);
  sink.end("ok");
  await Promise.all(later);
});

test("a commit waits for its interval until enough has gathered, the more the longer it may wait", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  // The clock stands still, as if no time went by between two lines of this test.
  context.mock.method(performance, "now", () => 1_000);
  const part = 16 * 1024;
  const partsWaitedFor = async (intervalMs: number): Promise<number> => {
    const sink = new ManualSink();
    const queue = new CommitQueue(sink, intervalMs, () => {});
    void queue.push(watermark(0), 1);
    sink.end("ok");
    await turn();
    let parts = 0;
    while (sink.groups.length < 2 && parts < 100) void queue.push(watermark(++parts), part);
    return parts;
  };
  assert.equal(await partsWaitedFor(1), 4);
  assert.equal(await partsWaitedFor(5), 4);
  assert.equal(await partsWaitedFor(10), 8);
  assert.equal(await partsWaitedFor(20), 16);
  assert.equal(await partsWaitedFor(1_000), 16);
});
