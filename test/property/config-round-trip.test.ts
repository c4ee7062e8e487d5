import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { describeConfig } from "../../host/api/describe-config.ts";
import type { Config } from "../../host/config/config.ts";
import { parseConfig } from "../../host/config/load.ts";
import { isSameSet, querySetOf } from "../../host/pipeline/query-set.ts";

const RUNS = 300;

/** Names that stand in backquotes, and some that need none. */
const fieldName = fc.oneof(
  fc.constantFrom(
    "temp",
    "a.b",
    "größe",
    "step",
    "in",
    "and",
    "null",
    "true",
    "1st",
    "window",
    "x y",
    "a,b",
    "n()",
  ),
  fc
    .string({
      unit: fc.constantFrom(..."ab1_.- ,()[]{}#:\"'\\/%$é√&|!?*".split("")),
      minLength: 1,
      maxLength: 12,
    })
    .filter((name) => name.trim() === name && !name.includes("${")),
);
const quoted = (name: string): string => `\`${name}\``;

const value = fc.oneof(
  fieldName.map((name) => `sum(${quoted(name)})`),
  fieldName.map((name) => `quantile(${quoted(name)}, 0.5)`),
  fieldName.map((name) => `topk(${quoted(name)}, 3)`),
  fieldName.map((name) => `histogram(${quoted(name)}, 1, 2.5)`),
  fieldName.map((name) => `twa(${quoted(name)}, step)`),
  fc.constant("count()"),
);
const condition = fieldName.chain((name) =>
  fc.constantFrom(
    `${quoted(name)} > 1`,
    `${quoted(name)} in ["a", "b,c", 'd "e"']`,
    `not (${quoted(name)} is null) or ${quoted(name)} like "%x%"`,
    `coalesce(${quoted(name)}, 0) between 1 and 2 # no comment`.replace(" # no comment", ""),
  ),
);
const outputName = fc.stringMatching(/^[a-z][a-z0-9_]{0,8}$/);
const windowInput = fc.constantFrom<object>(
  { tumbling: "5m" },
  { tumbling: "1d", timezone: "Europe/Berlin", offset: "2h" },
  { sliding: "1h", every: "5m" },
  { session: "30s" },
  { count: 100 },
);
const queryInput = fc.record(
  {
    from: fc.constant("machines"),
    window: windowInput,
    select: fc.dictionary(outputName, value, { minKeys: 1, maxKeys: 4 }),
    where: condition,
    derive: fc.dictionary(
      outputName.map((name) => `d_${name}`),
      fieldName.map((name) => `${quoted(name)} * 2`),
      { maxKeys: 2 },
    ),
    by: fc.uniqueArray(fieldName, { maxLength: 2 }),
    lateness: fc.constantFrom("0s", "90m"),
  },
  { requiredKeys: ["from", "window", "select"] },
);
const configInput = fc.record(
  {
    streams: fc.constant({ machines: { key: "device", lateness: "5s", watermark: { bound: "1500ms" } } }),
    queries: fc.dictionary(outputName, queryInput, { minKeys: 1, maxKeys: 3 }),
    alerts: fc.dictionary(
      outputName,
      fc.record({
        from: fc.constant("machines"),
        when: condition,
        for: fc.constantFrom<string | number>(2, "10m"),
      }),
      { maxKeys: 2 },
    ),
    tables: fc.constant({ sites: { key: "device", on: "place" } }),
    limits: fc.record({
      maxTable: fc.constantFrom("1MiB", "5000B"),
      maxWatermarkAhead: fc.constantFrom("1h", "90d"),
    }),
  },
  { requiredKeys: ["streams", "queries"] },
);

function load(text: string): Config {
  const loaded = parseConfig(text, "test.yaml", {}, {});
  assert.ok(loaded.ok, loaded.ok ? "" : `${JSON.stringify(loaded.problems)}\n${text}`);
  return loaded.config;
}

test(`what GET /v1/config gives is the same configuration (${RUNS} random ones)`, () => {
  fc.assert(
    fc.property(configInput, (input) => {
      const config = load(JSON.stringify(input));
      const shown = JSON.stringify(describeConfig(config));
      const again = load(shown);
      const setOf = (each: Config): ReturnType<typeof querySetOf> => querySetOf(each, 1, { kind: "file" });
      assert.ok(isSameSet(setOf(again), setOf(config)), shown);
      assert.equal(JSON.stringify(describeConfig(again)), shown);
    }),
    { numRuns: RUNS },
  );
});
