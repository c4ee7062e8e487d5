import { MillraceError } from "../errors.ts";
import type { FieldType, SchemaField } from "../messages.ts";

export type BlockErrorCode =
  | "E_BLOCK_MAGIC"
  | "E_BLOCK_VERSION"
  | "E_BLOCK_TRUNCATED"
  | "E_BLOCK_CHECKSUM"
  | "E_BLOCK_CORRUPT"
  | "E_BLOCK_TOO_LARGE";

const EXPLANATIONS: Readonly<Record<BlockErrorCode, string>> = {
  E_BLOCK_MAGIC: "these bytes are no block: they do not begin with MRBK",
  E_BLOCK_VERSION: "the block was written by a later release; read it with that release",
  E_BLOCK_TRUNCATED: "the block is shorter than its head says",
  E_BLOCK_CHECKSUM: "the block is damaged: its CRC-32C does not match",
  E_BLOCK_CORRUPT: "the block's content contradicts itself",
  E_BLOCK_TOO_LARGE: "the block has more rows or text than one batch may hold",
};

/** A block cannot be read, or cannot be made. */
export class BlockError extends MillraceError {
  constructor(code: BlockErrorCode, message: string = EXPLANATIONS[code]) {
    super(code, message);
    this.name = "BlockError";
  }
}

/** What a block says of itself. Times are µs since the epoch; both are 0 when it has no rows. */
export interface BlockHeader {
  readonly version: number;
  readonly stream: string;
  /** The same for blocks with the same columns in the same order. */
  readonly schemaId: number;
  readonly count: number;
  readonly minUs: bigint;
  readonly maxUs: bigint;
  /** The columns that have a type; those in which only nulls were ever seen are left out. */
  readonly schema: readonly SchemaField[];
  readonly columns: number;
  /** Where the stream's name and the columns stand among the block's bytes. */
  readonly namesAt: number;
  readonly namesEnd: number;
}

/** "MRBK", little-endian */
const MAGIC = 0x4b42524d;
const VERSION = 1;
const HEAD_BYTES = 40;
const AT = {
  version: 8,
  columns: 10,
  length: 12,
  rows: 16,
  schemaId: 20,
  minTime: 24,
  maxTime: 32,
} as const;
/** By the column types' numbers; 0 is a column without a type. */
const FIELD_TYPES: readonly (FieldType | null)[] = [null, "bool", "int", "float", "string"];

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Reads the head of a block, in time that does not grow with its rows. Does not verify the checksum: decoding does.
 * @throws BlockError when the head cannot be read.
 */
export function readHeader(bytes: Uint8Array): BlockHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 4 || view.getUint32(0, true) !== MAGIC) throw new BlockError("E_BLOCK_MAGIC");
  if (bytes.length < HEAD_BYTES) throw new BlockError("E_BLOCK_TRUNCATED");
  const version = view.getUint8(AT.version);
  if (version !== VERSION) throw new BlockError("E_BLOCK_VERSION");
  const length = view.getUint32(AT.length, true);
  if (length > bytes.length) throw new BlockError("E_BLOCK_TRUNCATED");
  if (length < bytes.length) throw new BlockError("E_BLOCK_CORRUPT");
  const cursor = { bytes, at: HEAD_BYTES };
  const stream = readText(cursor);
  const columns = view.getUint16(AT.columns, true);
  const schema = readSchema(cursor, columns);
  return {
    version,
    stream,
    schemaId: view.getUint32(AT.schemaId, true),
    count: view.getUint32(AT.rows, true),
    minUs: view.getBigInt64(AT.minTime, true),
    maxUs: view.getBigInt64(AT.maxTime, true),
    schema,
    columns,
    namesAt: HEAD_BYTES,
    namesEnd: cursor.at,
  };
}

interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

function readSchema(cursor: Cursor, columns: number): SchemaField[] {
  const schema: SchemaField[] = [];
  for (let i = 0; i < columns; i++) {
    const type = FIELD_TYPES[readByte(cursor)];
    if (type === undefined) throw new BlockError("E_BLOCK_CORRUPT");
    const name = readText(cursor);
    if (type !== null) schema.push({ name, type });
  }
  return schema;
}

function readText(cursor: Cursor): string {
  const length = readLength(cursor);
  const end = cursor.at + length;
  if (end > cursor.bytes.length) throw new BlockError("E_BLOCK_CORRUPT");
  const text = decoder.decode(cursor.bytes.subarray(cursor.at, end));
  cursor.at = end;
  return text;
}

/** LEB128, at most 35 bits: more could be no length. */
function readLength(cursor: Cursor): number {
  let length = 0;
  for (let factor = 1; factor <= 2 ** 28; factor *= 128) {
    const byte = readByte(cursor);
    length += (byte & 0x7f) * factor;
    if (byte < 0x80) return length;
  }
  throw new BlockError("E_BLOCK_CORRUPT");
}

function readByte(cursor: Cursor): number {
  const byte = cursor.bytes[cursor.at++];
  if (byte === undefined) throw new BlockError("E_BLOCK_CORRUPT");
  return byte;
}
