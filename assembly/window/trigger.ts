import { Fn } from "../aggregate/layout";
import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { touch } from "../state/pane-capture";
import { Plan } from "./plan";
import { RecordHead } from "./record";
import { floorDivide } from "./axis";
import { Windows } from "./windows";

/** Kinds of results; the numbers are those of `workers/core/window.ts`. */
export const enum Kind {
  OnTime = 0,
  Late = 1,
  Early = 2,
}

/**
 * Whether early results are due: the watermark has passed a multiple of `earlyUs` since windows were fired last. So
 * they are a matter of event time, and a replay of the log gives them again.
 */
export function isEarlyDue(windows: Windows, watermarkUs: i64): bool {
  const every = windows.plan.earlyUs;
  if (every == 0 || watermarkUs <= windows.firedUs) return false;
  return floorDivide(watermarkUs, every) > floorDivide(windows.firedUs, every);
}

/**
 * Lets the earliest window that the watermark has passed give its results: all groups on time when it has just been
 * passed, else a late revision of each group that has changed since. When those are through, windows that are still filling
 * give their early results: a row of each group that has changed since its last. Writes to `out`
 *
 *   start f64, end f64 (µs), kind u32, rows u32; rows × (key u32, revision u32, values f64; NaN for null)
 *
 * and returns true; false when no window has any more results. Call it until then, and `dropClosed` after.
 */
export function fireNext(windows: Windows, watermarkUs: i64, out: ByteBuffer): bool {
  const plan = windows.plan;
  if (windows.isSliding) {
    const before = outsideBytes;
    const isFired = windows.sliding.fireNext(watermarkUs, out);
    windows.extraBytes += outsideBytes - before;
    return isFired;
  }
  for (let p = windows.fireFrom; p < windows.paneCount; p++) {
    const pane = windows.pane(p);
    const isEarly = pane.end > watermarkUs;
    if (isEarly && !isEarlyDue(windows, watermarkUs)) break;
    if ((isEarly || pane.isPassed) && pane.dirty == 0) continue;
    const isOnTime = !isEarly && pane.isPassed == 0;
    writeHead(
      out,
      pane.start,
      pane.end,
      isOnTime ? Kind.OnTime : isEarly ? Kind.Early : Kind.Late,
      isOnTime ? pane.count : pane.dirty,
    );
    for (let i: u32 = 0; i < pane.count; i++) {
      const head = pane.head(i);
      if (!isOnTime && !head.isDirty) continue;
      touch(windows, pane, head);
      emit(plan, head, out);
    }
    if (!isEarly) pane.isPassed = 1;
    pane.dirty = 0;
    windows.fireFrom = p + 1;
    return true;
  }
  windows.fireFrom = 0;
  return false;
}

/** Begins the results of a window. */
export function writeHead(out: ByteBuffer, startUs: i64, endUs: i64, kind: Kind, rows: u32): void {
  out.reset();
  out.f64(<f64>startUs);
  out.f64(<f64>endUs);
  out.u32(kind);
  out.u32(rows);
}

/** Says how many results the window has, after they were written. */
export function setRowCount(out: ByteBuffer, rows: u32): void {
  store<u32>(out.data, rows, 20);
}

/** Appends a group's result, and counts it. */
export function emit(plan: Plan, head: RecordHead, out: ByteBuffer): void {
  const record = changetype<usize>(head);
  out.u32(head.key);
  out.u32(head.emitted);
  head.emitted++;
  head.isDirty = 0;
  if (plan.isWildcard) {
    out.f64(<f64>head.rows);
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      const layout = plan.layout(f);
      out.f64(layout.result(record, Fn.Avg, 0));
      out.f64(layout.result(record, Fn.Min, 0));
      out.f64(layout.result(record, Fn.Max, 0));
    }
    return;
  }
  for (let s: u32 = 0; s < plan.selectionCount; s++) {
    const selected = plan.selection(s);
    if (selected.fn == Fn.CountRows) out.f64(<f64>head.rows);
    else out.f64(plan.layout(selected.field).result(record, selected.fn, selected.parameter));
  }
}
