import { MillraceError } from "../errors.ts";
import type { Codec } from "../zstd.ts";
import type { BatchItem, BlockItem } from "./batch.ts";

/** Blocks up to this are mostly names, schemas and dictionaries, which their neighbours have as well. */
const SMALL_BYTES = 16 * 1024;
/** Of a batch, far below what a hub takes of content. */
const MAX_PLAIN_BYTES = 16 * 1024 * 1024;

/**
 * Small blocks as they were before zstd, so that the one frame around the batch finds what they have in common. What
 * comes out depends on the items alone: sent again, they are the same.
 */
export function withPlainBlocks(codec: Codec, items: readonly BatchItem[]): readonly BatchItem[] {
  let left = MAX_PLAIN_BYTES;
  return items.map((item) => {
    if (item.kind !== "block" || item.codec !== "zstd") return item;
    const { encodedBytes } = item;
    if (encodedBytes > Math.min(SMALL_BYTES, left)) return item;
    const data = decompressed(codec, item);
    if (data === null) return item;
    left -= encodedBytes;
    return { ...item, codec: "none", data };
  });
}

/** null: it is damaged. It is sent as it is, for the hub to say so, which has it parked alone. */
function decompressed(codec: Codec, { data, encodedBytes }: BlockItem): Uint8Array | null {
  try {
    return codec.decompress(data, encodedBytes);
  } catch (cause) {
    if (cause instanceof MillraceError) return null;
    throw cause;
  }
}
