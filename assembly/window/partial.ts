/**
 * A partial: what the local stage knows of one batch, in the order it is read. Numbers are little-endian; it is only
 * passed between threads of one process, never stored.
 *
 *   version u32
 *   fields u32, then each: families u32, name length u32, name
 *   identity u64 of a dictionary, or 0
 *   keys u32, bytes of all keys u32
 *   with a dictionary: each key's text in it, u32 (see text-keys.ts)
 *   each key: length u32, canonical bytes (see group-key.ts)
 *   windows u32, then each:
 *     start i64, groups u32, length of states u32, by row u32
 *     by row 0: groups × (key u32, rows u32); for each group, for each field, its state (see state/field-state.ts)
 *     by row 1: each group is one row, so that a key may have several: groups × key u32; for each field u32: 0 (it has no
 *       numbers), 2 (one each, which need not be known), or 1, and then f64 × groups
 */
export const PARTIAL_VERSION: u32 = 3;
export const GROUP_ENTRY_BYTES: u32 = 8;
export const ROW_ENTRY_BYTES: u32 = 4;
export const PANE_HEAD_BYTES: u32 = 20;

@inline
export function entryBytes(isByRow: bool): u32 {
  return isByRow ? ROW_ENTRY_BYTES : GROUP_ENTRY_BYTES;
}

/** The events that a group's entry stands for. */
@inline
export function entryRows(entry: usize, isByRow: bool): u32 {
  return isByRow ? 1 : load<u32>(entry, 4);
}
