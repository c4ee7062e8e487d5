import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EventAlert } from "../../workers/alert/event-alert.ts";
import { createEventFilter } from "../../workers/alert/event-filter.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import type { BatchHandle } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { Tables } from "../../workers/core/tables.ts";
import type { AlertRow } from "../../workers/messages.ts";
import { alertFixture, plainAlerts, sorted, standing } from "../support/alert-fixture.ts";
import { disposeBatch } from "../support/expression-fixture.ts";

const core = instantiateCore();
const CLOCK_SKEW = 1;

interface Event {
  readonly device: string | null;
  readonly timeUs: number;
  readonly v: number | null;
  readonly isSkewed: boolean;
}

const RULES = [
  {
    settings: "from: s, when: v > 5",
    enough: () => true,
    clear: (v: number | null) => !(v !== null && v > 5),
  },
  {
    settings: "from: s, when: v > 5, clear: v < 3",
    enough: () => true,
    clear: (v: number | null) => v !== null && v < 3,
  },
  {
    settings: "from: s, when: v > 5, for: 3",
    enough: (row: number) => row >= 3,
    clear: (v: number | null) => !(v !== null && v > 5),
  },
  {
    settings: "from: s, when: v > 5, clear: v < 3, for: 10ms",
    enough: (_: number, lastedUs: number) => lastedUs >= 10_000,
    clear: (v: number | null) => v !== null && v < 3,
  },
] as const;

const event = fc.record({
  device: fc.constantFrom("a", "b", "a rather long name of a device", null),
  timeUs: fc.integer({ min: 0, max: 40 }).map((ms) => ms * 1_000),
  v: fc.option(fc.integer({ min: 0, max: 9 }), { freq: 6 }),
  isSkewed: fc.integer({ min: 0, max: 9 }).map((chance) => chance === 0),
});
const blocks = fc.array(
  fc.record({ events: fc.array(event, { minLength: 1, maxLength: 12 }), restarts: fc.boolean() }),
  { maxLength: 12 },
);

function batchOf(events: readonly Event[], deviceType: "string" | "null"): BatchHandle {
  const builder = buildBatch(core);
  const device = builder.addColumn("device", deviceType);
  const v = builder.addColumn("v", "int");
  for (const { device: name, timeUs, v: value, isSkewed } of events) {
    const row = builder.addRow(BigInt(timeUs), isSkewed ? CLOCK_SKEW : 0);
    if (name !== null) builder.setText(device, row, name);
    if (value !== null) builder.setInt(v, row, BigInt(value));
  }
  (core.exports as unknown as { codecSeal(batch: number): number }).codecSeal(builder.batch);
  return builder.batch;
}

for (const { settings, enough, clear } of RULES) {
  test(`alerts { ${settings} } stand as all events in the order of the log say, however they came in blocks`, () => {
    const { alert: plan } = alertFixture(settings);
    const property = fc.property(blocks, (log) => {
      const filters = [0, 1].map(() => createEventFilter(core, plan, new Tables(core)));
      let alert = new EventAlert(core, plan);
      const rows: AlertRow[] = [];
      const seen: Event[] = [];
      for (const [index, { events, restarts }] of log.entries()) {
        const batch = batchOf(events, events.every(({ device }) => device === null) ? "null" : "string");
        // As any ingest worker may do it.
        rows.push(...alert.take(filters[index % 2]!.scan(batch), index + 1));
        disposeBatch(core, batch);
        seen.push(...events.filter(({ isSkewed }) => !isSkewed));
        const expected = [...Map.groupBy(seen, ({ device }) => device)].flatMap(([device, own]) => {
          const key = device === null ? '{"device":null}' : JSON.stringify({ device });
          const samples = own.map(({ timeUs, v }) => {
            const when = v !== null && v > 5;
            return { startUs: timeUs, endUs: timeUs, when, clear: !when && clear(v) };
          });
          return plainAlerts(key, samples, enough);
        });
        assert.deepEqual(sorted(standing(rows)), sorted(expected));
        if (!restarts) continue;
        const saved = alert.save();
        alert.dispose();
        alert = new EventAlert(core, plan);
        alert.restore(saved);
        assert.equal(alert.save(), saved);
      }
      const open = standing(rows).filter(({ state }) => state !== "resolved");
      const { pending, firing } = alert.stats();
      assert.equal(pending + firing, open.length);
      alert.dispose();
      for (const filter of filters) filter.dispose();
    });
    fc.assert(property, { numRuns: 300 });
  });
}

test("only decisive rows leave the core: of a storm one a key, of quiet events none that JavaScript reads", () => {
  const { alert: plan } = alertFixture("from: s, when: v > 5, clear: v < 3");
  const filter = createEventFilter(core, plan, new Tables(core));
  const scan = (v: number): Uint8Array => {
    const events = Array.from({ length: 1_000 }, (_, row) => {
      return { device: `d${row % 10}`, timeUs: row, v, isSkewed: false };
    });
    const batch = batchOf(events, "string");
    const partial = filter.scan(batch);
    disposeBatch(core, batch);
    return partial;
  };
  const mainBytes = (partial: Uint8Array): number =>
    new DataView(partial.buffer, partial.byteOffset).getUint32(4, true);
  assert.equal(mainBytes(scan(1)), 0);
  const storm = scan(9);
  assert.equal(mainBytes(storm), storm.length - 8);
  const alert = new EventAlert(core, plan);
  const rows = alert.take(storm as Uint8Array<ArrayBuffer>, 1);
  assert.deepEqual(
    rows.map(({ key, value, state }) => `${key} ${value} ${state}`)[9],
    '{"device":"d9"} {"v":9} firing',
  );
  assert.equal(rows.length, 10);
  alert.dispose();
  filter.dispose();
});
