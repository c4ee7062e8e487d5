import type { StoredBlock } from "../messages.ts";
import type { Statements } from "./statements.ts";

/** A block's columns, as every table that holds blocks names them. */
export interface BlockRow {
  readonly count: number;
  readonly min_us: number;
  readonly max_us: number;
  readonly codec: "none" | "zstd";
  readonly encoded_bytes: number;
  readonly data: Buffer;
}

/** A block as the row holds it; its schema stands in its own header. The data is a copy with a buffer of its own. */
export function storedBlock(row: BlockRow): StoredBlock {
  return {
    data: new Uint8Array(row.data),
    codec: row.codec,
    encodedBytes: row.encoded_bytes,
    count: row.count,
    minUs: row.min_us,
    maxUs: row.max_us,
    schema: [],
  };
}

export function insertBlock(
  sql: Statements,
  where: { readonly seq: number; readonly streamId: number; readonly arrivalUs: number },
  block: StoredBlock,
): void {
  const { seq, streamId, arrivalUs } = where;
  const { count, minUs, maxUs, codec, encodedBytes, data } = block;
  sql.insertBlock.run(seq, streamId, arrivalUs, count, minUs, maxUs, codec, encodedBytes, data.length, data);
  if (block.keys === undefined) return;
  sql.insertBlockKeys.run(seq, JSON.stringify(block.keys.fields), block.keys.filter);
}
