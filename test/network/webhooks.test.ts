import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { pino } from "pino";
import { backoffMs } from "../../host/alert/backoff.ts";
import { TokenBucket } from "../../host/alert/token-bucket.ts";
import { type SenderParts, WebhookSender } from "../../host/alert/webhook-sender.ts";
import { systemClock } from "../../host/pipeline/clock.ts";
import type { AlertRow } from "../../workers/messages.ts";
import type { AlertStore } from "../../workers/store/alert-store.ts";
import { eventually, startHook } from "../support/hook.ts";
import { StoreFixture } from "../support/store-fixtures.ts";

interface Outbox {
  readonly store: () => AlertStore;
  /** Queues a step for these addresses. */
  readonly queue: (id: string, revision: number, ...urls: string[]) => void;
  readonly start: (parts?: Partial<SenderParts>, timeoutMs?: () => number) => WebhookSender;
  readonly log: string[];
}

/** The fixture's writes have a time of their own: this is behind it, whatever the machine's clock says. */
const AHEAD_US = 1e15;
/** A receiver that answers does so within this, however many share the machine. */
const PATIENCE_MS = 120_000;
const laterUs = (): number => Date.now() * 1_000 + AHEAD_US;

/** A real outbox in a database, and senders from it that wait little. */
function makeOutbox(context: TestContext): Outbox {
  const fixture = new StoreFixture(context);
  const log: string[] = [];
  const store = (): AlertStore => fixture.store.writer.alerts;
  return {
    store,
    log,
    queue: (id, revision, ...urls) => {
      const row: AlertRow = {
        alert: "hot",
        severity: "critical",
        definition: "d",
        key: '{"device":"m1"}',
        state: revision === 0 ? "firing" : "resolved",
        sinceUs: 0,
        atUs: 1,
        value: "{}",
        id,
        revision,
        isRetracted: false,
        isTold: true,
      };
      fixture.commit({ kind: "alerts", rows: [row], webhooks: [{ alert: "hot", urls }] });
    },
    start: (parts = {}, timeoutMs = () => PATIENCE_MS) => {
      const sender = new WebhookSender({
        due: ({ nowUs, perUrl, maxWaiting }) => {
          const overflow = store().limit(maxWaiting, "too many");
          const due = store().due(nowUs, perUrl);
          return Promise.resolve({
            due,
            overflow,
            nextDueUs: store().nextDueUs(nowUs),
            waiting: store().waiting(),
          });
        },
        settle: (id, outcome) => Promise.resolve(fixture.commit({ kind: "webhook-outcome", id, outcome })),
        clock: { nowUs: laterUs, monotonicMs: systemClock.monotonicMs },
        log: pino({ level: "error" }, { write: (line: string) => void log.push(line) }),
        perSecond: 10_000,
        maxWaiting: 1_000,
        // The waits of full jitter may be as short as this.
        random: () => 0.001,
        // Of each post anew.
        get timeoutMs() {
          return timeoutMs();
        },
        ...parts,
      });
      context.after(() => sender.close());
      sender.wake();
      return sender;
    },
  };
}

test("a post is the step as JSON under its idempotency key, and delivered once", async (context) => {
  const hook = await startHook(context);
  const { queue, start, store } = makeOutbox(context);
  queue("i1", 0, hook.url);
  const sender = start();
  await eventually(() => store().waiting() === 0, "delivery");
  queue("i1", 1, hook.url);
  sender.wake();
  await eventually(() => store().waiting() === 0, "delivery");
  await sender.close();
  start();
  assert.deepEqual(
    hook.posts.map(({ key, type }) => `${key} ${type}`),
    ["i1-0 application/json", "i1-1 application/json"],
  );
  assert.deepEqual(JSON.parse(hook.posts[0]!.body), {
    alert: "hot",
    severity: "critical",
    key: { device: "m1" },
    state: "firing",
    since: "1970-01-01T00:00:00.000Z",
    at: "1970-01-01T00:00:00.000001Z",
    value: {},
    id: "i1",
    revision: 0,
  });
});

test("a receiver that fails, hangs, redirects and cuts gets the post again under the same key until it takes it", async (context) => {
  const hook = await startHook(context);
  const answers = [500, "hang", "cut", 302, 404] as const;
  hook.answer = (_, index) => answers[index] ?? 204;
  const { queue, start, store } = makeOutbox(context);
  queue("i1", 0, hook.url);
  queue("i1", 1, hook.url);
  // The second is the one that hangs.
  const sender = start({}, () => (hook.posts.length === 1 ? 1_500 : PATIENCE_MS));
  await eventually(() => store().waiting() === 0, "delivery");
  const keys = hook.posts.map(({ key }) => key);
  assert.deepEqual(keys, [...Array<string>(6).fill("i1-0"), "i1-1"]);
  const { delivered, failedAttempts, setAside } = sender.status();
  assert.deepEqual([delivered, failedAttempts, setAside], [2, 5, 0]);
});

test("an answer that breaks off behind a good status counts as taken", async (context) => {
  const hook = await startHook(context);
  hook.answer = () => (response) => {
    response.writeHead(200, { "content-length": "100" });
    response.write("so far");
    setTimeout(() => response.destroy(), 10);
  };
  const { queue, start, store } = makeOutbox(context);
  queue("i1", 0, hook.url);
  start();
  await eventually(() => store().waiting() === 0, "delivery");
  assert.equal(hook.posts.length, 1);
});

test("a receiver that hangs or is away keeps nothing from another, and gets four posts at a time", async (context) => {
  const [hanging, good] = [await startHook(context), await startHook(context)];
  hanging.answer = () => "hang";
  const { queue, start, store } = makeOutbox(context);
  for (let n = 0; n < 20; n++) queue(`i${n}`, 0, hanging.url, "http://127.0.0.1:1/", good.url);
  const sender = start({ random: () => 0.9 });
  await eventually(() => good.posts.length === 20, "posts to the good one");
  assert.ok(hanging.most <= 4, `${hanging.most} at a time`);
  await eventually(() => sender.status().failedAttempts >= 20, "refusals");
  assert.ok(store().waiting() >= 20);
  await sender.close();
});

test("after the last attempt a post is set aside, with a line in the log that tells no secret; those behind it go on", async (context) => {
  const hook = await startHook(context);
  hook.answer = ({ key }) => (key === "i1-0" ? 503 : 200);
  const { queue, start, store, log } = makeOutbox(context);
  queue("i1", 0, `${hook.url}?token=secret`);
  queue("i1", 1, `${hook.url}?token=secret`);
  const sender = start({ maxAttempts: 3 });
  await eventually(() => store().waiting() === 0, "delivery or giving up");
  assert.deepEqual(
    hook.posts.map(({ key }) => key),
    ["i1-0", "i1-0", "i1-0", "i1-1"],
  );
  const { delivered, setAside } = sender.status();
  assert.deepEqual([delivered, setAside], [1, 1]);
  assert.equal(log.length, 1);
  assert.match(log[0]!, /"idempotencyKey":"i1-0".*"attempts":3.*answered 503.*a webhook was set aside/);
  assert.ok(!log[0]!.includes("secret"));
});

test("a receiver's Retry-After is waited for", async (context) => {
  const hook = await startHook(context);
  hook.answer = () => (response) => void response.writeHead(429, { "retry-after": "3600" }).end();
  const { queue, start, store } = makeOutbox(context);
  queue("i1", 0, hook.url);
  const sender = start();
  await eventually(() => sender.status().failedAttempts === 1, "refusal");
  await sender.close();
  const nowUs = laterUs();
  const waitUs = store().nextDueUs(nowUs)! - nowUs;
  assert.ok(waitUs > 3_500e6 && waitUs <= 3_600e6, String(waitUs));
});

test("beyond the limit the oldest posts are set aside", async (context) => {
  const hook = await startHook(context);
  const { queue, start, store } = makeOutbox(context);
  for (let n = 0; n < 10; n++) queue(`i${n}`, 0, hook.url);
  const sender = start({ maxWaiting: 3 });
  await eventually(() => store().waiting() === 0, "delivery");
  assert.deepEqual(hook.posts.map(({ key }) => key).sort(), ["i7-0", "i8-0", "i9-0"]);
  assert.equal(sender.status().setAside, 7);
});

test("the rate is bounded: so many at once, then one after the other", () => {
  let nowMs = 0;
  const bucket = new TokenBucket(5, () => nowMs);
  assert.deepEqual(
    Array.from({ length: 6 }, () => bucket.take()),
    [0, 0, 0, 0, 0, 200],
  );
  nowMs = 199;
  assert.ok(bucket.take() > 0);
  nowMs = 200.5;
  assert.equal(bucket.take(), 0);
  nowMs = 1e9;
  assert.deepEqual(
    Array.from({ length: 6 }, () => bucket.take()),
    [0, 0, 0, 0, 0, 200],
  );
});

test("waits double up to ten minutes, with full jitter", () => {
  const most = (attempts: number): number => backoffMs(attempts, () => 1);
  assert.deepEqual([1, 2, 3, 10, 11, 15].map(most), [1_000, 2_000, 4_000, 512_000, 600_000, 600_000]);
  assert.equal(
    backoffMs(5, () => 0),
    0,
  );
});
