/** The fixed head of a block; docs/block-format.md specifies it. All integers are little-endian. */
@unmanaged
export class BlockHead {
  magic: u32;
  /** CRC-32C of everything after this field. */
  checksum: u32;
  version: u8;
  parts: u8;
  columnCount: u16;
  /** Bytes of the whole block. */
  length: u32;
  rows: u32;
  /** CRC-32C of the column list. */
  schemaId: u32;
  minTime: i64;
  maxTime: i64;
}

/** "MRBK" */
export const MAGIC: u32 = 0x4b42524d;
export const VERSION: u8 = 1;
export const HEAD_BYTES: u32 = 40;
/** The checksum covers what follows it. */
export const CHECKED_FROM: u32 = 8;

/** There is a section of row flags. */
export const HAS_FLAGS: u8 = 1;
/** There is a section of undeclared members kept verbatim. */
export const HAS_EXTRA: u8 = 2;

/** Bounds what a block may make its reader allocate: rows, and rows × (columns + 2). */
export const MAX_ROWS: u32 = 1 << 23;
export const MAX_CELLS: u64 = 1 << 26;

export function isTooLarge(rows: u64, columns: u64): bool {
  return rows > MAX_ROWS || rows * (columns + 2) > MAX_CELLS;
}
