import { Batch } from "../batch/batch";
import { hourCount, sumEvents } from "./event-sums";

/** The address of `auditHours` sums of 32 bytes each (`HourSum`), valid until the next call. */
export function auditSum(batch: Batch): usize {
  return sumEvents(batch);
}

export function auditHours(): u32 {
  return hourCount;
}
