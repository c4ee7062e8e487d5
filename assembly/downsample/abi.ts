import { Batch } from "../batch/batch";
import { Downsampler } from "./downsampler";
import { writeGroups } from "./write";

/** `keyFields`: a u32 length and the bytes of each name. `spanUs`: whole, below 2³². */
export function downsamplerCreate(keyFields: usize, length: u32, keyFieldCount: u32, spanUs: f64): Downsampler {
  return Downsampler.create(keyFields, length, keyFieldCount, <i64>spanUs);
}

/** Takes in the rows of a batch. */
export function downsamplerAdd(downsampler: Downsampler, batch: Batch): void {
  downsampler.add(batch);
}

/** Whether no more should be added. */
export function downsamplerIsFull(downsampler: Downsampler): bool {
  return downsampler.isFull();
}

/** A new batch with the aggregates, for `batchDispose`. */
export function downsamplerWrite(downsampler: Downsampler): Batch {
  return writeGroups(downsampler);
}

export function downsamplerDispose(downsampler: Downsampler): void {
  downsampler.dispose();
}
