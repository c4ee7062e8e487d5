import { MillraceError } from "../errors.ts";
import type { BlockDecoder } from "../query/block-decoder.ts";
import type { Batch } from "../sync/batch.ts";
import { BatchError, type BatchLimits, unpackBatch } from "../sync/batch-format.ts";
import type { Codec } from "../zstd.ts";
import { BlockSplitter } from "./block-splitter.ts";
import { verifyBlocks } from "./verify.ts";

/** A batch as it came. */
export interface ReceivedBatch {
  readonly edge: string;
  readonly key: string;
  readonly body: ArrayBuffer;
}

export interface ReadLimits {
  readonly limits: BatchLimits;
  /** Of the blocks of one batch, decompressed. */
  readonly maxBlockBytes: number;
}

/**
 * Reads a batch to its end, every block of it.
 * @throws MillraceError E_BATCH_…, E_ZSTD, E_BAD_BLOCK, E_EDGE_NAME, E_IDEMPOTENCY_KEY
 */
export function readBatch(
  codec: Codec,
  decoder: Pick<BlockDecoder, "open">,
  { body, edge, key: sentUnder }: ReceivedBatch,
  { limits, maxBlockBytes }: ReadLimits,
): Batch {
  const batch = takeApart(codec, unpackBatch(codec, new Uint8Array(body), limits), maxBlockBytes);
  const { edge: name, key } = batch.header;
  if (name !== edge)
    throw new MillraceError("E_EDGE_NAME", `the batch is of edge ${name}, and was sent as ${edge}`);
  if (key !== sentUnder)
    throw new MillraceError("E_IDEMPOTENCY_KEY", `the batch has key ${key}, and was sent under ${sentUnder}`);
  verifyBlocks(decoder, batch, maxBlockBytes);
  return batch;
}

let splitter: BlockSplitter | null = null;

/** Each block by itself, as every other part knows batches. */
function takeApart(codec: Codec, { header, items, merged = [] }: Batch, maxBlockBytes: number): Batch {
  if (merged.length === 0) return { header, items };
  const bytes = merged.reduce((sum, { encodedBytes }) => sum + encodedBytes, 0);
  if (bytes > maxBlockBytes) throw new BatchError("E_BATCH_TOO_LARGE", `its blocks hold ${bytes} bytes`);
  splitter ??= new BlockSplitter(codec);
  const taking = splitter;
  return { header, items: [...merged.flatMap((each) => taking.split(each)), ...items] };
}
