import { boxes } from "../aggregate/box";
import { Batch } from "../batch/batch";
import { missingInSnapshot, readSnapshot, sortFields, writeSnapshot } from "../state/snapshot";
import { sliceClosingTime } from "./axis";
import { Local } from "./local";
import { Name, readPlan } from "./plan";
import { fireNext } from "./trigger";
import { Windows } from "./windows";

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

/** Writes a byte a row to `mask`. `wanted` holds what `windowsLate` gave. */
export function localMaskLate(local: Local, batch: Batch, wanted: usize, length: u32, mask: usize): void {
  local.maskLate(batch, wanted, length, mask);
}

/**
 * A time of the batch that the calendar must cover before it is aggregated, or the least i64: see `localCover`. `isFirst`: of
 * the calls for a batch, which each go on where the one before was.
 */
export function localMissingTime(local: Local, batch: Batch, isFirst: bool): i64 {
  return local.grouping.missingTime(batch, isFirst);
}

/** Takes in a page of the calendar, as `workers/core/calendar.ts` writes it. */
export function localCover(local: Local, page: usize): void {
  local.plan.axis.calendar.add(page);
}

export function localPageCount(local: Local): u32 {
  return local.plan.axis.isCalendar ? local.plan.axis.calendar.count : 0;
}

export function localForgetPages(local: Local): void {
  local.plan.axis.calendar.trim(i64.MAX_VALUE, i64.MIN_VALUE);
}

export function localDispose(local: Local): void {
  local.dispose();
}

export function windowsCreate(plan: usize): Windows {
  return Windows.create(readPlan(plan));
}

/** Where to write `length` bytes for `windowsMerge` or `windowsRestore`. */
export function windowsInput(windows: Windows, length: u32): usize {
  windows.input.reset();
  const at = windows.input.reserve(length + 16);
  windows.input.length = length;
  return at;
}

/** A time in the input that the calendar must cover before it is merged, or the least i64: see `windowsCover`. */
export function windowsMissingTime(windows: Windows, isFirst: bool): i64 {
  return windows.missingTime(isFirst);
}

/** The same for the snapshot in the input. */
export function windowsMissingInSnapshot(windows: Windows, isFirst: bool): i64 {
  return missingInSnapshot(windows, isFirst);
}

export function windowsCover(windows: Windows, page: usize): void {
  windows.plan.axis.calendar.add(page);
}

/** How many groups were too late, or -1 when the partial has another version. */
export function windowsMerge(windows: Windows, watermarkUs: i64): i32 {
  return windows.merge(watermarkUs);
}

export function windowsLate(windows: Windows): usize {
  return windows.late.data;
}

export function windowsLateLength(windows: Windows): u32 {
  return windows.late.length;
}

/** Events in the groups that were too late. */
export function windowsLateRows(windows: Windows): f64 {
  return <f64>windows.lateRows;
}

/** The address of the next window's results (see trigger.ts), or 0 when there are no more. */
export function windowsFireNext(windows: Windows, watermarkUs: i64): usize {
  boxes.reset();
  return fireNext(windows, watermarkUs, windows.out) ? windows.out.data : 0;
}

/** Where the values of the last results stand that are no numbers, see aggregate/box.ts. */
export function windowsBoxes(): usize {
  return boxes.data;
}

export function windowsDropClosed(windows: Windows, watermarkUs: i64): void {
  windows.dropClosed(watermarkUs);
}

/** The snapshot's address; its length is `windowsOutputLength`. */
export function windowsSnapshot(windows: Windows): usize {
  writeSnapshot(windows, windows.out);
  return windows.out.data;
}

export function windowsOutputLength(windows: Windows): u32 {
  return windows.out.length;
}

/** False when the snapshot is of another version, damaged or of another query: the state is then as it was. */
export function windowsRestore(windows: Windows): bool {
  return readSnapshot(windows);
}

/** End of the last open window in µs, or the least i64 when none is open. */
export function windowsLastEnd(windows: Windows): i64 {
  return windows.lastEnd();
}

/** The watermark that closes the first slice in µs, or the least i64 when none is open. */
export function windowsNextClose(windows: Windows): i64 {
  return windows.paneCount == 0 ? i64.MIN_VALUE : sliceClosingTime(windows.plan, windows.pane(0).number);
}

export function windowsKey(windows: Windows, key: u32): usize {
  return windows.keys.dictionary.pointer(key);
}

export function windowsKeyLength(windows: Windows, key: u32): u32 {
  return windows.keys.dictionary.length(key);
}

/** Another number whenever key numbers have changed their meaning. */
export function windowsKeyGeneration(windows: Windows): u32 {
  return windows.keys.generation;
}

export function windowsKeyCount(windows: Windows): u32 {
  return windows.keys.live;
}

export function windowsPaneCount(windows: Windows): u32 {
  return windows.paneCount;
}

export function windowsGroupCount(windows: Windows): u32 {
  return windows.groupCount;
}

export function windowsBytes(windows: Windows): f64 {
  return windows.bytes();
}

export function windowsFieldCount(windows: Windows): u32 {
  return windows.plan.fieldCount;
}

/** Field numbers (u32 each) in the order of their names; freed with `release`. */
export function windowsSortFields(windows: Windows): usize {
  return sortFields(windows);
}

/** The field's name as address u32, length u32. */
export function windowsFieldName(windows: Windows, field: u32): Name {
  return windows.plan.field(field).name;
}

export function windowsDispose(windows: Windows): void {
  windows.dispose();
}
