import { ByteBuffer } from "../../memory/bytes";
import { touchGroup } from "../../state/keyed-capture";
import { columnEnd, mergeCell, mergeColumn } from "../merge-rows";
import { headOf, recordOf } from "./fragment";
import { fragmentAt, isOpen, KeyedGroup } from "./group";
import { NO_SPAN, refuse } from "./refused";
import { sortRowsByTime } from "./rows-by-time";
import { noteRows, placeInSessions } from "./session";
import { addTime } from "./settings";
import { KeyedWindows } from "./windows";

/** Rows whose session was at hand: the addresses of their records and their numbers, u32 each. */
const records = ByteBuffer.create(1024);
const placed = ByteBuffer.create(1024);
/** Rows that are still to be cut into fragments: their numbers, and which one of their key comes next (or 0; 1 is the first). */
const left = ByteBuffer.create(1024);
const nextLeft = ByteBuffer.create(1024);
/** By the partial's number of a key: the first of its rows in `left`, counted likewise. */
const firstLeft = ByteBuffer.create(1024);
/** The rows of one key. */
const run = ByteBuffer.create(1024);
/** Where the fields' columns stand. */
const columns = ByteBuffer.create(64);

/**
 * Merges rows that were passed on as they came (see partial.ts). Most are nearer than the gap to their key's only session, and
 * only make it longer: these are taken one by one, in any order. What is left is cut into fragments as in the lane, and merged
 * after them.
 *
 * That is the same as cutting all rows of the block into fragments first (see `mergeSession`). A fragment that has a row taken
 * at once joins that row's session, and so do all of its parts: each is nearer than the gap to a row that the session has by now.
 * A fragment without such a row is as near to the session as it was before.
 *
 * Returns how many spans of events were too late.
 */
export function mergeSessionRows(windows: KeyedWindows, at: usize, clockUs: i64): u32 {
  const count = load<u32>(at);
  const keys = at + 4;
  const times = keys + (<usize>count << 2);
  readColumns(windows, times + (<usize>count << 3), count);
  const found = findKeys(windows, keys, count);
  const records_ = records.reserve(count << 2);
  const placed_ = placed.reserve(count << 2);
  const left_ = left.reserve(count << 2);
  const touchesKeys = windows.plan.earlyUs != 0;
  let taken: u32 = 0;
  let leftCount: u32 = 0;
  for (let row: u32 = 0; row < count; row++) {
    const key = load<u32>(found + (<usize>row << 2));
    const group = windows.group(key);
    const record = extend(windows, group, key, load<i64>(times + (<usize>row << 3)), clockUs);
    store<u32>(records_ + (<usize>taken << 2), <u32>record);
    store<u32>(placed_ + (<usize>taken << 2), row);
    store<u32>(left_ + (<usize>leftCount << 2), row);
    if (record != 0) taken++;
    else leftCount++;
    if (touchesKeys && record != 0) windows.touchKey(group, key);
  }
  const plan = windows.plan;
  for (let f: u32 = 0; f < plan.fieldCount; f++) {
    mergeColumn(plan.layout(f), records_, leftCount == 0 ? 0 : placed_, taken, columnAt(f));
  }
  return leftCount == 0 ? 0 : mergeLeft(windows, keys, times, leftCount, clockUs);
}

function readColumns(windows: KeyedWindows, at: usize, rows: u32): void {
  columns.reset();
  for (let f: u32 = 0; f < windows.plan.fieldCount; f++) {
    columns.u32(<u32>at);
    at = columnEnd(at, rows);
  }
}

@inline
function columnAt(field: u32): usize {
  return load<u32>(columns.data + (<usize>field << 2));
}

/** The rows' keys by their numbers among those of the windows, u32 each. Ahead of the merge, so that cache misses overlap. */
function findKeys(windows: KeyedWindows, keys: usize, count: u32): usize {
  windows.found.reset();
  const found = windows.found.reserve(count << 2);
  for (let row: u32 = 0; row < count; row++) {
    store<u32>(found + (<usize>row << 2), windows.partialKeys.numberOf(load<u32>(keys + (<usize>row << 2))));
  }
  windows.makeGroups();
  return found;
}

/**
 * Counts an event in its key's session, and returns that one's record. 0, with all as it was, unless it is the only one, open, near
 * enough, and has shown nothing that would be to be retracted.
 */
@inline
function extend(windows: KeyedWindows, group: KeyedGroup, key: u32, timeUs: i64, clockUs: i64): usize {
  if (group.count != 1) return 0;
  const gapUs = windows.settings.gapUs;
  const session = fragmentAt(group, 0);
  const head = headOf(session);
  const lastUs = max(session.lastUs, timeUs);
  if (timeUs - session.lastUs >= gapUs || session.firstUs - timeUs >= gapUs || head.emitted != 0) return 0;
  if (windows.closingOf(session) <= clockUs) return 0;
  touchGroup(windows, group, key);
  session.lastUs = lastUs;
  session.firstUs = min(session.firstUs, timeUs);
  session.isLate = addTime(lastUs, gapUs) <= clockUs ? 1 : 0;
  head.rows++;
  head.isDirty = 1;
  return recordOf(session);
}

/** Merges the rows that are left, key by key. */
function mergeLeft(windows: KeyedWindows, keys: usize, times: usize, count: u32, clockUs: i64): u32 {
  chainByKey(windows, keys, count);
  let late: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const row = load<u32>(left.data + (<usize>i << 2));
    const partialKey = load<u32>(keys + (<usize>row << 2));
    const first = firstLeft.data + (<usize>partialKey << 2);
    let next = load<u32>(first);
    if (next == 0) continue;
    store<u32>(first, 0);
    run.reset();
    for (; next != 0; next = load<u32>(nextLeft.data + (<usize>(next - 1) << 2))) {
      run.u32(load<u32>(left.data + (<usize>(next - 1) << 2)));
    }
    late += mergeRun(windows, load<u32>(windows.found.data + (<usize>row << 2)), partialKey, times, clockUs);
  }
  return late;
}

/** Links the rows that are left to the next one of their key. */
function chainByKey(windows: KeyedWindows, keys: usize, count: u32): void {
  const next = nextLeft.reserve(count << 2);
  const keyBytes = windows.partialKeys.count << 2;
  const first = firstLeft.reserve(keyBytes);
  memory.fill(first, 0, keyBytes);
  for (let i = count; i > 0; i--) {
    const row = load<u32>(left.data + (<usize>(i - 1) << 2));
    const place = first + (<usize>load<u32>(keys + (<usize>row << 2)) << 2);
    store<u32>(next + (<usize>(i - 1) << 2), load<u32>(place));
    store<u32>(place, i);
  }
}

/** Cuts the rows in `run`, all of one key, into fragments, and merges these. Returns how many spans were too late. */
function mergeRun(windows: KeyedWindows, key: u32, partialKey: u32, times: usize, clockUs: i64): u32 {
  const rows = run.data;
  const count = run.length >> 2;
  const gapUs = windows.settings.gapUs;
  const group = windows.group(key);
  touchGroup(windows, group, key);
  sortRowsByTime(rows, count, times);
  let late: u32 = 0;
  let span = NO_SPAN;
  for (let from: u32 = 0; from < count; ) {
    const firstUs = timeAt(times, rows, from);
    let lastUs = firstUs;
    let to = from + 1;
    for (; to < count && timeAt(times, rows, to) - lastUs < gapUs; to++) lastUs = timeAt(times, rows, to);
    const session = placeInSessions(windows, group, key, firstUs, lastUs, clockUs);
    if (changetype<usize>(session) == 0) {
      if (span == NO_SPAN) late++;
      span = refuse(windows, partialKey, firstUs, lastUs, to - from, span);
    } else {
      span = NO_SPAN;
      const record = recordOf(session);
      for (let i = from; i < to; i++) mergeRow(windows, record, load<u32>(rows + (<usize>i << 2)));
      noteRows(windows, group, key, session, to - from, clockUs);
    }
    from = to;
  }
  if (windows.plan.earlyUs != 0 && isOpen(group)) windows.touchKey(group, key);
  windows.refresh(group, key);
  return late;
}

@inline
function mergeRow(windows: KeyedWindows, record: usize, row: u32): void {
  const plan = windows.plan;
  for (let f: u32 = 0; f < plan.fieldCount; f++) mergeCell(plan.layout(f), record, row, columnAt(f));
}

@inline
function timeAt(times: usize, rows: usize, index: u32): i64 {
  return load<i64>(times + (<usize>load<u32>(rows + (<usize>index << 2)) << 3));
}
