import { Batch } from "../batch/batch";
import { NO_GROUP } from "./grouping";
import { Local, PLAIN, Source } from "./local";
import { ROW_ENTRY_BYTES } from "./partial";

/**
 * With fewer rows a group than this, a partial passes the rows on as they came: to sort and gather them costs more than to
 * add them one by one, and their memory is then read in the order it stands in.
 */
const FEW_ROWS: u32 = 6;

/** Whether the batch at hand, whose groups are numbered, is passed on by row: few rows a group, and fields that are plain. */
export function countByRow(local: Local): bool {
  const groups = local.grouping.groupCount;
  if (local.grouping.rowCount >= groups * FEW_ROWS) return false;
  for (let f: u32 = 0; f < local.plan.fieldCount; f++) {
    const source = local.source(f);
    if (source.isPlain == 0 && (source.values | source.others | source.typed) != 0) return false;
  }
  return true;
}

/** Writes the windows of the batch, each row as a group of its own. */
export function writeByRow(local: Local, batch: Batch): void {
  const grouping = local.grouping;
  const out = local.out;
  const panes = grouping.panes.count;
  out.u32(panes);
  if (panes == 1 && grouping.rowCount == batch.rows) {
    writeRows(local, 0, 0, batch.rows);
    return;
  }
  sortByPane(local, batch);
  let from: u32 = 0;
  for (let pane: u32 = 0; pane < panes; pane++) {
    const to = load<u32>(local.values.data + (<usize>pane << 2));
    writeRows(local, pane, grouping.order.data + (<usize>from << 2), to - from);
    from = to;
  }
}

/** Rows by window, in `grouping.order`, by a counting sort; where each window's rows end stands in `values`, u32 each. */
function sortByPane(local: Local, batch: Batch): void {
  const grouping = local.grouping;
  const panes = grouping.panes.count;
  const ends = local.values.reserve(panes << 2);
  memory.fill(ends, 0, <usize>panes << 2);
  for (let g: u32 = 0; g < grouping.groupCount; g++) {
    const group = grouping.group(g);
    const place = ends + (<usize>group.pane << 2);
    store<u32>(place, load<u32>(place) + group.rows);
  }
  let sum: u32 = 0;
  for (let pane: u32 = 0; pane < panes; pane++) {
    const place = ends + (<usize>pane << 2);
    const rows = load<u32>(place);
    store<u32>(place, sum);
    sum += rows;
  }
  const order = grouping.order.data;
  const groupOfRow = grouping.groupOfRow.data;
  for (let row: u32 = 0; row < batch.rows; row++) {
    const g = load<u32>(groupOfRow + (<usize>row << 2));
    if (g == NO_GROUP) continue;
    const place = ends + (<usize>grouping.group(g).pane << 2);
    const at = load<u32>(place);
    store<u32>(order + (<usize>at << 2), row);
    store<u32>(place, at + 1);
  }
}

/** One window with its rows: `count` row numbers at `rows`, or all rows up to `count` when that is 0. */
function writeRows(local: Local, pane: u32, rows: usize, count: u32): void {
  const grouping = local.grouping;
  const out = local.out;
  out.u64(grouping.paneStart(pane));
  out.u32(count);
  const lengthAt = out.length;
  out.u32(0);
  out.u32(1);
  const entries = out.reserve(count * ROW_ENTRY_BYTES);
  out.length += count * ROW_ENTRY_BYTES;
  const groupOfRow = grouping.groupOfRow.data;
  // A batch of one window has numbered its groups as its keys.
  if (rows == 0) memory.copy(entries, groupOfRow, <usize>count * ROW_ENTRY_BYTES);
  else {
    for (let i: u32 = 0; i < count; i++) {
      const g = load<u32>(groupOfRow + (<usize>load<u32>(rows + (<usize>i << 2)) << 2));
      store<u32>(entries + <usize>i * ROW_ENTRY_BYTES, grouping.group(g).key);
    }
  }
  const statesAt = out.length;
  for (let f: u32 = 0; f < local.plan.fieldCount; f++) writeColumn(local, local.source(f), rows, count);
  store<u32>(out.data + lengthAt, out.length - statesAt);
}

/** A field's column: of `count` row numbers at `rows`, or of all rows up to `count` when that is 0. */
export function writeColumn(local: Local, source: Source, rows: usize, count: u32): void {
  const out = local.out;
  const values = source.values;
  out.u32(source.isPlain);
  if (source.isPlain != PLAIN) return;
  const at = out.reserve(count << 3);
  out.length += count << 3;
  if (rows == 0) memory.copy(at, values, <usize>count << 3);
  else {
    for (let i: u32 = 0; i < count; i++) {
      const row = load<u32>(rows + (<usize>i << 2));
      store<f64>(at + (<usize>i << 3), load<f64>(values + (<usize>row << 3)));
    }
  }
}
