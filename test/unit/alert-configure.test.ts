import assert from "node:assert/strict";
import { test } from "node:test";
import { StreamAlerts } from "../../workers/alert/stream-alerts.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { AlertRow, ResultRow } from "../../workers/messages.ts";
import { alertFixture } from "../support/alert-fixture.ts";

const row = (startUs: number, mean: number): ResultRow => ({
  query: "q",
  startUs,
  endUs: startUs + 10,
  key: '{"device":"a"}',
  values: `{"mean":${mean}}`,
  revision: 0,
  kind: "on-time",
});

test("an alert keeps its state when what is beside its definition changes, and begins anew with another", () => {
  const { alert, query } = alertFixture("from: q, when: mean > 5");
  const alerts = new StreamAlerts(instantiateCore());
  const take = (result: ResultRow): string[] => {
    const out: AlertRow[] = [];
    alerts.takeResults("q", [result], BigInt(result.endUs), out);
    return out.map(({ state, severity, revision }) => `${state} ${severity} ${revision}`);
  };
  alerts.configure([alert], [query]);
  assert.deepEqual(take(row(0, 9)), ["firing warning 0"]);
  alerts.configure([{ ...alert, id: 3, severity: "high" }], [query]);
  assert.deepEqual(take(row(10, 9)), []);
  const saved = alerts.save(20n);
  assert.deepEqual(take(row(20, 1)), ["resolved high 1"]);
  alerts.restore(saved);
  assert.deepEqual(
    alerts.stats().map(({ firing }) => firing),
    [1],
  );
  alerts.configure([{ ...alert, definition: "another" }], [query]);
  alerts.restore(saved);
  assert.deepEqual(take(row(30, 9)), ["firing warning 0"]);
  alerts.configure([], [query]);
  assert.deepEqual([alerts.stats(), alerts.save(40n), take(row(40, 9))], [[], [], []]);
});
