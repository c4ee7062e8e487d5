import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { describeConfig } from "../../host/api/describe-config.ts";
import type { Config, QueryExpressions } from "../../host/config/config.ts";
import { configJsonSchema } from "../../host/config/json-schema.ts";
import { parseConfig } from "../../host/config/load.ts";
import { queryPlan } from "../../host/config/plans.ts";
import { formatProblem, type Problem } from "../../host/config/problems.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const QUERY = "    from: s\n    window: { tumbling: 5s }\n    select: { n: count(), m: max(temp) }\n";

function load(text: string): Config {
  const loaded = parseConfig(text, "test.yaml");
  assert.ok(loaded.ok, loaded.ok ? "" : loaded.problems.map(formatProblem).join("\n"));
  return loaded.config;
}

/** A query over a stream with inferred fields, with further settings. */
function expressions(settings: string): QueryExpressions {
  const config = load(`streams: { s: { key: device } }\nqueries:\n  q:\n${QUERY}${settings}`);
  const found = config.queries.get("q")?.expressions;
  assert.ok(found);
  return found;
}

function problems(settings: string): readonly Problem[] {
  const fields = 'fields: { temp: float, rpm: int, on: bool, state: string, "oil temp": float }';
  const text = `streams: { s: { key: device, ${fields} } }\nqueries:\n  q:\n${QUERY}${settings}`;
  const loaded = parseConfig(text, "test.yaml");
  assert.ok(!loaded.ok, settings);
  return loaded.problems;
}

test("expressions are read from YAML as it is mostly written", () => {
  for (const [written, text] of [
    ['where: state != "off"', 'state != "off"'],
    ["where: 'state != \"off\"'", 'state != "off"'],
    ["where: true", "true"],
    ["where: on", "on"],
    ['where: state in ["on", "off"]', 'state in ["on", "off"]'],
    ["where: `oil temp` > 3", "`oil temp` > 3"],
    ["where: a > 1 and\n      b > 2", "a > 1 and b > 2"],
    ["where: |\n      a > 1\n      and b > 2\n", "a > 1\nand b > 2\n"],
  ] as const)
    assert.equal(expressions(`    ${written}\n`).where?.text, text, written);
  const flow = expressions(
    '    derive: { a: max(temp, 3), b: `oil temp` + 1, c: state in ["x, y", "z"], d: state not in ("x", "y"), e: 5 }\n',
  );
  assert.deepEqual(
    flow.derive.map(({ name, expression }) => `${name} ${expression.text}`),
    ["a max(temp, 3)", "b `oil temp` + 1", 'c state in ["x, y", "z"]', 'd state not in ("x", "y")', "e 5"],
  );
  assert.deepEqual(
    [...flow.kinds],
    [
      ["a", "number"],
      ["b", "number"],
      ["c", "bool"],
      ["d", "bool"],
      ["e", "number"],
    ],
  );
});

test("problems have the line and column of what is wrong", () => {
  const cases: readonly (readonly [string, string, number, number])[] = [
    ["    where: temp >\n", "queries.q.where", 7, 18],
    ["    where: temp + state > 1\n", "queries.q.where", 7, 17],
    ['    where: "temp + state > 1"\n', "queries.q.where", 7, 18],
    ["    derive: { a: temp * 2, b: upper(rpm) }\n", "queries.q.derive.b", 7, 37],
    ["    derive:\n      a: temp\n      b: a + on\n", "queries.q.derive.b", 9, 14],
    ["    having: n > 1 and meen > 2\n", "queries.q.having", 7, 23],
    ["    having: |\n      n > 1\n      and meen > 2\n", "queries.q.having", 7, 13],
    ["    where: !on\n", "", 7, 12],
  ];
  for (const [settings, path, line, column] of cases) {
    const [problem, ...others] = problems(settings);
    assert.deepEqual(others, [], settings);
    assert.deepEqual([problem?.path, problem?.line, problem?.column], [path, line, column], settings);
    assert.ok(problem?.fix, settings);
  }
  assert.match(
    formatProblem(problems("    having: |\n      n > 1\n      and meen > 2\n")[0]!),
    /: line 2, column 5: /,
  );
  assert.match(
    formatProblem(problems("    where: [1]\n")[0]!),
    /must be an expression; write it like temp > 90/,
  );
});

test("every problem of a query is told, and a derived field that is wrong is no second problem", () => {
  const found = problems(
    "    where: b > 1 and a\n    derive: { a: tmp + 1, b: state + 1 }\n    having: m > 'x'\n",
  );
  assert.deepEqual(
    found.map(({ path }) => path),
    ["queries.q.derive.a", "queries.q.derive.b", "queries.q.having"],
  );
});

test("by and select take derived fields, and know their kinds", () => {
  const stream = "streams: { s: { key: device, extra: drop, fields: { temp: float, state: string } } }\n";
  const query = (settings: string): string =>
    `${stream}queries:\n  q:\n    from: s\n    window: { tumbling: 5s }\n    derive: { hot: temp > 90, kelvin: temp + 273.15, up: upper(state) }\n${settings}`;
  load(
    query(
      "    by: [hot, up]\n    select: { k: avg(kelvin), u: count(up) }\n    having: hot and up == 'ON'\n",
    ),
  );
  const loaded = parseConfig(query("    by: [hott]\n    select: { u: sum(kelvn) }\n"), "test.yaml");
  assert.ok(!loaded.ok);
  assert.deepEqual(
    loaded.problems.map(({ fix }) => fix),
    ["did you mean `hot`?", "did you mean `kelvin`?"],
  );
});

test("a plan changes with its expressions, so that saved windows of another one are not taken over", () => {
  const plan = (settings: string): string => {
    const config = load(`streams: { s: { key: device } }\nqueries:\n  q:\n${QUERY}${settings}`);
    return JSON.stringify(queryPlan(config.queries.get("q")!, config.streams.get("s")!, 0));
  };
  const plans = [
    "",
    "    where: temp > 1\n",
    "    where: temp > 2\n",
    "    where: temp >= 2\n",
    "    derive: { a: temp }\n",
    "    derive: { b: temp }\n",
    "    having: n > 1\n",
    "    having: n > 2\n",
  ].map(plan);
  assert.equal(new Set(plans).size, plans.length);
  assert.equal(plan("    where: (temp   > 1)\n"), plan("    where: temp > 1\n"));
});

test("the configuration in force shows expressions and tables as they are written", (context) => {
  const dir = makeTempDir(context);
  writeFileSync(join(dir, "d.csv"), "device,site\na,x\n");
  const text = `streams: { s: { key: device } }\ntables: { devices: { file: d.csv, key: device, on: id } }\nqueries:\n  q:\n${QUERY}    where: temp > 1\n    derive: { a: devices.site }\n    having: n > 1\n`;
  const loaded = parseConfig(text, join(dir, "test.yaml"));
  assert.ok(loaded.ok);
  const shown = describeConfig(loaded.config) as {
    tables: object;
    queries: { q: { where: string; derive: object; having: string } };
  };
  assert.deepEqual(shown.tables, { devices: { file: "d.csv", key: "device", on: "id" } });
  const { where, derive, having } = shown.queries.q;
  assert.deepEqual([where, derive, having], ["temp > 1", { a: "devices.site" }, "n > 1"]);
});

test("the JSON Schema knows expressions and tables", () => {
  const text = JSON.stringify(configJsonSchema());
  for (const name of ["where", "derive", "having", "tables"]) assert.ok(text.includes(`"${name}":{`), name);
});

test("a value cannot have the name of the window's own start or end", () => {
  for (const name of ["window.start", "window.end"]) {
    const text = `streams:\n  s: {}\nqueries:\n  q: { from: s, window: { tumbling: 1m }, select: { ${name}: count() } }\n`;
    const loaded = parseConfig(text, "test.yaml");
    const [problem] = loaded.ok ? [] : loaded.problems;
    assert.equal(problem?.line, 4);
    assert.equal(
      `${problem?.message}; ${problem?.fix}`,
      `hides ${name} of the window itself; give the value another name`,
    );
  }
});
