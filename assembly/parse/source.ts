import { Span, SPAN_SHIFT } from "./slots";
import { Step, STEP_SHIFT } from "./walk";

/** What one column's cells are read from and written to, for a run of rows. */
@unmanaged
export class Source {
  /** Span[] */
  spans: usize;
  /** Step[] */
  steps: usize;
  /** The bit that a row's `seen` has when there is a value. */
  bit: u64;
  /** Not every row has one. */
  isSparse: u32;
  /** A null is for the full reader. */
  isStrict: u32;
  /** u64[], or i64[] of times */
  cells: usize;
  /** u8[], 1 from the start. */
  valid: usize;
  /** One of the cells was set to null. */
  hasNulls: u32;

  @inline isGap(row: u32): bool {
    return this.isSparse != 0 && (changetype<Step>(this.steps + (<usize>row << STEP_SHIFT)).seen & this.bit) == 0;
  }

  @inline span(row: u32): Span {
    return changetype<Span>(this.spans + (<usize>row << SPAN_SHIFT));
  }

  @inline set(row: u32, cell: u64): void {
    store<u64>(this.cells + (<usize>row << 3), cell);
  }

  setNull(row: u32): void {
    this.set(row, 0);
    store<u8>(this.valid + row, 0);
    this.hasNulls = 1;
  }
}
