import assert from "node:assert/strict";
import { test } from "node:test";
import { explainWay } from "../../host/relay/relay-routes.ts";
import type { RelayedBatch } from "../../workers/store/relay-operations.ts";
import { Store } from "../../workers/store/store.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const CAP = { capBytes: 100, nowUs: 1 };

function batchOf(key: string, kind: RelayedBatch["class"], bytes = 10, edge = "a"): RelayedBatch {
  return { edge, key, class: kind, hops: ["floor"], rows: 3, body: new Uint8Array(bytes).fill(7) };
}

test("a relay's store knows a batch by edge and key, also after it went on, and goes by urgency", (context) => {
  const dir = makeTempDir(context);
  let store = Store.open(dir);
  context.after(() => store.close());
  const batches = [
    batchOf("k1", "events"),
    batchOf("k2", "alerts"),
    batchOf("k1", "events"),
    batchOf("k1", "results", 10, "b"),
  ];
  assert.deepEqual(store.relay.store({ batches, ...CAP }), ["stored", "stored", "duplicate", "stored"]);
  assert.deepEqual(store.relay.store({ batches: [batchOf("k9", "alerts", 71)], ...CAP }), ["full"]);
  // Nothing of one that found no room is known: it may come again.
  store.close();
  store = Store.open(dir);
  const classes = ["alerts", "losses", "results", "events"] as const;
  const order: string[] = [];
  for (
    let next = store.relay.next({ classes, except: [] });
    next !== null;
    next = store.relay.next({ classes, except: [] })
  ) {
    order.push(`${next.edge} ${next.key} ${next.class}`);
    assert.deepEqual([next.hops, [...next.body], next.rows], [["floor"], Array(10).fill(7), 3]);
    store.relay.settle([{ id: next.id, reason: next.class === "events" ? "will not have it" : null }]);
  }
  assert.deepEqual(order, ["a k2 alerts", "b k1 results", "a k1 events"]);
  assert.deepEqual(store.relay.store({ batches: [batchOf("k2", "alerts")], ...CAP }), ["duplicate"]);
  const [a, b] = store.relay.edges();
  assert.deepEqual([a?.received, a?.forwarded, a?.parked, a?.waiting, a?.duplicates], [2, 1, 1, 0, 2]);
  assert.deepEqual([b?.received, b?.forwarded, b?.parked, b?.waiting], [1, 1, 0, 0]);
  assert.equal(store.relay.unpark(), 1);
  assert.equal(store.relay.next({ classes, except: [] })?.key, "k1");
  assert.equal(store.relay.next({ classes: ["alerts"], except: [] }), null);
  assert.deepEqual(store.relay.store({ batches: [batchOf("k9", "alerts", 71)], ...CAP }), ["stored"]);
});

test("a way that comes back, or is too long, is named", () => {
  assert.equal(explainWay("site", 2, "press", ["floor"]), null);
  assert.match(explainWay("site", 4, "press", ["site", "b"])?.detail ?? "", /press → site → b → site/);
  assert.equal(explainWay("site", 4, "site", [])?.code, "E_RELAY_LOOP");
  assert.equal(explainWay("site", 1, "press", ["floor"])?.code, "E_RELAY_HOPS");
});
