import assert from "node:assert/strict";
import { test } from "node:test";
import { type StreamLook, StreamWatch } from "../../host/hub/stream-watch.ts";

const MAX_WAIT_MS = 1_000;
const HOUR_MS = 3_600_000;

function lookOf(parts: Partial<StreamLook> = {}): StreamLook {
  const usual = {
    created: "first",
    isWorkQueue: true,
    oldest: 7,
    messages: 3,
    waiting: 0,
    unacknowledged: 0,
  };
  return { ...usual, ...parts };
}

test("a stream whose oldest message goes on, or that has none, is left alone however long it takes", () => {
  const watch = new StreamWatch(MAX_WAIT_MS);
  for (let at = 0; at < 100; at++)
    assert.equal(watch.judge(lookOf({ oldest: at % 7 === 6 ? null : at, waiting: 9 }), at * 900), null);
  assert.equal(watch.standsForMs(99 * 900 + 5), 5);
});

test("messages that the server takes for done are fetched by a new consumer once they stood for maxWait", () => {
  const watch = new StreamWatch(MAX_WAIT_MS);
  assert.equal(watch.judge(lookOf(), 0), null);
  assert.equal(watch.judge(lookOf({ messages: 9 }), 999), null);
  assert.equal(watch.judge(lookOf(), 1_000), "make-anew");
  assert.equal(watch.judge(lookOf({ created: "second" }), 1_100), null);
  assert.equal(watch.judge(lookOf({ created: "second", oldest: null }), 1_200), null);
});

test("where the server has something to give and this hub gets nothing, a new connection comes before a new consumer", () => {
  const watch = new StreamWatch(MAX_WAIT_MS);
  const look = lookOf({ waiting: 5 });
  watch.judge(look, 0);
  assert.equal(watch.judge(look, 1_000), "consume-anew");
  assert.equal(watch.judge(look, 1_999), null);
  assert.equal(watch.judge(look, 2_000), "make-anew");
  // One that is given other messages has no need of a connection.
  const busy = new StreamWatch(MAX_WAIT_MS);
  busy.judge(look, 0);
  busy.given(8, 900);
  assert.equal(busy.judge(look, 1_000), "make-anew");
});

test("a message that this hub is given, or works on, does not stand; nor does time count in which the server was away", () => {
  const watch = new StreamWatch(MAX_WAIT_MS);
  watch.judge(lookOf(), 0);
  watch.given(7, 900);
  assert.equal(watch.judge(lookOf(), 1_800), null);
  watch.given(8, 1_850);
  assert.equal(watch.judge(lookOf(), 1_900), "make-anew");
  const away = new StreamWatch(MAX_WAIT_MS);
  away.judge(lookOf(), 0);
  away.interrupted(5_000);
  assert.equal(away.judge(lookOf(), 5_999), null);
  assert.equal(away.judge(lookOf(), 6_000), "make-anew");
});

test("what stays as it is whatever is done is tried less and less, by a group of hubs as by one", () => {
  for (const hubs of [1, 5]) {
    const watches = Array.from({ length: hubs }, () => new StreamWatch(MAX_WAIT_MS));
    let made = 0;
    // As a server does: the one that finds the consumer it looked at still there makes the next.
    for (let now = 0; now < 24 * HOUR_MS; now += 200)
      for (const watch of watches)
        if (watch.judge(lookOf({ created: `consumer ${made}` }), now) === "make-anew") made++;
    // 1, 2, 4 … 2,048 s, and then once an hour.
    assert.ok(made >= 34 && made <= 36, `${hubs} hubs made ${made} consumers in a day`);
  }
});

test("in a stream that keeps what was read, nothing is given out again: only connections are made anew", () => {
  const watch = new StreamWatch(MAX_WAIT_MS);
  const look = lookOf({ isWorkQueue: false, unacknowledged: 1 });
  watch.judge(look, 0);
  assert.deepEqual(
    [1_000, 2_999, 3_000, 6_999, 7_000].map((at) => watch.judge(look, at)),
    ["consume-anew", null, "consume-anew", null, "consume-anew"],
  );
});
