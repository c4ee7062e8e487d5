import { compileHaving } from "../host/config/expression/compile.ts";
import {
  batchOf,
  type Columns,
  compiled,
  disposeBatch,
  parsed,
  streamOf,
} from "../test/support/expression-fixture.ts";
import { makeOutputs, makePlan } from "../test/unit/window-batch.ts";
import type { BatchHandle } from "../workers/core/codec.ts";
import { createRowProgram, withExpressions } from "../workers/core/expression.ts";
import { keepHaving } from "../workers/core/having.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import { createParser } from "../workers/core/parse.ts";
import { Tables } from "../workers/core/tables.ts";
import { createLocal, createWindows } from "../workers/core/window.ts";
import type { ExpressionProgram } from "../workers/messages.ts";
import type { BenchOptions, BenchReport } from "./report.ts";

const BATCH_EVENTS = 4_000;
const BATCHES = 25;
const KEYS = 1_000;
/** Results of one window, and how many windows fire. */
const RESULTS = 20_000;
const RESULT_WINDOWS = 20;
const HAVING = "n >= 1 and mean < 25";
const DEFAULT_SECONDS = 1;
const FIELDS = { device: "string", state: "string", temp: "float", volts: "float", rpm: "int" } as const;
const STATES = ["on", "idle", "off", "fault"];

type Texts = Parameters<typeof compiled>[0];

/** Programs alone, over batches that are there. */
const PROGRAMS: readonly (readonly [name: string, texts: Texts])[] = [
  ["temp > 25", { where: "temp > 25" }],
  ["rpm > 1500", { where: "rpm > 1500" }],
  ["temp > 21 and temp < 29 and rpm != 0", { where: "temp > 21 and temp < 29 and rpm != 0" }],
  ["temp * 1.8 + 32", { derive: { f: "temp * 1.8 + 32" } }],
  ["(temp - 20) * volts / 3.5", { derive: { x: "(temp - 20) * volts / 3.5" } }],
  ["sqrt(temp * temp + volts * volts)", { derive: { x: "sqrt(temp * temp + volts * volts)" } }],
  ["rpm * 2 + 1 (ints)", { derive: { x: "rpm * 2 + 1" } }],
  ["if(temp > 25, temp, volts)", { derive: { x: "if(temp > 25, temp, volts)" } }],
  ['state != "off"', { where: 'state != "off"' }],
  ['state in ("on", "idle")', { where: 'state in ("on", "idle")' }],
  ["device in (100 texts)", { where: `device in (${list((n) => `"press-${n * 3}"`)})` }],
  ["rpm in (100 numbers)", { where: `rpm in (${list((n) => `${n * 3}`)})` }],
  ['device like "press-1*"', { where: 'device like "press-1*"' }],
  ['concat(state, "/", device)', { derive: { x: 'concat(state, "/", device)' } }],
  ["hour()", { derive: { h: "hour()" } }],
  ["ln(temp)", { derive: { x: "ln(temp)" } }],
];
const PIPELINE: Texts = {
  where: 'state != "retired"',
  derive: { kelvin: "temp + 273.15", power: "volts * temp / 2", fast: "rpm > 1500" },
};
const SELECT = makeOutputs({ n: ["count"], mean: ["avg", "temp"], lo: ["min", "volts"], hi: ["max", "rpm"] });
const DERIVED_SELECT = makeOutputs({
  n: ["count"],
  mean: ["avg", "kelvin"],
  lo: ["min", "power"],
  hi: ["max", "rpm"],
});

/** How fast expressions are alone, and what `where` and `derive` of three terms cost an ingest thread. */
export async function run({ seconds }: BenchOptions): Promise<BenchReport> {
  const core = instantiateCore();
  const minMs = (seconds ?? DEFAULT_SECONDS) * 1_000;
  const stream = streamOf(FIELDS);
  const random = randomNumbers();
  const batches = Array.from({ length: BATCHES }, () => makeFleet(core, random));
  const alone = PROGRAMS.map(([name, texts]) => {
    const program = createRowProgram(core, compiled(texts, stream));
    const work = (): void => {
      for (const batch of batches) program.within(batch, () => {});
    };
    return { what: name, ...rates(leastNs(minMs, [work])[0]!) };
  });
  const terms = compiled(PIPELINE, stream);
  const aggregation = leastNs(minMs, [
    aggregateWork(core, batches, null),
    aggregateWork(core, batches, terms),
  ]);
  const bodies = Array.from({ length: BATCHES }, () => makeBody(random));
  const pipeline = leastNs(minMs, [pipelineWork(core, bodies, null), pipelineWork(core, bodies, terms)]);
  const results = [measureResults(core, null), measureResults(core, HAVING)];
  return {
    name: "expression",
    rows: [
      ...alone,
      { what: "aggregate", ...rates(aggregation[0]!) },
      { what: "aggregate with where and derive", ...rates(aggregation[1]!) },
      { what: "parse and aggregate", ...rates(pipeline[0]!) },
      { what: "parse and aggregate with where and derive", ...rates(pipeline[1]!) },
      {
        what: "where and derive, off the rate of parse and aggregate",
        "off %": (1 - pipeline[0]! / pipeline[1]!) * 100,
      },
      { what: "results of count and avg", "M results/s": 1_000 / results[0]! },
      { what: `results with having ${HAVING}`, "M results/s": 1_000 / results[1]! },
    ],
    notes: [
      `One thread, ${BATCH_EVENTS.toLocaleString("en-US")}-event batches of a text key (${KEYS} devices), a text, two floats and an int.`,
      `where: ${PIPELINE.where}; derive: ${Object.values(PIPELINE.derive ?? {}).join("; ")}. No event is dropped. Rows that aggregate: count, avg, min and max of a 1-hour window.`,
      `Figures are of the fastest of many passes; what is compared takes turns. Results: ${RESULTS.toLocaleString("en-US")} a window, half of them given with having.`,
    ],
  };
}

function aggregateWork(
  core: CoreModule,
  batches: readonly BatchHandle[],
  expressions: ExpressionProgram | null,
): () => void {
  const local = makeLocal(core, expressions);
  return () => {
    for (const batch of batches) local.aggregate(batch);
  };
}

function pipelineWork(
  core: CoreModule,
  bodies: readonly Uint8Array[],
  expressions: ExpressionProgram | null,
): () => void {
  const local = makeLocal(core, expressions);
  const parser = createParser(core, {
    stream: "s",
    key: ["device"],
    isKeyDeclared: true,
    time: { fields: ["ts"], isDeclared: true, unit: "us" },
    fields: Object.entries(FIELDS).map(([name, type]) => ({ name, type })),
    extra: "keep",
    maxAheadUs: 2 ** 50,
  });
  return () => {
    for (const body of bodies) {
      parser.begin(0);
      parser.parse("ndjson", body);
      local.aggregate(parser.finish());
    }
  };
}

/** Nanoseconds a result for windows to fire; of the fastest window, for the first ones meet new keys. */
function measureResults(core: CoreModule, text: string | null): number {
  const select = [
    { name: "n", fn: "count", field: null, parameter: null },
    { name: "mean", fn: "avg", field: "temp", parameter: null },
  ] as const;
  const having =
    text === null
      ? null
      : compileHaving({ having: parsed(text), by: ["device"], select }, streamOf(FIELDS), new Map());
  const plan = makePlan({
    select,
    latenessUs: 60_000_000,
    ...(having?.ok ? { having: having.value } : {}),
  });
  const local = createLocal(core, plan);
  const windows = keepHaving(core, plan, createWindows(core, plan));
  const rows = Array.from({ length: RESULTS }, (_, row) => row);
  let least = Number.POSITIVE_INFINITY;
  for (let window = 0; window < RESULT_WINDOWS; window++) {
    const batch = batchOf(
      core,
      rows.map(() => BigInt(window * 10_000_000)),
      {
        device: { type: "string", values: rows.map((row) => `press-${row}`) },
        temp: { type: "float", values: rows.map((row) => 20 + (row % 10)) },
      },
    );
    windows.merge(local.aggregate(batch), -(2n ** 63n));
    disposeBatch(core, batch);
    const started = performance.now();
    windows.fire(BigInt((window + 1) * 10_000_000));
    least = Math.min(least, ((performance.now() - started) * 1e6) / RESULTS);
  }
  return least;
}

function makeLocal(core: CoreModule, expressions: ExpressionProgram | null): ReturnType<typeof createLocal> {
  const plan = makePlan({
    select: expressions === null ? SELECT : DERIVED_SELECT,
    window: { kind: "tumbling", sizeUs: 3_600_000_000, offsetUs: 0 },
    ...(expressions === null ? {} : { expressions }),
  });
  return withExpressions(core, plan, createLocal(core, plan), new Tables(core));
}

/** Nanoseconds an event, of each work's fastest pass. They take turns, for at least `minMs` each. */
function leastNs(minMs: number, works: readonly (() => void)[]): number[] {
  const least = works.map(() => Number.POSITIVE_INFINITY);
  const until = performance.now() + minMs * works.length;
  while (performance.now() < until) {
    works.forEach((work, index) => {
      const started = performance.now();
      work();
      least[index] = Math.min(least[index]!, performance.now() - started);
    });
  }
  return least.map((ms) => (ms * 1e6) / BATCHES / BATCH_EVENTS);
}

function rates(ns: number): { "M events/s": number; "ns/event": number } {
  return { "M events/s": 1_000 / ns, "ns/event": ns };
}

function list(item: (n: number) => string): string {
  return Array.from({ length: 100 }, (_, n) => item(n)).join(", ");
}

function makeFleet(core: CoreModule, random: () => number): BatchHandle {
  const rows = Array.from({ length: BATCH_EVENTS }, (_, row) => row);
  const columns: Columns = {
    device: { type: "string", values: rows.map(() => `press-${Math.floor(random() * KEYS)}`) },
    state: { type: "string", values: rows.map(() => STATES[Math.floor(random() * STATES.length)]!) },
    temp: { type: "float", values: rows.map(() => Math.round((20 + random() * 10) * 100) / 100) },
    volts: { type: "float", values: rows.map(() => Math.round((220 + random() * 20) * 10) / 10) },
    rpm: { type: "int", values: rows.map(() => BigInt(Math.floor(random() * 3_000))) },
  };
  return batchOf(
    core,
    rows.map((row) => BigInt(row) * 1_000n),
    columns,
  );
}

function makeBody(random: () => number): Uint8Array {
  const lines = Array.from({ length: BATCH_EVENTS }, (_, row) =>
    JSON.stringify({
      device: `press-${Math.floor(random() * KEYS)}`,
      ts: 1_700_000_000_000_000 + row * 1_000,
      state: STATES[Math.floor(random() * STATES.length)],
      temp: Math.round((20 + random() * 10) * 100) / 100,
      volts: Math.round((220 + random() * 20) * 10) / 10,
      rpm: Math.floor(random() * 3_000),
    }),
  );
  return Buffer.from(`${lines.join("\n")}\n`);
}

/** The same on every run: a linear congruential generator (Knuth's MMIX). */
function randomNumbers(): () => number {
  let state = 42n;
  return () => {
    state = BigInt.asUintN(64, state * 6364136223846793005n + 1442695040888963407n);
    return Number(state >> 11n) / 2 ** 53;
  };
}
