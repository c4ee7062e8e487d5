import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import type { BlockDecoder } from "../query/block-decoder.ts";
import type { Batch, BlockItem } from "../sync/batch.ts";
import { BatchError } from "../sync/batch-format.ts";

/** The batch is whole, but one of its blocks cannot be read: sent again, it would not get better. */
export class BadItemError extends MillraceError {
  constructor(item: BlockItem, why: string) {
    super("E_BAD_BLOCK", `block ${item.id} of stream ${item.stream} cannot be taken: ${why}`);
    this.name = "BadItemError";
  }
}

/** As the decoder takes it: the schema stands in the block's own header. */
export function blockOf(item: Omit<BlockItem, "kind" | "id" | "stream" | "arrivalUs">): StoredBlock {
  const { count, minUs, maxUs, codec, encodedBytes, data } = item;
  return {
    data: data as Uint8Array<ArrayBuffer>,
    codec,
    encodedBytes,
    count,
    minUs,
    maxUs,
    schema: [],
  };
}

/**
 * Reads every block to its end before anything is stored: what the hub has taken the edge deletes.
 * @throws BadItemError, BatchError E_BATCH_TOO_LARGE when the blocks hold more than `maxBytes`
 */
export function verifyBlocks(decoder: Pick<BlockDecoder, "open">, { items }: Batch, maxBytes: number): void {
  const blocks = items.filter((item) => item.kind === "block");
  const bytes = blocks.reduce((sum, { encodedBytes }) => sum + encodedBytes, 0);
  if (bytes > maxBytes) throw new BatchError("E_BATCH_TOO_LARGE", `its blocks hold ${bytes} bytes`);
  for (const item of blocks) {
    const opened = decoder.open(blockOf(item));
    if (opened.kind === "unreadable" && opened.code === "E_BLOCK_VERSION")
      throw new BatchError("E_BATCH_VERSION");
    if (opened.kind === "unreadable") throw new BadItemError(item, opened.message);
    if (opened.rows.rows !== item.count)
      throw new BadItemError(item, `it holds ${opened.rows.rows} events, not ${item.count} as is said of it`);
  }
}
