/** Bytes that all accumulators of this module instance hold outside their records. */
export let outsideBytes: i64 = 0;

@inline
export function countMemory(bytes: i32): void {
  outsideBytes += bytes;
}
