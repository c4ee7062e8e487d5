import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  compareTimes,
  type HybridTime,
  later,
  NO_TIME,
  tick,
} from "../../workers/attributes/hybrid-clock.ts";
import { compareRegisters, type Register } from "../../workers/attributes/register.ts";
import { BatchWriter } from "../../workers/hub/batch-writer.ts";
import { openHubForWriting } from "../../workers/hub/database.ts";
import { deviceJson } from "../../workers/hub/device-rows.ts";
import { DEFAULT_ATTRIBUTE_LIMITS } from "../../workers/hub/edge-news.ts";
import { HubReader } from "../../workers/hub/hub-reader.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { deliveries, history, listed, START_MS, winners } from "../support/attribute-history.ts";
import { StoreFixture } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 200);
const LIMITS = { maxDevices: 100, maxDeviceAttributes: 10, maxAttributeBytes: 100 };
const time = fc.record({ ms: fc.nat(3), counter: fc.nat(2) });
const register: fc.Arbitrary<Register> = fc.record(
  {
    value: fc.constantFrom('"a"', '"b"', "1", null),
    time: fc.record({ ms: fc.nat(3), counter: fc.nat(2) }, { noNullPrototype: true }),
    incarnation: fc.constantFrom("aa", "bb"),
  },
  { noNullPrototype: true },
);
const merge = (a: Register, b: Register): Register => (compareRegisters(a, b) >= 0 ? a : b);

test("a hybrid clock goes forward whatever the physical clock does, and is no further ahead than that ever was", () => {
  const step = fc.record({ nowMs: fc.integer({ min: -5, max: 50 }), heard: fc.option(time) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      let [clock, mostMs] = [NO_TIME, 0];
      for (const { nowMs, heard } of steps) {
        if (heard !== null) clock = later(clock, heard);
        const next = tick(clock, nowMs);
        mostMs = Math.max(mostMs, nowMs, heard?.ms ?? 0);
        assert.ok(compareTimes(next, clock) > 0, "after what was before it");
        assert.ok(heard === null || compareTimes(next, heard) > 0, "and after what was heard of");
        assert.ok(next.ms >= nowMs && next.ms <= mostMs);
        if (nowMs > clock.ms) assert.deepEqual(next, { ms: nowMs, counter: 0 });
        clock = next;
      }
    }),
    { numRuns: RUNS },
  );
});

test("the counter's end is not the clock's", () => {
  const full = { ms: 7, counter: 2 ** 31 - 1 };
  assert.deepEqual(tick(full, 7), { ms: 8, counter: 0 });
});

test("merging registers is commutative, associative and idempotent, and the order is total", () => {
  fc.assert(
    fc.property(register, register, register, (a, b, c) => {
      assert.deepEqual(merge(a, b), merge(b, a));
      assert.deepEqual(merge(merge(a, b), c), merge(a, merge(b, c)));
      assert.deepEqual(merge(a, a), a);
      assert.equal(Math.sign(compareRegisters(a, b)), -Math.sign(compareRegisters(b, a)) + 0);
    }),
    { numRuns: RUNS * 5 },
  );
});

test("a hub holds the same of every order of delivery, with duplicates, of clocks that jump", (context) => {
  fc.assert(
    fc.property(history, fc.array(fc.nat(39), { maxLength: 60 }), fc.nat(), (changes, extra, rotation) => {
      const dir = makeTempDir(context);
      const db = openHubForWriting(dir);
      const writer = new BatchWriter(db, nativeCodec(), DEFAULT_ATTRIBUTE_LIMITS);
      // Some first and again, then each once from anywhere on.
      const all = changes.map((_, at) => (at + rotation) % changes.length);
      for (const batch of deliveries(changes, [...extra, ...all, ...extra.toReversed()]))
        db.transaction(() => writer.write(batch, 1, (START_MS + 1e9) * 1_000))();
      const reader = new HubReader(dir);
      const rows = reader.devices({ edge: null, device: null, after: null, limit: 1_000 });
      assert.deepEqual(listed(rows.map(deviceJson).join("\n")), winners(changes));
      reader.close();
      db.close();
    }),
    { numRuns: Math.ceil(RUNS / 4) },
  );
});

test("a node's attributes are those set last, its clock goes forward over restarts and jumps of its own", (context) => {
  const step = fc.oneof(
    { weight: 1, arbitrary: fc.constant({ kind: "restart" as const }) },
    {
      weight: 5,
      arbitrary: fc.record({
        kind: fc.constant("set" as const),
        device: fc.constantFrom("m1", "m2"),
        mode: fc.constantFrom("merge" as const, "replace" as const),
        attributes: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("x", 1, true, null)),
        nowMs: fc.integer({ min: 0, max: 1_000 }),
      }),
    },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const fixture = new StoreFixture(context);
      const plain = new Map<string, Map<string, unknown>>();
      let last: HybridTime = NO_TIME;
      for (const each of steps) {
        if (each.kind === "restart") fixture.reopen();
        else {
          const { device, mode, attributes, nowMs } = each;
          const [outcome] = fixture.store.attributes.set(
            [{ device, mode, attributes }],
            LIMITS,
            START_MS + nowMs,
          );
          const held = mode === "replace" ? new Map() : (plain.get(device) ?? new Map<string, unknown>());
          for (const [name, value] of Object.entries(attributes))
            if (value === null) held.delete(name);
            else held.set(name, value);
          plain.set(device, held);
          assert.equal(outcome?.kind, "set");
        }
        const times: HybridTime[] = [];
        for (const device of ["m1", "m2"]) {
          const found = fixture.store.attributes.read(device)?.attributes ?? [];
          const said = found.map(({ attribute, value }) => [attribute, JSON.parse(value)]);
          assert.deepEqual(new Map(said as [string, unknown][]), plain.get(device) ?? new Map());
          times.push(...found.map(({ time: at }) => at));
        }
        const newest = times.reduce((a, b) => (compareTimes(a, b) < 0 ? b : a), last);
        assert.ok(compareTimes(newest, last) >= 0);
        last = newest;
        const { devices, attributes } = fixture.store.attributes.report(START_MS);
        const counts = [...plain.values()].map(({ size }) => size);
        assert.equal(
          attributes,
          counts.reduce((sum, size) => sum + size, 0),
        );
        assert.ok(devices >= counts.filter((size) => size > 0).length);
      }
      fixture.store.close();
    }),
    { numRuns: Math.ceil(RUNS / 5) },
  );
});
