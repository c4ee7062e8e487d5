import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch, readHeader } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { CommitOperation, StoredBlock } from "../../workers/messages.ts";
import { portableCodec } from "../../workers/zstd.ts";
import type { Random } from "./random.ts";
import { makeBlockOperation } from "./store-fixtures.ts";

const codec = await portableCodec();
const core = instantiateCore();

/** A block as an ingest lane makes it: column `n` counts from `first`, column `v` is noise that does not compress. */
export function realBlock(
  stream: string,
  times: readonly bigint[],
  first: number,
  random: Random,
): StoredBlock {
  const builder = buildBatch(core);
  const n = builder.addColumn("n", "int");
  const v = builder.addColumn("v", "float");
  times.forEach((time, index) => {
    const row = builder.addRow(time, 0);
    builder.setInt(n, row, BigInt(first + index));
    builder.setFloat(v, row, random.next());
  });
  const encoded = encodeBatch(core, builder.batch, { stream });
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(builder.batch);
  const { count, minUs, maxUs, schema } = readHeader(encoded);
  const data = new Uint8Array(codec.compress(encoded, 1));
  const range = { minUs: Number(minUs), maxUs: Number(maxUs) };
  return { data, codec: "zstd", encodedBytes: encoded.length, count, ...range, schema };
}

/** Blocks of so many events each, from `startUs` on, an event a millisecond. */
export function realOperations(
  stream: string,
  counts: readonly number[],
  startUs: number,
  random: Random,
): (CommitOperation & { readonly kind: "block" })[] {
  let first = 0;
  return counts.map((count, index) => {
    const times = Array.from({ length: count }, (_, row) => BigInt(startUs + (first + row) * 1_000));
    const block = realBlock(stream, times, first, random);
    first += count;
    return makeBlockOperation({ stream, block, idempotencyKey: `${stream}-${index}` });
  });
}
