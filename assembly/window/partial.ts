/**
 * A partial: what the local stage knows of one batch, in the order it is read. Numbers are little-endian; it is only
 * passed between threads of one process, never stored.
 *
 *   version u32
 *   fields u32, then each: families u32, name length u32, name
 *   keys u32, then each: length u32, canonical bytes (see group-key.ts)
 *   windows u32, then each:
 *     start i64, groups u32, length of states u32
 *     groups × (key u32, rows u32)
 *     states: for each group, for each field, its state (see state/field-state.ts)
 */
export const PARTIAL_VERSION: u32 = 1;
export const GROUP_ENTRY_BYTES: u32 = 8;
