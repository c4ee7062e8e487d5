import { batchOf, type Columns, compiled, streamOf } from "../test/support/expression-fixture.ts";
import { makeOutputs, makePlan } from "../test/unit/window-batch.ts";
import type { BatchHandle } from "../workers/core/codec.ts";
import { createRowProgram, withExpressions } from "../workers/core/expression.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import { createParser } from "../workers/core/parse.ts";
import { Tables } from "../workers/core/tables.ts";
import { createLocal } from "../workers/core/window.ts";
import type { ExpressionProgram } from "../workers/messages.ts";
import type { BenchOptions, BenchReport } from "./report.ts";

const BATCH_EVENTS = 4_000;
const BATCHES = 25;
const KEYS = 1_000;
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
    const ns = nsPerEvent(minMs, () => {
      for (const batch of batches) program.within(batch, () => {});
    });
    program.dispose();
    return { what: name, "M events/s": 1_000 / ns, "ns/event": ns };
  });
  const aggregation = [
    { what: "aggregate", ns: measureLocal(core, batches, null, minMs) },
    {
      what: "aggregate with where and derive",
      ns: measureLocal(core, batches, compiled(PIPELINE, stream), minMs),
    },
  ];
  const bodies = Array.from({ length: BATCHES }, () => makeBody(random));
  const plain = measurePipeline(core, bodies, null, minMs);
  const withTerms = measurePipeline(core, bodies, compiled(PIPELINE, stream), minMs);
  const pipeline = [
    { what: "parse and aggregate", ns: plain },
    { what: "parse and aggregate with where and derive", ns: withTerms },
  ];
  return {
    name: "expression",
    rows: [
      ...alone,
      ...[...aggregation, ...pipeline].map(({ what, ns }) => ({
        what,
        "M events/s": 1_000 / ns,
        "ns/event": ns,
      })),
      {
        what: "where and derive, off the rate of parse and aggregate",
        "off %": (1 - plain / withTerms) * 100,
      },
    ],
    notes: [
      `One thread, ${BATCH_EVENTS.toLocaleString("en-US")}-event batches of a text key (${KEYS} devices), a text, two floats and an int.`,
      `where: ${PIPELINE.where}; derive: ${Object.values(PIPELINE.derive ?? {}).join("; ")}. No event is dropped. The last rows aggregate count, avg, min and max of a 1-hour window.`,
    ],
  };
}

function measureLocal(
  core: CoreModule,
  batches: readonly BatchHandle[],
  expressions: ExpressionProgram | null,
  minMs: number,
): number {
  const local = makeLocal(core, expressions);
  const ns = nsPerEvent(minMs, () => {
    for (const batch of batches) local.aggregate(batch);
  });
  local.dispose();
  return ns;
}

function measurePipeline(
  core: CoreModule,
  bodies: readonly Uint8Array[],
  expressions: ExpressionProgram | null,
  minMs: number,
): number {
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
  const ns = nsPerEvent(minMs, () => {
    for (const body of bodies) {
      parser.begin(0);
      parser.parse("ndjson", body);
      local.aggregate(parser.finish());
    }
  });
  parser.dispose();
  local.dispose();
  return ns;
}

function makeLocal(core: CoreModule, expressions: ExpressionProgram | null): ReturnType<typeof createLocal> {
  const plan = makePlan({
    select: expressions === null ? SELECT : DERIVED_SELECT,
    window: { kind: "tumbling", sizeUs: 3_600_000_000, offsetUs: 0 },
    ...(expressions === null ? {} : { expressions }),
  });
  return withExpressions(core, plan, createLocal(core, plan), new Tables(core));
}

function nsPerEvent(minMs: number, work: () => void): number {
  work();
  let calls = 0;
  const started = performance.now();
  while (performance.now() - started < minMs) {
    work();
    calls++;
  }
  return ((performance.now() - started) * 1e6) / calls / BATCHES / BATCH_EVENTS;
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
