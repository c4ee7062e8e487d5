import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { Config } from "../../host/config/config.ts";
import { compileRows } from "../../host/config/expression/compile.ts";
import { FUNCTIONS } from "../../host/config/expression/functions.ts";
import { parseConfig } from "../../host/config/load.ts";
import { streamPlan } from "../../host/config/plans.ts";
import { formatProblem } from "../../host/config/problems.ts";
import { tableColumns } from "../../host/config/table/load.ts";
import { readColumns } from "../../workers/core/codec.ts";
import { createRowProgram } from "../../workers/core/expression.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createParser } from "../../workers/core/parse.ts";
import { Tables } from "../../workers/core/tables.ts";
import { parsed } from "../support/expression-fixture.ts";
import { REPOSITORY_ROOT } from "../support/node-process.ts";
import type { Cleanup } from "../support/temp-dir.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const page = readFileSync(join(REPOSITORY_ROOT, "docs/expressions.md"), "utf8");
const core = instantiateCore();

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\``, "gms"))].map(
    ([, text = ""]) => text,
  );
}

/** The first configuration of the page, with its table beside it. */
function load(text: string, context: Cleanup): Config {
  const dir = makeTempDir(context);
  writeFileSync(join(dir, "devices.csv"), blocks("csv")[0] ?? "");
  writeFileSync(join(dir, "sites.json"), '[{ "name": "Berlin" }]');
  const loaded = parseConfig(text, join(dir, "millrace.yaml"));
  assert.ok(loaded.ok, loaded.ok ? "" : loaded.problems.map(formatProblem).join("\n"));
  return loaded.config;
}

test("every example of docs/expressions.md gives what stands behind it", (context) => {
  const config = load(blocks("yaml")[0] ?? "", context);
  const stream = config.streams.get("machines");
  assert.ok(stream);
  const parser = createParser(core, streamPlan(stream));
  const known = new Map(
    [...(config.tables ?? [])].map(
      ([name, table]) => [name, tableColumns(table, stream.key.fields)] as const,
    ),
  );
  const tables = new Tables(core);
  for (const { data } of config.tables?.values() ?? []) tables.load(data);
  parser.begin(Date.parse("2026-01-01T12:31:00Z") * 1_000);
  assert.equal(parser.parse("ndjson", Buffer.from(blocks("json")[0] ?? "")).accepted, 1);
  const batch = parser.finish();
  const examples = blocks("expression").flatMap((block) => block.trimEnd().split("\n"));
  assert.ok(examples.length > 70);
  for (const example of examples) {
    const [text = "", expected = ""] = example.split(" → ");
    const derive = [{ name: "result", expression: parsed(text) }];
    const { program: code, problems } = compileRows({ where: null, derive }, stream, known);
    assert.deepEqual(problems, [], text);
    assert.ok(code);
    const program = createRowProgram(core, code);
    tables.bind(program);
    const value = program.within(batch, () =>
      readColumns(core, batch)
        .columns.find(({ name }) => name === "result")
        ?.valueAt(0),
    );
    assert.deepEqual(value ?? null, JSON.parse(expected), text);
    tables.unbind(program);
    program.dispose();
  }
});

test("every configuration of docs/expressions.md is valid", (context) => {
  const [whole = "", ...parts] = blocks("yaml");
  load(whole, context);
  const tables = load(`streams: { s: { } }\n${parts[0]}`, context).tables;
  assert.deepEqual([...(tables?.keys() ?? [])], ["devices", "sites", "limits"]);
  const settings = parts.slice(1);
  assert.equal(settings.length, 2);
  for (const setting of settings) {
    const query = `    from: s\n    window: { tumbling: 1m }\n    select: { n: count() }\n    ${setting}`;
    load(`streams: { s: { key: device } }\nqueries:\n  q:\n${query}`, context);
  }
});

test("docs/expressions.md has an example of every function", () => {
  const examples = blocks("expression").join("");
  for (const name of Object.keys(FUNCTIONS)) assert.match(examples, new RegExp(`\\b${name}\\(`), name);
});
