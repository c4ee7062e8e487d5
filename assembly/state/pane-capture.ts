import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { Pane } from "../window/pane";
import { PaneList } from "../window/pane-list";
import { RecordHead } from "../window/record";
import { Windows } from "../window/windows";
import { Capture, Step } from "./capture";
import { checksum } from "./checksum";
import { normalizeState, writeState } from "./field-state";
import { writeVarint } from "./varint";

/**
 * The windows of a query for checkpoints that are written while events go on (see capture.ts): a head, and records that
 * may come in any order. Numbers are little-endian; those without a type are varints.
 *
 *   head: version u32, checksum u64 of the rest
 *     isWhole u8
 *     fields, then each: families, name length, name
 *     the watermark that windows were fired under i64, the number for the next pane, slices, notes
 *     each slice, each note: its number as a pane (u32), start i64, passed u8
 *   record: length u32 of the rest
 *     number of the pane, key's length, canonical bytes, rows, emitted · 2 + dirty, a state for each field of the head;
 *     of a note no state
 */
export const PANE_HEAD_VERSION: u32 = 3;
export const PANE_HEAD_BYTES: u32 = 12;

/** Begins a capture; its head is in `windows.out`. */
export function beginCapture(windows: Windows, isWhole: bool): void {
  const capture = windows.capture;
  const plan = windows.plan;
  capture.begin(isWhole || capture.needsWhole != 0, plan.fieldCount);
  const out = windows.out;
  out.reset();
  out.u32(PANE_HEAD_VERSION);
  out.u64(0);
  out.u8(<u8>capture.isWhole);
  writeVarint(out, plan.fieldCount);
  for (let f: u32 = 0; f < plan.fieldCount; f++) {
    const field = plan.field(f);
    writeVarint(out, field.layout.families);
    writeVarint(out, field.name.length);
    out.append(field.name.pointer, field.name.length);
  }
  out.u64(windows.firedUs);
  writeVarint(out, windows.nextPane);
  writeVarint(out, windows.paneCount);
  writeVarint(out, windows.isSliding ? windows.sliding.notes.count : 0);
  writePanes(windows.panes, out);
  if (windows.isSliding) writePanes(windows.sliding.notes, out);
  store<u64>(out.data, checksum(out.data + PANE_HEAD_BYTES, out.length - PANE_HEAD_BYTES), 4);
}

function writePanes(panes: PaneList, out: ByteBuffer): void {
  for (let p: u32 = 0; p < panes.count; p++) {
    const pane = panes.at(p);
    out.u32(pane.id);
    out.u64(pane.start);
    out.u8(<u8>pane.isPassed);
  }
}

/** To be called before a record of a slice or of a note changes. */
@inline
export function touch(windows: Windows, pane: Pane, head: RecordHead): void {
  const capture = windows.capture;
  if (head.mark == capture.changed) return;
  if (capture.isDue(head.mark)) writeRecord(windows, pane, head);
  head.mark = capture.changed;
}

/** To be called before a pane is dropped. */
export function saveAll(windows: Windows, pane: Pane): void {
  if (!windows.capture.isOn) return;
  for (let i: u32 = 0; i < pane.count; i++) touch(windows, pane, pane.head(i));
}

function writeRecord(windows: Windows, pane: Pane, head: RecordHead): void {
  const capture = windows.capture;
  const dictionary = windows.keys.dictionary;
  const out = capture.beginRecord();
  writeVarint(out, pane.id);
  writeVarint(out, dictionary.length(head.key));
  out.append(dictionary.pointer(head.key), dictionary.length(head.key));
  writeVarint(out, head.rows);
  writeVarint(out, ((<u64>head.emitted) << 1) | head.isDirty);
  if (!pane.isNote) {
    for (let f: u32 = 0; f < capture.fieldCount; f++) {
      const layout = windows.plan.layout(f);
      normalizeState(layout, changetype<usize>(head));
      writeState(out, layout, changetype<usize>(head));
    }
  }
  capture.endRecord();
}

/** Goes on with the capture: see `Step`. */
export function nextPiece(windows: Windows): Step {
  const capture = windows.capture;
  if (!capture.isOn) return Step.Done;
  capture.tidy();
  const before = outsideBytes;
  let left = capture.hasPiece ? 0 : capture.lookRecords;
  if (left != 0) left = look(windows, windows.panes, left);
  if (left != 0 && windows.isSliding) left = look(windows, windows.sliding.notes, left);
  windows.extraBytes += outsideBytes - before;
  if (!capture.hasPiece && (left == 0 || !capture.finishPiece())) {
    return left == 0 ? Step.Looking : Step.Done;
  }
  capture.taken++;
  return Step.Piece;
}

/** Writes what is due, the panes that fire first before others. Returns how many more records may be looked at. */
function look(windows: Windows, panes: PaneList, left: u32): u32 {
  const capture = windows.capture;
  for (let p: u32 = 0; p < panes.count; p++) {
    const pane = panes.at(p);
    if (pane.lookedIn != capture.epoch) {
      pane.lookedIn = capture.epoch;
      pane.looked = 0;
    }
    while (pane.looked < pane.count) {
      if (left == 0 || capture.hasPiece) return 0;
      left--;
      const head = pane.head(pane.looked++);
      if (!capture.isDue(head.mark)) continue;
      writeRecord(windows, pane, head);
      head.mark = capture.clean;
    }
  }
  return capture.hasPiece ? 0 : left;
}
