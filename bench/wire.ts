import { zstdCompressSync } from "node:zlib";
import { decodeBlock, encodeBatch, newBatch, readHeader, resetBatch } from "../workers/core/codec.ts";
import { sumEvents } from "../workers/core/event-sums.ts";
import { type CoreModule, instantiateCore } from "../workers/core/module.ts";
import type { BlockItem } from "../workers/sync/batch.ts";
import { packBatch } from "../workers/sync/batch-format.ts";
import { withPlainBlocks } from "../workers/sync/plain-blocks.ts";
import { nativeCodec } from "../workers/zstd.ts";
import type { BenchReport } from "./report.ts";
import { type DataSet, dispose, fill, fleet, periodicFleet, readNab } from "./size.ts";

/** Bytes an event takes on the wire, by data and by how many events came in a request; and what an audit's sums cost. */

const EVENTS = 16_000;
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
    rows: dataSets.flatMap((data) => EVENTS_A_BLOCK.map((events) => measure(core, data, events))),
    notes: [
      `One batch of ${EVENTS.toLocaleString("en")} events in blocks of so many. NDJSON: zstd ${NDJSON_LEVEL}, a request at a time. One block: all of them merged, the least that`,
      "merging before sending could give. Decoding and sums: what an audit's books take of a batch's packing, least of several rounds.",
    ],
  };
}

function measure(core: CoreModule, data: DataSet, perBlock: number): Record<string, string | number> {
  const events = Math.min(EVENTS, data.timesMs.length);
  const items: BlockItem[] = [];
  const encoded: Uint8Array[] = [];
  let ndjson = 0;
  for (let start = 0; start < events; start += perBlock) {
    const end = Math.min(events, start + perBlock);
    const batch = fill(core, data, start, end);
    const block = encodeBatch(core, batch, { stream: "fleet" });
    dispose(core, batch);
    encoded.push(block);
    items.push(itemOf(items.length + 1, block));
    const lines = Array.from({ length: end - start }, (_, i) => data.text(start + i)).join("");
    ndjson += codec.compress(Buffer.from(lines), NDJSON_LEVEL).length;
  }
  const into = newBatch(core);
  const decodeNs = leastNs(() => {
    resetBatch(core, into);
    for (const block of encoded) decodeBlock(core, block, into);
  });
  const sumNs = leastNs(() => sumEvents(core, into));
  const merged = zstdCompressSync(encodeBatch(core, into, { stream: "fleet" })).length;
  dispose(core, into);
  const asStored = wireBytes(items);
  const sent = wireBytes(withPlainBlocks(codec, items) as BlockItem[]);
  return {
    data: data.name,
    block: perBlock,
    "NDJSON + zstd": ndjson / events,
    "blocks as stored": asStored / events,
    sent: sent / events,
    "× NDJSON": ndjson / sent,
    "one block": merged / events,
    "decode ns": decodeNs / events,
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

function wireBytes(items: readonly BlockItem[]): number {
  const key = "0123456789abcdef".repeat(2);
  const start = { number: 1, id: "0123456789abcdef" };
  const streams = [{ stream: "fleet", timeField: "ts", keyFields: ["device"] }];
  const header = { edge: "press-1", key, createdUs: 0, incarnation: key, start, streams, totals: [] };
  return packBatch(codec, { header, items }).length;
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
