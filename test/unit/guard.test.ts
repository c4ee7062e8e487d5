import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { measureStages } from "../../bench/support/stage-rounds.ts";
import { BAND, type Baseline, type Measure, verdictsOf } from "../../bench/support/verdicts.ts";

const measureOf = (measure: string, ratio: number): Measure => {
  return { measure, ns: 10, plain: "a Map", "plain ns": ratio * 10, ratio };
};

test("a ratio far below its baseline is asked about, and one that has none is named", () => {
  const baseline: Baseline = {
    date: "2026-01-01",
    cpu: "",
    cores: 2,
    node: "",
    ratios: { a: 4, b: 4, c: 4 },
  };
  const measures = [measureOf("a", 4 * BAND + 0.01), measureOf("b", 4 * BAND - 0.01), measureOf("c", 6)];
  assert.deepEqual(
    verdictsOf([...measures, measureOf("d", 1)], baseline).map(({ verdict }) => verdict),
    ["", "REGRESSION?", "better?", "no baseline"],
  );
});

test("both ways fire the same rows, every step takes time, and the baseline has a ratio for each", () => {
  const { times, failures } = measureStages(2);
  assert.deepEqual(failures, []);
  for (const [step, ns] of Object.entries(times)) assert.ok(ns > 0, `${step}: ${ns} ns`);
  const file = new URL("../../bench/baseline.json", import.meta.url);
  const { ratios } = JSON.parse(readFileSync(file, "utf8")) as Baseline;
  assert.ok(Object.keys(ratios).length >= 9);
  for (const [name, ratio] of Object.entries(ratios)) assert.ok(ratio > 0, name);
});
