/** The head of a group's record: one key of one window. The fields' accumulators follow, see `Layout`. */
@unmanaged
export class RecordHead {
  /** Events, whatever their fields. */
  rows: u64;
  /** Number of the key among the windows' keys. */
  key: u32;
  /** How many results it has given: the next one's revision. */
  emitted: u32;
  /** 1 while it waits to give a late revision. */
  isDirty: u32;
  /** When it was changed last, see state/capture.ts. */
  mark: u32;
}

/** Where the fields' accumulators begin: a multiple of 8. */
export const RECORD_HEAD: u32 = 24;
