import { Batch, FLAG_CLOCK_SKEW } from "./batch";

/** What `batchSummarize` writes: read by `workers/core/rows.ts`. */
@unmanaged
class Summary {
  /** Greatest event time among rows without clock skew; i64.MIN_VALUE when there are none. */
  maxTime: i64;
  skewed: u32;
}

const summary = changetype<Summary>(memory.data(offsetof<Summary>(), 8));

/** Counts clock-skewed rows and finds the greatest event time of the others. Cost: one pass over two columns. */
export function batchSummarize(batch: Batch): usize {
  let maxTime: i64 = i64.MIN_VALUE;
  let skewed: u32 = 0;
  for (let row: u32 = 0; row < batch.rows; row++) {
    if (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) {
      skewed++;
      continue;
    }
    const time = load<i64>(batch.times + (<usize>row << 3));
    if (time > maxTime) maxTime = time;
  }
  summary.maxTime = maxTime;
  summary.skewed = skewed;
  return changetype<usize>(summary);
}

/** Rows that are null in the column of that name; all of them where there is none. */
export function batchNulls(batch: Batch, name: usize, nameLength: u32): u32 {
  const index = batch.indexOf(name, nameLength);
  return index < 0 ? batch.rows : batch.column(<u32>index).nulls;
}
