import { boxes } from "../../aggregate/box";
import { Batch } from "../../batch/batch";
import { readKeyedSnapshot, writeKeyedSnapshot } from "../../state/keyed-snapshot";
import { readPlan } from "../plan";
import { advanceClock, clockOfKey, earliestClock } from "./clocks";
import { KeyedLocal } from "./local";
import { missingTime } from "./merge";
import { fireKeyed } from "./results";
import { KeyedSettings, readSettings } from "./settings";
import { KeyedWindows } from "./windows";

/** `plan`: with one window over all time; `settings`: see settings.ts. */
export function keyedLocalCreate(plan: usize, settings: usize): KeyedLocal {
  return KeyedLocal.create(readPlan(plan), readSettings(settings));
}

/** The partial's address; its length is `keyedLocalLength`. */
export function keyedLocalAggregate(local: KeyedLocal, batch: Batch): usize {
  local.aggregate(batch);
  return local.local.out.data;
}

export function keyedLocalLength(local: KeyedLocal): u32 {
  return local.local.out.length;
}

/** A time of the batch that the calendar must cover before it is aggregated, or the least i64: see `keyedLocalCover`. */
export function keyedLocalMissingTime(local: KeyedLocal, batch: Batch, isFirst: bool): i64 {
  return local.missingTime(batch, isFirst);
}

/** Takes in a page of the calendar, as `workers/core/calendar.ts` writes it. */
export function keyedLocalCover(local: KeyedLocal, page: usize): void {
  local.settings.axis.calendar.add(page);
}

/** Makes room for other pages when there are more than so many. */
export function keyedLocalTidyPages(local: KeyedLocal, most: u32): void {
  tidyPages(local.settings, most);
}

/** Writes a byte a row to `mask`. `wanted` holds what `keyedLate` gave. */
export function keyedLocalMaskLate(local: KeyedLocal, batch: Batch, wanted: usize, length: u32, mask: usize): void {
  local.maskLate(batch, wanted, length, mask);
}

export function keyedLocalDispose(local: KeyedLocal): void {
  local.dispose();
}

export function keyedCreate(plan: usize, settings: usize): KeyedWindows {
  return KeyedWindows.create(readPlan(plan), readSettings(settings));
}

/** Where to write `length` bytes for `keyedMerge` or `keyedRestore`. */
export function keyedInput(windows: KeyedWindows, length: u32): usize {
  windows.input.reset();
  const at = windows.input.reserve(length + 16);
  windows.input.length = length;
  return at;
}

/** A time in the partial in the input that the calendar must cover before it is merged, or the least i64. */
export function keyedMissingTime(windows: KeyedWindows, isFirst: bool): i64 {
  return missingTime(windows, isFirst);
}

export function keyedCover(windows: KeyedWindows, page: usize): void {
  windows.settings.axis.calendar.add(page);
}

export function keyedTidyPages(windows: KeyedWindows, most: u32): void {
  tidyPages(windows.settings, most);
}

function tidyPages(settings: KeyedSettings, most: u32): void {
  const calendar = settings.calendar;
  if (changetype<usize>(calendar) != 0 && calendar.count > most) calendar.trim(i64.MAX_VALUE, i64.MIN_VALUE);
}

/** How many spans of events were too late, or -1 when the partial has another version. */
export function keyedMerge(windows: KeyedWindows, watermarkUs: i64): i32 {
  return windows.merge(watermarkUs);
}

export function keyedLate(windows: KeyedWindows): usize {
  return windows.late.data;
}

export function keyedLateLength(windows: KeyedWindows): u32 {
  return windows.late.length;
}

/** Events in the spans that were too late. */
export function keyedLateRows(windows: KeyedWindows): f64 {
  return <f64>windows.lateRows;
}

/** The address of the next rows (see results.ts), or 0 when there are no more. */
export function keyedFireNext(windows: KeyedWindows, watermarkUs: i64): usize {
  boxes.reset();
  return fireKeyed(windows, watermarkUs) ? windows.out.data : 0;
}

/** See `KeyedWindows.outgrown`; to be read before rows are asked for, and then forgotten. */
export function keyedOutgrown(windows: KeyedWindows): usize {
  return windows.outgrown.data;
}

/** How many there are. */
export function keyedOutgrownCount(windows: KeyedWindows): u32 {
  return windows.outgrown.length / 24;
}

export function keyedForgetOutgrown(windows: KeyedWindows): void {
  windows.outgrown.reset();
}

/** To be called when there are no more rows. */
export function keyedTidy(windows: KeyedWindows): void {
  windows.tidy();
}

/** The snapshot's address; its length is `keyedOutputLength`. */
export function keyedSnapshot(windows: KeyedWindows): usize {
  writeKeyedSnapshot(windows, windows.out);
  return windows.out.data;
}

export function keyedOutputLength(windows: KeyedWindows): u32 {
  return windows.out.length;
}

/** False when the snapshot is of another version, damaged or of another query: the state is then as it was. */
export function keyedRestore(windows: KeyedWindows): bool {
  return readKeyedSnapshot(windows);
}

/** The clock at which all that is open is shown, in µs, or the least i64 when nothing is open. */
export function keyedLastEnd(windows: KeyedWindows): i64 {
  return windows.lastEnd();
}

/** The clock at which the next key has something to show or to drop in µs, or the least i64 when none has. */
export function keyedNextDue(windows: KeyedWindows): i64 {
  return windows.dueTimes.count == 0 ? i64.MIN_VALUE : windows.dueTimes.leastUs;
}

/** The earliest clock of a key with an open window, or the least i64. */
export function keyedEarliestClock(windows: KeyedWindows): i64 {
  return earliestClock(windows);
}

/** The clock of a key by its bytes, which stand in the input: what it does not pass is open. The least i64: it has none. */
export function keyedClock(windows: KeyedWindows): i64 {
  return clockOfKey(windows, windows.input.data, windows.input.length);
}

/** Moves the clock of the key whose bytes stand in the input, never back. */
export function keyedAdvance(windows: KeyedWindows, clockUs: i64): void {
  advanceClock(windows, windows.input.data, windows.input.length, clockUs);
}

export function keyedKey(windows: KeyedWindows, key: u32): usize {
  return windows.keys.dictionary.pointer(key);
}

export function keyedKeyLength(windows: KeyedWindows, key: u32): u32 {
  return windows.keys.dictionary.length(key);
}

/** Another number whenever key numbers have changed their meaning. */
export function keyedKeyGeneration(windows: KeyedWindows): u32 {
  return windows.keys.generation;
}

export function keyedOpenKeys(windows: KeyedWindows): u32 {
  return windows.openKeys;
}

/** Keys without an open window whose clocks are remembered. */
export function keyedIdleKeys(windows: KeyedWindows): u32 {
  return windows.keys.live - windows.openKeys;
}

export function keyedWindowCount(windows: KeyedWindows): u32 {
  return windows.fragmentCount;
}

export function keyedBytes(windows: KeyedWindows): f64 {
  return windows.bytes();
}

export function keyedDispose(windows: KeyedWindows): void {
  windows.dispose();
}
