/**
 * A partial of keyed windows: for every key of one batch its fragments in the order of time, or its events. Numbers are little-endian; it
 * is only passed between threads of one process, never stored.
 *
 *   version u32
 *   keys, with the texts they are known by: as in ../partial.ts
 *   by row u32
 *   by row 0:
 *     groups u32, then each: key u32, fragments u32, greatest event time i64
 *     for each group its fragments: see `FragmentEntry`, then for each field its state (see state/field-state.ts)
 *   by row 1, of sessions alone: the rows as they came
 *     rows u32, key u32 × rows, time i64 × rows, for each field its column: as in ../partial.ts
 *
 * What a fragment is depends on the kind: events nearer than the gap (session), one event (count and none), the events of
 * one pane (tumbling and sliding) or one slice of a calendar. Fragments of one key do not touch: each event's time tells which one it is in.
 */
export const KEYED_PARTIAL_VERSION: u32 = 2;

@unmanaged
export class FragmentEntry {
  firstUs: i64;
  lastUs: i64;
  rows: u32;
  /** Bytes of the states that follow. */
  stateLength: u32;
}

export const FRAGMENT_ENTRY_BYTES: u32 = offsetof<FragmentEntry>();
export const GROUP_HEAD_BYTES: u32 = 16;
