import { MillraceError } from "../errors.ts";
import type { BlockDecoder } from "../query/block-decoder.ts";
import type { Batch } from "../sync/batch.ts";
import { type BatchLimits, unpackBatch } from "../sync/batch-format.ts";
import type { Codec } from "../zstd.ts";
import { verifyBlocks } from "./verify.ts";

/** Who sent a batch, and under which key, as the request says. */
export interface BatchSender {
  readonly edge: string;
  readonly key: string;
}

/**
 * Reads a batch, and every block of it, to the end.
 * @throws MillraceError E_BATCH_…, E_ZSTD, E_BAD_BLOCK, E_EDGE_NAME, E_IDEMPOTENCY_KEY when it is not good
 */
export function readBatch(
  codec: Codec,
  decoder: BlockDecoder,
  body: Uint8Array,
  sender: BatchSender,
  limits: BatchLimits,
  maxBlockBytes: number,
): Batch {
  const batch = unpackBatch(codec, body, limits);
  const { edge: name, key } = batch.header;
  if (name !== sender.edge)
    throw new MillraceError("E_EDGE_NAME", `the batch is of edge ${name}, and was sent as ${sender.edge}`);
  if (key !== sender.key)
    throw new MillraceError(
      "E_IDEMPOTENCY_KEY",
      `the batch has key ${key}, and was sent under ${sender.key}`,
    );
  verifyBlocks(decoder, batch, maxBlockBytes);
  return batch;
}
