import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { QueryAlert } from "../../workers/alert/query-alert.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { AlertRow, ResultRow } from "../../workers/messages.ts";
import { alertFixture, type PlainSample, plainAlerts, sorted, standing } from "../support/alert-fixture.ts";

/* Windows of 10 s, revised for 30 s. */
const SECOND = 1_000_000;
const SIZE = 10 * SECOND;
const LATENESS = 30 * SECOND;
const core = instantiateCore();

const RULES = [
  { settings: "from: q, when: mean > 5", enough: () => true, clear: (mean: number) => mean <= 5 },
  {
    settings: "from: q, when: mean > 5, for: 2",
    enough: (row: number) => row >= 2,
    clear: (mean: number) => mean <= 5,
  },
  {
    settings: "from: q, when: mean > 5, clear: mean < 3, for: 3",
    enough: (row: number) => row >= 3,
    clear: (mean: number) => mean < 3,
  },
  {
    settings: "from: q, when: mean > 5, clear: mean < 3, for: 25s",
    enough: (_: number, lastedUs: number) => lastedUs >= 25 * SECOND,
    clear: (mean: number) => mean < 3,
  },
] as const;

/** A row of a window that is open to revisions, or the retraction of the one there; and a restart behind it. */
const step = fc.record({
  key: fc.constantFrom("a", "b"),
  back: fc.nat(2),
  mean: fc.integer({ min: 0, max: 9 }),
  retracts: fc.integer({ min: 0, max: 5 }).map((chance) => chance === 0),
  advance: fc.integer({ min: 0, max: 2 }),
  isEarly: fc.integer({ min: 0, max: 7 }).map((chance) => chance === 0),
  restarts: fc.integer({ min: 0, max: 4 }).map((chance) => chance === 0),
});
/** Rows of one step fire together, those of a key in any order. */
const steps = fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { maxLength: 25 });

for (const { settings, enough, clear } of RULES) {
  test(`alerts { ${settings} } stand as the latest revisions of all results say, after restarts too`, () => {
    const { alert: plan, query } = alertFixture(settings);
    const property = fc.property(steps, (groups) => {
      let alert = new QueryAlert(core, plan, query);
      const rows: AlertRow[] = [];
      /** Latest rows by key and window. */
      const known = new Map<string, Map<number, number>>([
        ["a", new Map()],
        ["b", new Map()],
      ]);
      let window = 4;
      for (const group of groups) {
        const fired: ResultRow[] = [];
        window += group[0]!.advance;
        for (const { key, back, mean, retracts, isEarly } of group) {
          const startUs = (window - 1 - back) * SIZE;
          // One row of a window in a firing.
          if (fired.some((row) => row.key === keyOf(key) && row.startUs === startUs)) continue;
          const isRetracted = retracts && known.get(key)!.has(startUs);
          fired.push({
            query: "q",
            startUs,
            endUs: startUs + SIZE,
            key: keyOf(key),
            values: isRetracted ? "{}" : `{"mean":${mean}}`,
            revision: 0,
            kind: isEarly ? "early" : "on-time",
            ...(isRetracted ? { retracted: true } : {}),
          });
          if (isRetracted) known.get(key)!.delete(startUs);
          else if (!isEarly) known.get(key)!.set(startUs, mean);
        }
        rows.push(...alert.take(fired, BigInt(window * SIZE)));
        const expected = [...known].flatMap(([key, windows]) => {
          const samples = [...windows]
            .sort(([one], [other]) => one - other)
            .map(([startUs, mean]): PlainSample => {
              return { startUs, endUs: startUs + SIZE, when: mean > 5, clear: clear(mean) };
            });
          return plainAlerts(keyOf(key), samples, enough);
        });
        assert.deepEqual(sorted(standing(rows)), sorted(expected));
        const open = expected.filter(({ state }) => state !== "resolved");
        const { pending, firing } = alert.stats();
        assert.deepEqual(
          [pending, firing],
          [
            open.filter(({ state }) => state === "pending").length,
            open.filter(({ state }) => state === "firing").length,
          ],
        );
        if (!group.some(({ restarts }) => restarts)) continue;
        const saved = alert.save(BigInt(window * SIZE));
        alert.dispose();
        alert = new QueryAlert(core, plan, query);
        alert.restore(saved);
        assert.equal(alert.save(BigInt(window * SIZE)), saved);
      }
      assert.equal(alert.stats().ignoredRevisions, 0, "none was too far back");
      alert.dispose();
    });
    fc.assert(property, { numRuns: 400 });
  });
}

const keyOf = (key: string): string => `{"device":"${key}"}`;

test("a revision of a window too far back to be judged again is counted, and changes nothing", () => {
  const { alert: plan, query } = alertFixture("from: q, when: mean > 5");
  const alert = new QueryAlert(core, plan, query);
  const row = (startUs: number, mean: number): ResultRow => ({
    query: "q",
    startUs,
    endUs: startUs + SIZE,
    key: keyOf("a"),
    values: `{"mean":${mean}}`,
    revision: 0,
    kind: "on-time",
  });
  alert.take([row(0, 9)], BigInt(SIZE));
  alert.take([row(10 * SIZE, 9)], BigInt(10 * SIZE + LATENESS));
  assert.deepEqual(alert.take([row(0, 1)], BigInt(10 * SIZE + LATENESS)), []);
  assert.equal(alert.stats().ignoredRevisions, 1);
  alert.dispose();
});
