import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { UNCOVERED } from "../window/calendar";
import { mergeRecord } from "../window/cover";
import { NO_RECORD, Pane } from "../window/pane";
import { Windows } from "../window/windows";
import { checksum } from "./checksum";
import { mergeState } from "./field-state";
import { PANE_HEAD_BYTES, PANE_HEAD_VERSION, touch } from "./pane-capture";
import { readVarint, varintEnd } from "./varint";

/**
 * Puts captures (see pane-capture.ts) in the place of the state: `beginAdopting` with the head of the newest; then, from the
 * oldest on, `adoptHead` with each one's head and `adoptRecords` with its pieces; then `endAdopting`. A record takes the
 * place of an earlier one of its pane and key. Records of panes that the newest does not have are left out.
 */

@unmanaged
export class Adoption {
  /** The panes of the captures by their number, from `firstPane` on: addresses, 0 where there is none. */
  panes: ByteBuffer;
  firstPane: u32;
  /** Panes whose slice another one stands for: the time zone database has changed. Addresses. */
  apart: ByteBuffer;
  /** The plan's field by that of the head at hand: u32. */
  fields: ByteBuffer;

  static create(): Adoption {
    const self = changetype<Adoption>(heap.alloc(offsetof<Adoption>()));
    self.panes = ByteBuffer.create(64);
    self.firstPane = 0;
    self.apart = ByteBuffer.create(16);
    self.fields = ByteBuffer.create(64);
    return self;
  }

  dispose(): void {
    this.panes.dispose();
    this.apart.dispose();
    this.fields.dispose();
    heap.free(changetype<usize>(this));
  }
}

/** Whether the input is an undamaged head of a capture of a query that keeps the same. */
function isKnownHead(windows: Windows): bool {
  const length = windows.input.length;
  const data = windows.input.data;
  if (length < PANE_HEAD_BYTES || load<u32>(data) != PANE_HEAD_VERSION) return false;
  if (load<u64>(data, 4) != checksum(data + PANE_HEAD_BYTES, length - PANE_HEAD_BYTES)) return false;
  const plan = windows.plan;
  let at = data + PANE_HEAD_BYTES + 1;
  const count = <u32>readVarint(at);
  at = varintEnd;
  for (let f: u32 = 0; f < count; f++) {
    const families = <u32>readVarint(at);
    const name = <u32>readVarint(varintEnd);
    const known = plan.fieldIndex(varintEnd, name);
    if (known < 0 ? !plan.isWildcard : plan.layout(known).families != families) return false;
    at = varintEnd + name;
  }
  return plan.isWildcard != 0 || count == plan.fieldCount;
}

/** Whether the head in the input is of a whole capture; only of a known head. */
export function isWholeHead(windows: Windows): bool {
  return windows.input.length > PANE_HEAD_BYTES && load<u8>(windows.input.data, PANE_HEAD_BYTES) != 0;
}

/** Reads the fields of the head in the input; returns the address behind. */
function readFields(windows: Windows): usize {
  const fields = windows.adopting.fields;
  let at = windows.input.data + PANE_HEAD_BYTES + 1;
  const count = <u32>readVarint(at);
  at = varintEnd;
  fields.reset();
  for (let f: u32 = 0; f < count; f++) {
    const families = <u32>readVarint(at);
    const length = <u32>readVarint(varintEnd);
    const name = varintEnd;
    fields.u32(windows.adoptField(name, length, families));
    at = name + length;
  }
  return at;
}

/** A time in the head in the input that the calendar must cover before `beginAdopting`, or `UNCOVERED`. */
export function missingInHead(windows: Windows, isFirst: bool): i64 {
  if (isFirst) beginSearch(windows);
  for (; windows.searchLeft > 0; windows.searchLeft--, windows.searchAt += PANE_ENTRY_BYTES) {
    const start = load<i64>(windows.searchAt, 4);
    if (!windows.plan.axis.calendar.covers(start)) return start;
  }
  return UNCOVERED;
}

function beginSearch(windows: Windows): void {
  windows.searchLeft = 0;
  if (!windows.plan.axis.isCalendar || !isKnownHead(windows)) return;
  let at = windows.input.data + PANE_HEAD_BYTES + 1;
  const names = <u32>readVarint(at);
  at = varintEnd;
  for (let f: u32 = 0; f < names; f++) {
    readVarint(at);
    const length = <u32>readVarint(varintEnd);
    at = varintEnd + length;
  }
  readVarint(at + 8);
  const slices = <u32>readVarint(varintEnd);
  const notes = <u32>readVarint(varintEnd);
  windows.searchAt = varintEnd;
  windows.searchLeft = slices + notes;
}

/** Number u32, start i64, passed u8. */
const PANE_ENTRY_BYTES: u32 = 13;

/** False, with the state as it was, when the head in the input is of another version, damaged or of another query. */
export function beginAdopting(windows: Windows): bool {
  if (!isKnownHead(windows)) return false;
  windows.clear();
  abandon(windows);
  windows.adopting = Adoption.create();
  let at = readFields(windows);
  windows.firedUs = load<i64>(at);
  windows.nextPane = <u32>readVarint(at + 8);
  const slices = <u32>readVarint(varintEnd);
  const notes = <u32>readVarint(varintEnd);
  at = varintEnd;
  const end = at + <usize>(slices + notes) * PANE_ENTRY_BYTES;
  const panes = windows.adopting.panes;
  let firstPane = windows.nextPane;
  for (let from = at; from < end; from += PANE_ENTRY_BYTES) firstPane = min(firstPane, load<u32>(from));
  const room = (windows.nextPane - firstPane) << 2;
  memory.fill(panes.reserve(room), 0, room);
  panes.length = room;
  windows.adopting.firstPane = firstPane;
  const next = windows.nextPane;
  for (let p: u32 = 0; p < slices + notes; p++, at += PANE_ENTRY_BYTES) {
    const pane = p < slices ? sliceFor(windows, load<i64>(at, 4)) : noteFor(windows, load<i64>(at, 4));
    pane.id = load<u32>(at);
    pane.isPassed = load<u8>(at, 12);
    store<Pane>(panes.data + ((pane.id - firstPane) << 2), pane);
  }
  windows.nextPane = next;
  return true;
}

function sliceFor(windows: Windows, start: i64): Pane {
  const axis = windows.plan.axis;
  const slice = axis.sliceOf(start);
  const known = windows.panes.find(slice);
  if (changetype<usize>(known) == 0) return windows.paneAt(slice, i64.MIN_VALUE);
  const pane = Pane.create(slice, known.start, known.end, windows.plan.stride);
  windows.adopting.apart.u32(<u32>changetype<usize>(pane));
  return pane;
}

function noteFor(windows: Windows, start: i64): Pane {
  const axis = windows.plan.axis;
  return windows.sliding.noteOf(axis.lastWindow(axis.sliceOf(start)));
}

/** Begins the records of a capture. False when its head in the input is damaged or of another query. */
export function adoptHead(windows: Windows): bool {
  if (!isKnownHead(windows) || changetype<usize>(windows.adopting) == 0) return false;
  readFields(windows);
  return true;
}

/** Takes the records in the input in; false when they are no records. */
export function adoptRecords(windows: Windows): bool {
  const adopting = windows.adopting;
  if (changetype<usize>(adopting) == 0) return false;
  const before = outsideBytes;
  const panes = adopting.panes;
  const firstPane = adopting.firstPane;
  let at = windows.input.data;
  const end = at + windows.input.length;
  while (at < end) {
    const next = at + 4 + load<u32>(at);
    if (next > end) return false;
    const id = <u32>readVarint(at + 4);
    const place = id - firstPane;
    if (id >= firstPane && place < panes.length >> 2) {
      const pane = load<Pane>(panes.data + (<usize>place << 2));
      if (changetype<usize>(pane) != 0) adoptRecord(windows, pane, varintEnd);
    }
    at = next;
  }
  windows.extraBytes += outsideBytes - before;
  return true;
}

function adoptRecord(windows: Windows, pane: Pane, at: usize): void {
  const plan = windows.plan;
  const length = <u32>readVarint(at);
  const key = windows.keys.intern(varintEnd, length);
  at = varintEnd + length;
  const before = pane.count;
  const index = pane.isNote ? windows.sliding.noteHead(pane, key) : pane.recordOf(key, plan);
  const head = pane.head(index);
  touch(windows, pane, head);
  pane.dirty -= head.isDirty;
  head.rows = readVarint(at);
  const emitted = readVarint(varintEnd);
  at = varintEnd;
  head.emitted = <u32>(emitted >> 1);
  head.isDirty = <u32>(emitted & 1);
  pane.dirty += head.isDirty;
  if (pane.isNote) return;
  if (pane.count != before) {
    windows.keys.retain(key);
    windows.groupCount++;
  } else {
    for (let f: u32 = 0; f < plan.fieldCount; f++) {
      plan.layout(f).release(changetype<usize>(head));
      plan.layout(f).clear(changetype<usize>(head));
    }
  }
  const fields = windows.adopting.fields;
  for (let f: u32 = 0; f < fields.length >> 2; f++) {
    at = mergeState(plan.layout(load<u32>(fields.data + (f << 2))), changetype<usize>(head), at);
  }
}

/** All records are there. */
export function endAdopting(windows: Windows): void {
  const before = outsideBytes;
  const apart = windows.adopting.apart;
  for (let i: u32 = 0; i < apart.length >> 2; i++) {
    const pane = load<Pane>(apart.data + (i << 2));
    join(windows, windows.panes.find(pane.number), pane);
  }
  windows.extraBytes += outsideBytes - before;
  apart.reset();
  abandon(windows);
}

/** Gives back what adopting takes; one that was broken off too. */
export function abandon(windows: Windows): void {
  const adopting = windows.adopting;
  if (changetype<usize>(adopting) == 0) return;
  for (let i: u32 = 0; i < adopting.apart.length >> 2; i++) {
    load<Pane>(adopting.apart.data + (i << 2)).dispose(windows.plan);
  }
  adopting.dispose();
  windows.adopting = changetype<Adoption>(0);
}

/** Makes a pane that stood apart part of the one that holds its time now. */
function join(windows: Windows, into: Pane, from: Pane): void {
  const plan = windows.plan;
  for (let i: u32 = 0; i < from.count; i++) {
    const added = from.head(i);
    const known = into.find(added.key);
    const head = into.head(into.recordOf(added.key, plan));
    touch(windows, into, head);
    mergeRecord(plan, changetype<usize>(head), changetype<usize>(added));
    head.emitted = max(head.emitted, added.emitted);
    if (added.isDirty && !head.isDirty) {
      head.isDirty = 1;
      into.dirty++;
    }
    if (known == NO_RECORD) continue;
    windows.keys.release(added.key);
    windows.groupCount--;
  }
  from.dispose(plan);
}
