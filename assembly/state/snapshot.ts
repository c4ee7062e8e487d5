import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { UNCOVERED } from "../window/calendar";
import { Pane } from "../window/pane";
import { PaneList } from "../window/pane-list";
import { RecordHead } from "../window/record";
import { Windows } from "../window/windows";
import { checksum } from "./checksum";
import { mergeState, normalizeState, writeState } from "./field-state";
import { touch } from "./pane-capture";
import { isBytesAfter, sortNumbers } from "./sort";
import { readVarint, varintEnd, writeVarint } from "./varint";

/**
 * The windows of a query as bytes, for checkpoints. Equal states give equal bytes: fields and keys stand in the order of
 * their bytes, sums in their canonical form. Numbers are little-endian; those without a type are varints.
 *
 *   version u32, checksum u64 of the rest
 *   fields, then each: families, name length, name
 *   keys, then each: length, canonical bytes
 *   slices, notes (see window/sliding.ts)
 *   the watermark that windows were fired under i64, the start i64 of each slice, of each note's window
 *   each slice: passed u8, groups, then each:
 *     key (as the difference of its number to the group's before), rows, emitted · 2 + dirty, a state for each field
 *   each note: keys, then each: key (as above), emitted · 2 + dirty
 *
 * Slices and windows are named by where they start: under a later time zone database, where another may begin, they become
 * part of the one that holds that moment.
 */
export const SNAPSHOT_VERSION: u32 = 2;
const HEAD_BYTES: u32 = 12;

export function writeSnapshot(windows: Windows, out: ByteBuffer): void {
  out.reset();
  out.u32(SNAPSHOT_VERSION);
  out.u64(0);
  const fields = sortFields(windows);
  const keyCount = windows.keys.live;
  const keys = sortKeys(windows);
  writeFields(windows, fields, out);
  writeKeys(windows, keys, out);
  // The inverse: a key's place in the order, by its number.
  const ranks = heap.alloc((<usize>windows.keys.dictionary.count << 2) + 1);
  for (let i: u32 = 0; i < keyCount; i++) store<u32>(ranks + (<usize>load<u32>(keys + (i << 2)) << 2), i);
  const members = heap.alloc((<usize>keyCount << 2) + 1);
  const notes = windows.isSliding ? windows.sliding.notes : changetype<PaneList>(0);
  const noteCount: u32 = windows.isSliding ? notes.count : 0;
  writeVarint(out, windows.paneCount);
  writeVarint(out, noteCount);
  out.u64(windows.firedUs);
  for (let p: u32 = 0; p < windows.paneCount; p++) out.u64(windows.pane(p).start);
  for (let n: u32 = 0; n < noteCount; n++) out.u64(notes.at(n).start);
  for (let p: u32 = 0; p < windows.paneCount; p++) {
    const pane = windows.pane(p);
    orderMembers(pane, ranks, members, keyCount);
    out.u8(<u8>pane.isPassed);
    writeVarint(out, pane.count);
    writeGroups(windows, pane, fields, members, keyCount, out);
  }
  for (let n: u32 = 0; n < noteCount; n++) {
    const note = notes.at(n);
    orderMembers(note, ranks, members, keyCount);
    writeVarint(out, note.count);
    writeNotes(note, members, keyCount, out);
  }
  heap.free(members);
  heap.free(ranks);
  heap.free(keys);
  heap.free(fields);
  store<u64>(out.data, checksum(out.data + HEAD_BYTES, out.length - HEAD_BYTES), 4);
}

/** Record numbers + 1 by the rank of their key; 0 where the pane has no record of it. */
function orderMembers(pane: Pane, ranks: usize, members: usize, keyCount: u32): void {
  memory.fill(members, 0, <usize>keyCount << 2);
  for (let i: u32 = 0; i < pane.count; i++) {
    store<u32>(members + (<usize>load<u32>(ranks + (<usize>pane.head(i).key << 2)) << 2), i + 1);
  }
}

function writeNotes(note: Pane, members: usize, keyCount: u32, out: ByteBuffer): void {
  let previous: u32 = 0;
  for (let rank: u32 = 0; rank < keyCount; rank++) {
    const member = load<u32>(members + (<usize>rank << 2));
    if (member == 0) continue;
    const head = note.head(member - 1);
    writeVarint(out, rank - previous);
    previous = rank;
    writeVarint(out, ((<u64>head.emitted) << 1) | head.isDirty);
  }
}

function writeGroups(windows: Windows, pane: Pane, fields: usize, members: usize, keyCount: u32, out: ByteBuffer): void {
  let previous: u32 = 0;
  for (let rank: u32 = 0; rank < keyCount; rank++) {
    const member = load<u32>(members + (<usize>rank << 2));
    if (member == 0) continue;
    const head = pane.head(member - 1);
    writeVarint(out, rank - previous);
    previous = rank;
    writeVarint(out, head.rows);
    writeVarint(out, ((<u64>head.emitted) << 1) | head.isDirty);
    for (let f: u32 = 0; f < windows.plan.fieldCount; f++) {
      const layout = windows.plan.layout(load<u32>(fields + (f << 2)));
      normalizeState(layout, changetype<usize>(head));
      writeState(out, layout, changetype<usize>(head));
    }
  }
}

function writeFields(windows: Windows, fields: usize, out: ByteBuffer): void {
  writeVarint(out, windows.plan.fieldCount);
  for (let f: u32 = 0; f < windows.plan.fieldCount; f++) {
    const field = windows.plan.field(load<u32>(fields + (f << 2)));
    writeVarint(out, field.layout.families);
    writeVarint(out, field.name.length);
    out.append(field.name.pointer, field.name.length);
  }
}

function writeKeys(windows: Windows, keys: usize, out: ByteBuffer): void {
  const count = windows.keys.live;
  const dictionary = windows.keys.dictionary;
  writeVarint(out, count);
  for (let i: u32 = 0; i < count; i++) {
    const key = load<u32>(keys + (i << 2));
    writeVarint(out, dictionary.length(key));
    out.append(dictionary.pointer(key), dictionary.length(key));
  }
}

/** The plan's field numbers (u32; the caller frees them) in the order of their names. */
export function sortFields(windows: Windows): usize {
  const count = windows.plan.fieldCount;
  const fields = heap.alloc((<usize>count << 2) + 1);
  for (let f: u32 = 0; f < count; f++) store<u32>(fields + (f << 2), f);
  sortNumbers(fields, count, changetype<usize>(windows), (context, a, b) => {
    const plan = changetype<Windows>(context).plan;
    return plan.field(a).name.compare(plan.field(b).name) > 0;
  });
  return fields;
}

/** The numbers of the keys in use (u32; the caller frees them) in the order of their bytes. */
function sortKeys(windows: Windows): usize {
  const table = windows.keys;
  const keys = heap.alloc((<usize>table.live << 2) + 1);
  let count: u32 = 0;
  for (let key: u32 = 0; key < table.dictionary.count; key++) {
    if (table.isLive(key)) store<u32>(keys + (count++ << 2), key);
  }
  sortNumbers(keys, count, changetype<usize>(table.dictionary), (context, a, b) => {
    const dictionary = changetype<Dictionary>(context);
    return isBytesAfter(dictionary.pointer(a), dictionary.length(a), dictionary.pointer(b), dictionary.length(b));
  });
  return keys;
}

/**
 * Puts the snapshot in `windows.input` in the place of the state. Returns false, with the state as it was, when it is of
 * another version, damaged, or of a query that keeps other things.
 */
export function readSnapshot(windows: Windows): bool {
  const data = windows.input.data;
  if (!isReadable(windows)) return false;
  if (!hasKnownFields(windows, data + HEAD_BYTES)) return false;
  windows.clear();
  const before = outsideBytes;
  const fields = ByteBuffer.create(64);
  let at = readFields(windows, data + HEAD_BYTES, fields);
  const keys = ByteBuffer.create(4096);
  at = readKeys(windows, at, keys);
  const axis = windows.plan.axis;
  const panes = <u32>readVarint(at);
  const notes = <u32>readVarint(varintEnd);
  windows.firedUs = load<i64>(varintEnd);
  const starts = varintEnd + 8;
  at = starts + (<usize>(panes + notes) << 3);
  for (let p: u32 = 0; p < panes; p++) {
    const pane = windows.paneAt(axis.sliceOf(load<i64>(starts + (<usize>p << 3))), i64.MIN_VALUE);
    pane.isPassed = load<u8>(at);
    at = readGroups(windows, pane, at + 1, fields, keys);
  }
  for (let n: u32 = 0; n < notes; n++) {
    const start = load<i64>(starts + (<usize>(panes + n) << 3));
    at = readNotes(windows, windows.sliding.noteOf(axis.lastWindow(axis.sliceOf(start))), at, keys);
  }
  fields.dispose();
  keys.dispose();
  windows.extraBytes = outsideBytes - before;
  return true;
}

/** Whether the input is an undamaged snapshot of this version. */
function isReadable(windows: Windows): bool {
  const length = windows.input.length;
  const data = windows.input.data;
  if (length < HEAD_BYTES || load<u32>(data) != SNAPSHOT_VERSION) return false;
  return load<u64>(data, 4) == checksum(data + HEAD_BYTES, length - HEAD_BYTES);
}

/** A wildcard takes any field; else all must be there, and keep the same. */
function hasKnownFields(windows: Windows, at: usize): bool {
  const plan = windows.plan;
  const count = <u32>readVarint(at);
  at = varintEnd;
  for (let f: u32 = 0; f < count; f++) {
    const families = <u32>readVarint(at);
    const length = <u32>readVarint(varintEnd);
    const known = plan.fieldIndex(varintEnd, length);
    if (known < 0 ? !plan.isWildcard : plan.layout(known).families != families) return false;
    at = varintEnd + length;
  }
  return plan.isWildcard != 0 || count == plan.fieldCount;
}

function readFields(windows: Windows, at: usize, fields: ByteBuffer): usize {
  const count = <u32>readVarint(at);
  at = varintEnd;
  for (let f: u32 = 0; f < count; f++) {
    const families = <u32>readVarint(at);
    const length = <u32>readVarint(varintEnd);
    const name = varintEnd;
    fields.u32(windows.adoptField(name, length, families));
    at = name + length;
  }
  return at;
}

function readKeys(windows: Windows, at: usize, keys: ByteBuffer): usize {
  const count = <u32>readVarint(at);
  at = varintEnd;
  for (let i: u32 = 0; i < count; i++) {
    const length = <u32>readVarint(at);
    keys.u32(windows.keys.intern(varintEnd, length));
    at = varintEnd + length;
  }
  return at;
}

/** Takes in how many results a group has given and whether it waits to give another; returns 1 when it newly waits. */
function readEmitted(head: RecordHead, at: usize): u32 {
  const emitted = readVarint(at);
  const wasDirty = head.isDirty;
  head.emitted = max(head.emitted, <u32>(emitted >> 1));
  head.isDirty |= <u32>(emitted & 1);
  return head.isDirty - wasDirty;
}

function readNotes(windows: Windows, note: Pane, at: usize, keys: ByteBuffer): usize {
  const count = <u32>readVarint(at);
  at = varintEnd;
  let rank: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    rank += <u32>readVarint(at);
    const key = load<u32>(keys.data + (rank << 2));
    const head = note.head(windows.sliding.noteHead(note, key));
    touch(windows, note, head);
    note.dirty += readEmitted(head, varintEnd);
    at = varintEnd;
  }
  return at;
}

/** The start of a slice or window in the snapshot in `windows.input` that the calendar does not cover, or `UNCOVERED`. */
export function missingInSnapshot(windows: Windows, isFirst: bool): i64 {
  if (isFirst) beginSearch(windows);
  for (; windows.searchLeft > 0; windows.searchLeft--, windows.searchAt += 8) {
    const start = load<i64>(windows.searchAt);
    if (!windows.plan.axis.calendar.covers(start)) return start;
  }
  return UNCOVERED;
}

function beginSearch(windows: Windows): void {
  windows.searchLeft = 0;
  if (!windows.plan.axis.isCalendar || !isReadable(windows)) return;
  let at = windows.input.data + HEAD_BYTES;
  const fields = <u32>readVarint(at);
  at = varintEnd;
  for (let f: u32 = 0; f < fields; f++) {
    readVarint(at);
    const length = <u32>readVarint(varintEnd);
    at = varintEnd + length;
  }
  const keys = <u32>readVarint(at);
  at = varintEnd;
  for (let k: u32 = 0; k < keys; k++) {
    const length = <u32>readVarint(at);
    at = varintEnd + length;
  }
  const slices = <u32>readVarint(at);
  const notes = <u32>readVarint(varintEnd);
  windows.searchAt = varintEnd + 8;
  windows.searchLeft = slices + notes;
}

function readGroups(windows: Windows, pane: Pane, at: usize, fields: ByteBuffer, keys: ByteBuffer): usize {
  const groups = <u32>readVarint(at);
  at = varintEnd;
  let rank: u32 = 0;
  for (let g: u32 = 0; g < groups; g++) {
    rank += <u32>readVarint(at);
    const key = load<u32>(keys.data + (rank << 2));
    const before = pane.count;
    const head = pane.head(pane.recordOf(key, windows.plan));
    touch(windows, pane, head);
    if (pane.count != before) {
      windows.keys.retain(key);
      windows.groupCount++;
    }
    head.rows += readVarint(varintEnd);
    pane.dirty += readEmitted(head, varintEnd);
    at = varintEnd;
    for (let f: u32 = 0; f < fields.length >> 2; f++) {
      at = mergeState(windows.plan.layout(load<u32>(fields.data + (f << 2))), changetype<usize>(head), at);
    }
  }
  return at;
}
