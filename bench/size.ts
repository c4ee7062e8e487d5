import { existsSync, readdirSync, readFileSync } from "node:fs";
import { BlockPacker } from "../workers/block-packer.ts";
import { decodeBlock, encodeBatch, newBatch, readHeader, resetBatch } from "../workers/core/codec.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import { nativeCodec } from "../workers/zstd.ts";
import type { BenchReport } from "./report.ts";
import { type DataSet, dispose, fill, PARQUET_LEVEL, parquetSize } from "./support/data-set.ts";

/**
 * Bytes an event takes: blocks with zstd, against NDJSON with zstd and Parquet with zstd, in batches as they are sent
 * (4,000 events) and as they are after compaction (64,000). And what encoding and decoding cost.
 */
const BATCH_EVENTS = [4_000, 64_000] as const;
const FLEET_EVENTS = 256_000;
const FLEET_DEVICES = 10_000;
const NAB = new URL("../../shared/data/nab/", import.meta.url);
const START_MS = Date.UTC(2026, 2, 1);
const MEASURE_MS = 400;

const zstd = nativeCodec();

export async function run(): Promise<BenchReport> {
  const core = instantiateCore();
  const dataSets = [fleet("fleet, any order", 11), periodicFleet("fleet, every 10 s", 12), ...readNab()];
  const rows = dataSets.flatMap((data) => BATCH_EVENTS.map((events) => measure(core, data, events)));
  const notes = [
    `Bytes an event. block: encoded, then zstd 1 of what gains, as stored; ndjson, parquet: zstd ${PARQUET_LEVEL}. Parquet is one file with a row group`,
    "a batch, the smaller of its writer's own choice of encodings and DELTA_BINARY_PACKED times and integers.",
    "The fleet in any order is random by construction: where most devices of a batch appear once, an event carries about",
    "4.3 bytes that nothing predicts (device 13.3 bits, temperature 12.6, speed 8.4, state 0.2).",
    "× ndjson: how many times smaller the block is. Speeds are of one thread, zstd not included.",
  ];
  if (!existsSync(NAB)) notes.push("The NAB data is not there (../shared/data/nab): skipped.");
  return { name: "size", rows, notes };
}

function measure(core: CoreModule, data: DataSet, batchEvents: number): Record<string, string | number> {
  const events = data.timesMs.length;
  const starts = Array.from({ length: Math.ceil(events / batchEvents) }, (_, i) => i * batchEvents);
  const packer = new BlockPacker(zstd);
  let encodedBytes = 0;
  let blockBytes = 0;
  let blockBytes3 = 0;
  let rawBytes = 0;
  let ndjsonBytes = 0;
  let encodeMs = 0;
  let decodeMs = 0;
  for (const start of starts) {
    const end = Math.min(events, start + batchEvents);
    const batch = fill(core, data, start, end);
    const block = encodeBatch(core, batch, { stream: "fleet" });
    encodedBytes += block.length;
    blockBytes += (packer.pack(block, readHeader(block)) ?? block).length;
    blockBytes3 += zstd.compress(block, PARQUET_LEVEL).length;
    const lines = Buffer.from(Array.from({ length: end - start }, (_, i) => data.text(start + i)).join(""));
    rawBytes += lines.length;
    ndjsonBytes += zstd.compress(lines, PARQUET_LEVEL).length;
    const into = newBatch(core);
    if (start === 0) {
      encodeMs = timeOf(() => encodeBatch(core, batch, { stream: "fleet" })) / (end - start);
      decodeMs =
        timeOf(() => {
          resetBatch(core, into);
          decodeBlock(core, block, into);
        }) /
        (end - start);
    }
    dispose(core, batch);
    dispose(core, into);
  }
  const parquetBytes = parquetSize(data, batchEvents);
  return {
    data: data.name,
    batch: batchEvents,
    events,
    "ndjson raw": rawBytes / events,
    "block raw": encodedBytes / events,
    "ndjson+zstd": ndjsonBytes / events,
    "parquet+zstd": parquetBytes / events,
    "block+zstd": blockBytes / events,
    "block+zstd 3": blockBytes3 / events,
    "× ndjson": ndjsonBytes / blockBytes,
    "× parquet": parquetBytes / blockBytes,
    "encode M/s": 1 / encodeMs / 1000,
    "decode M/s": 1 / decodeMs / 1000,
  };
}

/** Mean time of one call, in ms. */
function timeOf(work: () => void): number {
  for (let i = 0; i < 5; i++) work();
  const started = performance.now();
  let calls = 0;
  while (performance.now() - started < MEASURE_MS) {
    work();
    calls++;
  }
  return (performance.now() - started) / calls;
}

/** xorshift32: the same fleet on every run. */
function randomFrom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Each event is of any device; temperatures walk around each device's own mean. */
export function fleet(name: string, seed: number): DataSet {
  const random = randomFrom(seed);
  const means = Array.from({ length: FLEET_DEVICES }, () => 20 + random() * 60);
  const devices = Array.from({ length: FLEET_EVENTS }, () => Math.floor(random() * FLEET_DEVICES));
  return fleetOf(name, random, means, devices, (event) => START_MS + Math.floor(event / 100));
}

/** Every device reports every ten seconds, a few milliseconds off its turn. */
export function periodicFleet(name: string, seed: number): DataSet {
  const random = randomFrom(seed);
  const means = Array.from({ length: FLEET_DEVICES }, () => 20 + random() * 60);
  const turns = Array.from({ length: FLEET_DEVICES }, (_, device) => device).sort(() => random() - 0.5);
  const devices = Array.from({ length: FLEET_EVENTS }, (_, event) => turns[event % FLEET_DEVICES]!);
  return fleetOf(name, random, means, devices, (event) => START_MS + event + Math.floor(random() * 5));
}

function fleetOf(
  name: string,
  random: () => number,
  means: number[],
  devices: readonly number[],
  timeOf: (event: number) => number,
): DataSet {
  const timesMs = devices.map((_, event) => timeOf(event));
  const ids = devices.map((device) => `d${String(device).padStart(5, "0")}`);
  const temps = devices.map((device) => {
    means[device] = means[device]! + (random() - 0.5) * 0.4;
    return Math.round(means[device]! * 100) / 100;
  });
  const rpms = devices.map(() => 1_180 + Math.floor(random() * 341));
  const ons = devices.map(() => random() < 0.97);
  return {
    name,
    timesMs,
    fields: [
      { name: "device", kind: "string", values: ids },
      { name: "temp", kind: "float", values: temps },
      { name: "rpm", kind: "int", values: rpms },
      { name: "on", kind: "bool", values: ons },
    ],
    text: (row) =>
      `{"device":"${ids[row]}","ts":${timesMs[row]},"temp":${temps[row]!.toFixed(2)},"rpm":${rpms[row]},"on":${ons[row]}}\n`,
  };
}

/** The Numenta Anomaly Benchmark's series, one after another, as `millrace send` would send the files. */
export function readNab(): DataSet[] {
  if (!existsSync(NAB)) return [];
  const timesMs: number[] = [];
  const series: string[] = [];
  const values: number[] = [];
  const stamps: string[] = [];
  const texts: string[] = [];
  const folders = readdirSync(NAB, { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && entry.name !== "labels",
  );
  for (const folder of folders) {
    for (const file of readdirSync(new URL(`${folder.name}/`, NAB)).filter((file) => file.endsWith(".csv"))) {
      const lines = readFileSync(new URL(`${folder.name}/${file}`, NAB), "utf8")
        .trim()
        .split(/\r?\n/)
        .slice(1);
      for (const line of lines) {
        const [stamp = "", value = ""] = line.split(",");
        timesMs.push(Date.parse(`${stamp.replace(" ", "T")}Z`));
        series.push(file.slice(0, -4));
        values.push(Number(value));
        stamps.push(stamp);
        texts.push(value);
      }
    }
  }
  return [
    {
      name: "NAB",
      timesMs,
      fields: [
        { name: "series", kind: "string", values: series },
        { name: "value", kind: "float", values },
      ],
      text: (row) => `{"series":"${series[row]}","timestamp":"${stamps[row]}","value":${texts[row]}}\n`,
    },
  ];
}
