import { Fn } from "../../aggregate/layout";
import { outsideBytes } from "../../aggregate/memory";
import { Plan } from "../plan";
import { RecordHead } from "../record";
import { QueuedEvent, QUEUED_EVENT_BYTES, queuedEnd } from "./events";
import { Fragment, headOf, recordOf, Shown } from "./fragment";
import { NEVER, TOUCHED } from "./group";
import { KeyedWindows } from "./windows";

/** Kinds of rows; the numbers are those of `workers/core/keyed-results.ts`. */
export const enum RowKind {
  OnTime = 0,
  Late = 1,
  /** Takes back an earlier row of the same window; its values mean nothing. */
  Retracted = 2,
  /** No row: the window was shown, and will not be revised or retracted any more. */
  Closed = 3,
  /** Of a window that is still filling. */
  Early = 4,
  /** Takes back a row of a window that was shown early only. */
  RetractedEarly = 5,
}

/** Rows are handed over in portions of about this many. */
const ROWS_AT_ONCE: u32 = 16384;
const OUT_HEAD_BYTES: u32 = 8;

/**
 * Lets keys show what their clocks have passed, and drops their closed windows. Writes to `windows.out`
 *
 *   rows u32, unused u32; rows × (start f64, end f64 (µs), key u32, revision u32, kind u32, unused u32,
 *   values f64; NaN for null)
 *
 * and returns true; false when there are no more. Call it until then, and `tidy` after.
 */
export function fireKeyed(windows: KeyedWindows, watermarkUs: i64): bool {
  const out = windows.out;
  const before = outsideBytes;
  out.reset();
  out.u64(0);
  showQueued(windows);
  const touched = windows.touched;
  const looksAtTouched = windows.beginFiring(watermarkUs);
  while (looksAtTouched && touched.length != 0 && rowsOf(windows) < ROWS_AT_ONCE) {
    touched.length -= 4;
    const key = load<u32>(touched.data + touched.length);
    windows.group(key).flags &= ~TOUCHED;
    windows.look(key, watermarkUs);
  }
  const due = windows.dueTimes;
  while (rowsOf(windows) < ROWS_AT_ONCE && due.take(watermarkUs)) {
    const key = due.key;
    if (windows.group(key).dueUs != due.timeUs) continue;
    windows.group(key).dueUs = NEVER;
    if (!windows.waits(key, watermarkUs)) windows.look(key, watermarkUs);
  }
  windows.extraBytes += outsideBytes - before;
  return rowsOf(windows) != 0;
}

@inline
function rowsOf(windows: KeyedWindows): u32 {
  return load<u32>(windows.out.data);
}

/** The row of a session or an aligned window, after the retractions of what it has outgrown. */
export function showFragment(windows: KeyedWindows, fragment: Fragment, key: u32, endUs: i64, kind: RowKind): void {
  const head = headOf(fragment);
  for (let at = fragment.shown; at != 0; ) {
    const shown = changetype<Shown>(at);
    showRow(windows, shown.startUs, shown.endUs, key, shown.revision, shown.isEarly ? RowKind.RetractedEarly : RowKind.Retracted, 0);
    at = shown.next;
    heap.free(changetype<usize>(shown));
  }
  fragment.shown = 0;
  showRow(windows, fragment.firstUs, endUs, key, head.emitted, kind, recordOf(fragment));
  head.emitted++;
  head.isDirty = 0;
  fragment.isEarly = kind == RowKind.Early ? 1 : 0;
}

/** Rows of events that wait for no clock. */
function showQueued(windows: KeyedWindows): void {
  const queued = windows.queued;
  if (queued.length == 0) return;
  const plan = windows.plan;
  const scratch = windows.scratch;
  scratch.reset();
  const record = scratch.reserve(plan.stride);
  const head = changetype<RecordHead>(record);
  for (let f: u32 = 0; f < plan.fieldCount; f++) plan.layout(f).clear(record);
  head.rows = 1;
  const end = queued.data + queued.length;
  for (let at = queued.data; at < end; ) {
    const event = changetype<QueuedEvent>(at);
    windows.mergeStates(record, at + QUEUED_EVENT_BYTES);
    showRow(windows, event.timeUs, event.timeUs, event.key, event.revision, event.kind, record);
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      plan.layout(f).release(record);
      plan.layout(f).clear(record);
    }
    at = queuedEnd(event);
  }
  queued.reset();
}

/** Writes a row; a retraction has no record. */
export function showRow(
  windows: KeyedWindows,
  startUs: i64,
  endUs: i64,
  key: u32,
  revision: u32,
  kind: RowKind,
  record: usize,
): void {
  const out = windows.out;
  out.f64(<f64>startUs);
  out.f64(<f64>endUs);
  out.u32(key);
  out.u32(revision);
  out.u32(kind);
  out.u32(0);
  store<u32>(out.data, load<u32>(out.data) + 1);
  writeValues(windows, windows.plan, record);
}

function writeValues(windows: KeyedWindows, plan: Plan, record: usize): void {
  const out = windows.out;
  for (let s: u32 = 0; s < plan.selectionCount; s++) {
    const selected = plan.selection(s);
    if (record == 0) out.f64(NaN);
    else if (selected.fn == Fn.CountRows) out.f64(<f64>changetype<RecordHead>(record).rows);
    else out.f64(plan.layout(selected.field).result(record, selected.fn, selected.parameter));
  }
}
