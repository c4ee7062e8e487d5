/**
 * The summary of a batch's events by source, in the order it is read; it is only passed between threads of one process, never
 * stored. Numbers are little-endian.
 *
 *   version u32
 *   of sources beyond the limit: greatest event time i64, events u32, skewed u32
 *   identity u64 of a dictionary, or 0
 *   sources u32, bytes of all keys u32
 *   with a dictionary: each source's text in it, u32 (see text-keys.ts)
 *   each source: key length u32, key (see group-key.ts)
 *   rows u32, then each: `RowEntry`
 *   or `BY_SOURCE`, then each source: greatest event time i64, events u32, skewed u32, sketch
 */
export const SOURCES_VERSION: u32 = 2;
export const OTHERS_BYTES: u32 = 16;
export const BY_SOURCE: u32 = 0xffffffff;
export const NO_TIME: i64 = i64.MIN_VALUE;
/** In `RowEntry.source`: the event has clock skew. */
export const ROW_SKEWED: u32 = 0x80000000;

/** One event. */
@unmanaged
export class RowEntry {
  /** µs */
  time: i64;
  /** Of its offset to the arrival, see `bucketOf` in offset-sketch.ts. */
  bucket: i32;
  /** Number of the source in the summary, with `ROW_SKEWED`. */
  source: u32;
}
