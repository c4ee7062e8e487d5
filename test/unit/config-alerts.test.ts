import assert from "node:assert/strict";
import { test } from "node:test";
import { describeConfig } from "../../host/api/describe-config.ts";
import type { AlertConfig } from "../../host/config/alert.ts";
import type { Config } from "../../host/config/config.ts";
import { parseConfig } from "../../host/config/load.ts";
import { formatProblem } from "../../host/config/problems.ts";

const REST = `streams:
  machines: { key: device, fields: { temp: float, state: string } }
  loose: {}
queries:
  temp_5m: { from: machines, window: { tumbling: 5m }, by: [device], select: { mean: avg(temp), top: topk(state, 3) } }
  loose: { from: loose, window: { tumbling: 5m }, select: { n: count() } }
alerts:
  too_hot: `;

function load(settings: string): Config {
  const loaded = parseConfig(
    `${REST}${settings}`,
    "test.yaml",
    {},
    { HOOK: "http://127.0.0.1:9000/from-env" },
  );
  assert.ok(loaded.ok, loaded.ok ? "" : loaded.problems.map(formatProblem).join("\n"));
  return loaded.config;
}

function alert(settings: string): AlertConfig {
  return load(settings).alerts.get("too_hot")!;
}

function problem(settings: string): string {
  const loaded = parseConfig(`${REST}${settings}`, "test.yaml", {}, {});
  assert.ok(!loaded.ok, settings);
  assert.equal(loaded.problems.length, 1, loaded.problems.map(formatProblem).join("\n"));
  return formatProblem(loaded.problems[0]!);
}

test("an alert as it is mostly written, and what is left out", () => {
  const full = alert(
    "{ from: temp_5m, when: mean > 90, clear: mean < 85, for: 2, severity: critical, notify: [{ webhook: http://127.0.0.1:9000/hook }] }",
  );
  assert.deepEqual(
    [full.from, full.when.text, full.clear?.text, full.for, full.severity, full.webhooks],
    [
      { kind: "query", name: "temp_5m" },
      "mean > 90",
      "mean < 85",
      { kind: "samples", count: 2 },
      "critical",
      ["http://127.0.0.1:9000/hook"],
    ],
  );
  const least = alert("{ from: machines, when: temp > 90 }");
  assert.deepEqual(
    [least.from.kind, least.clear, least.for, least.severity, least.webhooks],
    ["stream", null, { kind: "samples", count: 1 }, "warning", []],
  );
});

test("for is a number or a duration, and an address may come from the environment", () => {
  assert.deepEqual(alert("{ from: machines, when: temp > 90, for: 10m }").for, {
    kind: "duration",
    us: 600e6,
  });
  assert.deepEqual(alert('{ from: machines, when: temp > 90, for: "3" }').for, { kind: "samples", count: 3 });
  const { webhooks } = alert(
    `{ from: machines, when: temp > 90, notify: [{ webhook: '${"$"}{HOOK}' }, { webhook: '${"$"}{HOOK}' }] }`,
  );
  assert.deepEqual(webhooks, ["http://127.0.0.1:9000/from-env"]);
});

test("what the definition is, and what is beside it", () => {
  const definition = (settings: string): string => alert(settings).definition;
  const first = definition("{ from: temp_5m, when: mean > 90 }");
  assert.equal(
    definition("{ from: temp_5m, when: mean > 90, severity: high, notify: [{ webhook: http://a/ }] }"),
    first,
  );
  for (const other of ["when: mean > 91", "when: mean > 90, for: 2", "when: mean > 90, clear: mean < 80"])
    assert.notEqual(definition(`{ from: temp_5m, ${other} }`), first, other);
});

test("GET /v1/config shows alerts without what an address may hide", () => {
  const shown = describeConfig(
    load(
      "{ from: temp_5m, when: mean > 90, for: 10m, notify: [{ webhook: http://127.0.0.1:9000/T0KEN?a=b }] }",
    ),
  ) as { alerts: object };
  assert.deepEqual(shown.alerts, {
    too_hot: {
      from: "temp_5m",
      when: "mean > 90",
      for: "10m",
      severity: "warning",
      notify: [{ webhook: "http://127.0.0.1:9000/***" }],
    },
  });
});

test("wrong alerts are told with place and fix", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    [
      "{ from: temp_5, when: mean > 90 }",
      /^test\.yaml:8: alerts\.too_hot\.from: there is no query or stream temp_5; did you mean `temp_5m`\?$/,
    ],
    ["{ from: what, when: mean > 90 }", /declare it under queries: or streams:$/],
    ["{ from: loose, when: n > 90 }", /loose is a query and a stream; give one of them another name$/],
    [
      "{ from: temp_5m, when: men > 90 }",
      /alerts\.too_hot\.when: column 1: the query gives no men; did you mean `mean`\?$/,
    ],
    ["{ from: temp_5m, when: mean > 90, clear: mean }", /alerts\.too_hot\.clear: .*true or false/],
    ['{ from: temp_5m, when: mean > "x" }', /alerts\.too_hot\.when: /],
    ["{ from: temp_5m, when: top > 1 }", /top is a topk\(\), not one value/],
    [
      "{ from: machines, when: tmp > 90 }",
      /alerts\.too_hot\.when: column 1: stream machines has no field tmp; did you mean `temp`\?$/,
    ],
    ["{ from: machines, when: temp > }", /alerts\.too_hot\.when: /],
    ["{ from: machines }", /alerts\.too_hot\.when: `when` is missing; add it$/],
    [
      "{ from: machines, when: temp > 90, for: soon }",
      /for: must be a number of windows in a row, or a duration; write it like 2 or 10m$/,
    ],
    ["{ from: machines, when: temp > 90, for: 0 }", /for: must be a number of windows/],
    ["{ from: machines, when: temp > 90, for: 1001 }", /for: must be a number of windows/],
    ["{ from: machines, when: temp > 90, for: 0s }", /for: must be a number of windows/],
    [
      "{ from: machines, when: temp > 90, notify: [{ webhook: ftp://a/ }] }",
      /must be an http or https address; write it like http:/,
    ],
    [
      "{ from: machines, when: temp > 90, notify: [{ webhook: 'http://u:p@a/' }] }",
      /user or password in its address; put a token/,
    ],
    ["{ from: machines, when: temp > 90, notify: [{ mail: a@b }] }", /./],
    [
      "{ from: machines, when: temp > 90, sevrity: high }",
      /there is no setting `sevrity` here; did you mean `severity`\?$/,
    ],
  ];
  for (const [settings, message] of cases) {
    if (settings.includes("mail")) {
      const loaded = parseConfig(`${REST}${settings}`, "test.yaml", {}, {});
      assert.ok(!loaded.ok);
      assert.match(loaded.problems.map(formatProblem).join("\n"), /there is no setting `mail` here/);
    } else assert.match(problem(settings), message, settings);
  }
});
