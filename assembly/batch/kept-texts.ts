import { Batch } from "./batch";

/** Of a column: beyond these, interned texts are forgotten when a quarter of a batch's were new. */
const MANY_TEXTS: u32 = 1 << 14;
const MAX_KEPT_TEXTS: u32 = 1 << 16;
const MAX_KEPT_TEXT_BYTES: u32 = 1 << 20;

/** Forgets the rows. Texts stay interned, for the next batch brings mostly the same ones. */
export function emptyBatch(batch: Batch): void {
  const rows = batch.rows;
  batch.rows = 0;
  batch.extra.filled = 0;
  batch.extra.nulls = 0;
  batch.extra.bytes.reset();
  for (let i: u32 = 0; i < batch.columnCount; i++) {
    const column = batch.column(i);
    column.filled = 0;
    column.nulls = 0;
    const dictionary = column.dictionary;
    if (changetype<usize>(dictionary) == 0) continue;
    const fresh = dictionary.count - dictionary.kept;
    const isMostlyNew = dictionary.count > MANY_TEXTS && fresh > rows >> 2;
    if (isMostlyNew || dictionary.count > MAX_KEPT_TEXTS || dictionary.bytes.length > MAX_KEPT_TEXT_BYTES) {
      dictionary.reset();
    }
    dictionary.kept = dictionary.count;
  }
}
