import { Batch } from "../../batch/batch";
import { writeColumn } from "../by-row";
import { NO_GROUP } from "../grouping";
import { Local } from "../local";

/** Writes the rows of a batch, whose groups are numbered, as they came: see partial.ts. What is in no group is left out. */
export function writeSessionRows(local: Local, batch: Batch): void {
  const grouping = local.grouping;
  const out = local.out;
  const count = grouping.rowCount;
  const rows: usize = count == batch.rows ? 0 : listRows(local, batch.rows);
  out.u32(count);
  const keys = out.reserve(count * 12);
  const times = keys + (<usize>count << 2);
  out.length += count * 12;
  const groupOfRow = grouping.groupOfRow.data;
  for (let i: u32 = 0; i < count; i++) {
    const g = load<u32>(groupOfRow + (<usize>rowAt(rows, i) << 2));
    store<u32>(keys + (<usize>i << 2), grouping.group(g).key);
  }
  if (rows == 0) memory.copy(times, batch.times, <usize>count << 3);
  else {
    for (let i: u32 = 0; i < count; i++) {
      store<i64>(times + (<usize>i << 3), load<i64>(batch.times + (<usize>rowAt(rows, i) << 3)));
    }
  }
  for (let f: u32 = 0; f < local.plan.fieldCount; f++) writeColumn(local, local.source(f), rows, count);
}

/** The numbers of the rows that are in a group, u32 each. */
function listRows(local: Local, rows: u32): usize {
  const grouping = local.grouping;
  const listed = grouping.order.data;
  let count: u32 = 0;
  for (let row: u32 = 0; row < rows; row++) {
    if (load<u32>(grouping.groupOfRow.data + (<usize>row << 2)) == NO_GROUP) continue;
    store<u32>(listed + (<usize>count << 2), row);
    count++;
  }
  return listed;
}

@inline
function rowAt(rows: usize, i: u32): u32 {
  return rows == 0 ? i : load<u32>(rows + (<usize>i << 2));
}
