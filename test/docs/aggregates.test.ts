import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { AGGREGATE_NAMES } from "../../host/config/aggregates.ts";
import { parseSelect } from "../../host/config/select.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createParser } from "../../workers/core/parse.ts";
import { createLocal, createWindows } from "../../workers/core/window.ts";
import type { AggregateName, Output } from "../../workers/messages.ts";
import { makePlan } from "../unit/window-batch.ts";

const PAGE = new URL("../../docs/configuration.md", import.meta.url);
const END_US = 2n ** 60n;

/** The rows `| code | code |` of a page, as pairs. */
function pairsOf(page: string): [string, string][] {
  return [...page.matchAll(/^\| `([^`|]+\))` +\| `([^`]*)` +\|$/gm)].map(([, call, gives]) => [
    call!,
    gives!,
  ]);
}

function outputOf(call: string): Output {
  const parsed = parseSelect(call);
  assert.ok(parsed.ok, call);
  return { name: call, ...parsed.expression };
}

test("every example of an aggregate in the documents gives what they say", async () => {
  const page = await readFile(PAGE, "utf8");
  const [, events] = /^```ndjson\n([\s\S]*?)^```$/m.exec(page) ?? [];
  assert.ok(events, "the page shows events");
  const examples = pairsOf(page);
  const select = examples.map(([call]) => outputOf(call));
  const core = instantiateCore();
  const parser = createParser(core, {
    stream: "s",
    key: ["device"],
    isKeyDeclared: true,
    time: { fields: ["ts"], isDeclared: true, unit: "ms" },
    fields: null,
    extra: "keep",
    maxAheadUs: 1e9,
  });
  parser.begin(0);
  assert.equal(parser.parse("ndjson", Buffer.from(events)).bad, 0);
  const plan = makePlan({ select });
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  windows.merge(local.aggregate(parser.finish()), -1n);
  const [row] = windows.fire(END_US);
  const values = JSON.parse(row?.values ?? "{}") as Record<string, unknown>;
  for (const [call, gives] of examples) assert.deepEqual(values[call], JSON.parse(gives), call);
  const shown = new Set<AggregateName>(select.map(({ fn }) => fn));
  assert.deepEqual(
    AGGREGATE_NAMES.filter((name) => !shown.has(name)),
    [],
    "every aggregate has an example",
  );
});

test("every call in the table of aggregates can be written so", async () => {
  const page = await readFile(PAGE, "utf8");
  const calls = [...page.matchAll(/^\| ((?:`\w+\([^`]*\)` ?)+) *\|/gm)].flatMap(([, cell]) =>
    [...cell!.matchAll(/`([^`]+)`/g)].map(([, call]) => call!),
  );
  assert.ok(calls.length > 40, `${calls.length} calls`);
  for (const call of calls) assert.ok(parseSelect(call).ok, call);
  const named = calls.map((call) => call.slice(0, call.indexOf("(")));
  assert.deepEqual(
    AGGREGATE_NAMES.filter((name) => !named.includes(name)),
    [],
  );
});
