import { decodeBlock, encodeBatch, newBatch, readHeader, resetBatch } from "../workers/core/codec.ts";
import { sumEvents } from "../workers/core/event-sums.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import type { Batch, BlockItem } from "../workers/sync/batch.ts";
import { packBatch } from "../workers/sync/batch-format.ts";
import { BlockMerger } from "../workers/sync/block-merger.ts";
import { withPlainBlocks } from "../workers/sync/plain-blocks.ts";
import { nativeCodec } from "../workers/zstd.ts";
import type { BenchReport } from "./report.ts";
import { fleet, periodicFleet, readNab } from "./size.ts";
import { type DataSet, dispose, fill } from "./support/data-set.ts";

/**
 * Bytes an event takes on the wire, by data, by how many events a batch has and how many of them came in a request; and what
 * merging and an audit's sums cost.
 */

const EVENTS_A_BATCH = [16_000, 64_000] as const;
const EVENTS_A_BLOCK = [100, 1_000, 4_000] as const;
const BLOCK_LEVEL = 1;
const NDJSON_LEVEL = 3;
const ROUNDS = 20;

const codec = nativeCodec();

export async function run(): Promise<BenchReport> {
  const core = instantiateCore();
  const dataSets = [fleet("fleet, any order", 11), periodicFleet("fleet, every 10 s", 12), ...readNab()];
  return {
    name: "wire",
    rows: dataSets.flatMap((data) =>
      EVENTS_A_BATCH.flatMap((batch) => EVENTS_A_BLOCK.map((events) => measure(core, data, batch, events))),
    ),
    notes: [
      `One batch, in blocks of so many events. NDJSON: all of its events in one frame of zstd ${NDJSON_LEVEL}; by request: each request by itself.`,
      "Sent: blocks by themselves. Merged: as they go to a hub that reads that. × NDJSON: how many times smaller merged is than one frame.",
      "Nanoseconds an event, the least of several rounds: merging, and an audit's sums (at ingest).",
    ],
  };
}

function measure(
  core: CoreModule,
  data: DataSet,
  batchEvents: number,
  perBlock: number,
): Record<string, string | number> {
  const events = Math.min(batchEvents, data.timesMs.length);
  const items: BlockItem[] = [];
  const encoded: Uint8Array[] = [];
  let byRequest = 0;
  for (let start = 0; start < events; start += perBlock) {
    const end = Math.min(events, start + perBlock);
    const batch = fill(core, data, start, end);
    const block = encodeBatch(core, batch, { stream: "fleet" });
    dispose(core, batch);
    encoded.push(block);
    items.push(itemOf(items.length + 1, block));
    const lines = Array.from({ length: end - start }, (_, i) => data.text(start + i)).join("");
    byRequest += codec.compress(Buffer.from(lines), NDJSON_LEVEL).length;
  }
  const whole = Array.from({ length: events }, (_, row) => data.text(row)).join("");
  const ndjson = codec.compress(Buffer.from(whole), NDJSON_LEVEL).length;
  const into = newBatch(core);
  resetBatch(core, into);
  for (const block of encoded) decodeBlock(core, block, into);
  const sumNs = leastNs(() => sumEvents(core, into));
  dispose(core, into);
  const plain = withPlainBlocks(codec, items);
  const sent = wireBytes({ items: plain });
  const merger = new BlockMerger(codec);
  const merged = wireBytes(merger.merge(plain, null));
  const mergeNs = leastNs(() => merger.merge(plain, null));
  return {
    data: data.name,
    batch: events,
    block: perBlock,
    "NDJSON + zstd": ndjson / events,
    "by request": byRequest / events,
    sent: sent / events,
    merged: merged / events,
    "× NDJSON": ndjson / merged,
    "merge ns": mergeNs / events,
    "sum ns": sumNs / events,
  };
}

function itemOf(id: number, block: Uint8Array<ArrayBuffer>): BlockItem {
  const { count, minUs, maxUs } = readHeader(block);
  const packed = codec.compress(block, BLOCK_LEVEL);
  const isSmaller = packed.length < block.length;
  return {
    kind: "block",
    id,
    stream: "fleet",
    arrivalUs: Number(maxUs),
    count,
    minUs: Number(minUs),
    maxUs: Number(maxUs),
    codec: isSmaller ? "zstd" : "none",
    encodedBytes: block.length,
    resolutionUs: 0,
    data: isSmaller ? packed : block,
  };
}

function wireBytes(content: Pick<Batch, "items" | "merged">): number {
  const key = "0123456789abcdef".repeat(2);
  const start = { number: 1, id: "0123456789abcdef" };
  const streams = [{ stream: "fleet", timeField: "ts", keyFields: ["device"] }];
  const header = { edge: "press-1", key, createdUs: 0, incarnation: key, start, streams, totals: [] };
  return packBatch(codec, { header, ...content }).length;
}

function leastNs(work: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    work();
    least = Math.min(least, performance.now() - started);
  }
  return least * 1e6;
}
