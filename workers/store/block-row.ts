import { MillraceError } from "../errors.ts";
import type { StoredBlock } from "../messages.ts";
import { blockPlace, blockSumsPlace, keyFieldsPlace, keyFilterPlace } from "../seal/places.ts";
import type { Seal } from "../seal/seal.ts";
import type { Statements } from "./statements.ts";

const UNOPENED = Buffer.from("sealed, and not to be opened: changed, moved, or with a key that is not there");

/** A block's columns, as every table that holds blocks names them. */
export interface BlockRow {
  readonly count: number;
  readonly min_us: number;
  readonly max_us: number;
  readonly codec: "none" | "zstd";
  readonly encoded_bytes: number;
  readonly data: Buffer;
}

/**
 * A block as the row holds it, opened; its schema stands in its own header. The data has a buffer of its own.
 * In the place of one that does not open stand bytes that are no block, which every reader leaves out as corrupt.
 */
export function storedBlock(row: BlockRow, seal: Seal, place: string): StoredBlock {
  const opened = seal.isOn ? open(row.data, seal, place) : row.data;
  return {
    data: ownBytes(opened ?? UNOPENED),
    codec: opened === null ? "none" : row.codec,
    encodedBytes: row.encoded_bytes,
    count: row.count,
    minUs: row.min_us,
    maxUs: row.max_us,
    schema: [],
  };
}

/** As the database gives bytes out, they have a buffer of their own. */
function ownBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const { buffer, byteLength } = bytes;
  const isOwn = buffer instanceof ArrayBuffer && buffer.byteLength === byteLength && bytes !== UNOPENED;
  return isOwn ? new Uint8Array(buffer) : new Uint8Array(bytes);
}

function open(data: Buffer, seal: Seal, place: string): Uint8Array | null {
  try {
    return seal.openBytes(place, data);
  } catch (cause) {
    if (cause instanceof MillraceError) return null;
    throw cause;
  }
}

export function insertBlock(
  sql: Statements,
  where: { readonly seq: number; readonly streamId: number; readonly arrivalUs: number },
  block: StoredBlock,
): void {
  const { seq, streamId, arrivalUs } = where;
  const { count, minUs, maxUs, codec, encodedBytes, data } = block;
  const stored = sql.seal.isOn ? sql.seal.bytes(blockPlace(streamId, seq), data) : data;
  sql.insertBlock.run(
    seq,
    streamId,
    arrivalUs,
    count,
    minUs,
    maxUs,
    codec,
    encodedBytes,
    data.length,
    stored,
    block.sums === undefined ? null : sql.seal.bytes(blockSumsPlace(seq), block.sums),
  );
  if (block.keys === undefined) return;
  const { fields, filter } = block.keys;
  const names = sql.seal.text(keyFieldsPlace(seq), JSON.stringify(fields));
  sql.insertBlockKeys.run(seq, names, sql.seal.bytes(keyFilterPlace(seq), filter));
}
