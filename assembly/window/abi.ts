import { Batch } from "../batch/batch";
import { Local } from "./local";
import { readPlan } from "./plan";
import { Windows } from "./tumbling";

export function localCreate(plan: usize): Local {
  return Local.create(readPlan(plan));
}

/** The partial's address; its length is `localLength`. */
export function localAggregate(local: Local, batch: Batch): usize {
  local.aggregate(batch);
  return local.out.data;
}

export function localLength(local: Local): u32 {
  return local.out.length;
}

export function localMaskLate(local: Local, batch: Batch, wanted: usize, count: u32, mask: usize): void {
  local.maskLate(batch, wanted, count, mask);
}

export function localDispose(local: Local): void {
  local.dispose();
}

export function windowsCreate(plan: usize): Windows {
  return Windows.create(readPlan(plan));
}

/** How many groups were too late, or -1 when the partial has another version. */
export function windowsMerge(windows: Windows, partial: usize, watermark: i64): i32 {
  return windows.merge(partial, watermark) ? windows.lateCount : -1;
}

export function windowsLate(windows: Windows): usize {
  return windows.late.data;
}

export function windowsLateLength(windows: Windows): u32 {
  return windows.late.length;
}

/** How many rows were written to the output. */
export function windowsFire(windows: Windows, watermark: i64): u32 {
  windows.fire(watermark);
  return windows.rowCount;
}

export function windowsSnapshot(windows: Windows): usize {
  windows.snapshot();
  return windows.out.data;
}

export function windowsOutput(windows: Windows): usize {
  return windows.out.data;
}

export function windowsOutputLength(windows: Windows): u32 {
  return windows.out.length;
}

export function windowsRestore(windows: Windows, snapshot: usize): bool {
  return windows.restore(snapshot);
}

export function windowsHasDeadKeys(windows: Windows): bool {
  return windows.hasDeadKeys();
}

/** End of the last open window, or the least i64 when none is open. */
export function windowsLastEnd(windows: Windows): i64 {
  const count = windows.paneCount;
  return count == 0 ? i64.MIN_VALUE : windows.pane(count - 1).start + windows.plan.sizeUs;
}

export function windowsKey(windows: Windows, key: u32): usize {
  return windows.keys.pointer(key);
}

export function windowsKeyLength(windows: Windows, key: u32): u32 {
  return windows.keys.length(key);
}

export function windowsKeyCount(windows: Windows): u32 {
  return windows.keys.count;
}

export function windowsGroupCount(windows: Windows): u32 {
  return windows.groupCount;
}

export function windowsStride(windows: Windows): u32 {
  return windows.plan.stride;
}

export function windowsFieldCount(windows: Windows): u32 {
  return windows.plan.fieldCount;
}

export function windowsFieldName(windows: Windows, field: u32): usize {
  return windows.plan.fieldName(field).pointer;
}

export function windowsFieldNameLength(windows: Windows, field: u32): u32 {
  return windows.plan.fieldName(field).length;
}

export function windowsDispose(windows: Windows): void {
  windows.dispose();
}
