import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { QueuedEvent, QUEUED_EVENT_BYTES, queuedEnd } from "../window/keyed/events";
import { addShown, createFragment, Fragment, headOf, recordOf, Shown } from "../window/keyed/fragment";
import { EARLY_DUE, fragmentAt, HELD, insertFragment, KeyedGroup, waitingOf } from "../window/keyed/group";
import { RowKind } from "../window/keyed/results";
import { Waiting } from "../window/keyed/waiting";
import { KeyedWindows } from "../window/keyed/windows";
import { checksum } from "./checksum";
import { mergeState, normalizeState, writeState } from "./field-state";
import { isBytesAfter, sortNumbers } from "./sort";
import { touchGroup } from "./keyed-capture";
import { readVarint, varintEnd, writeVarint } from "./varint";

/**
 * Keyed windows as bytes, for checkpoints. Equal states give equal bytes: keys stand in the order of their bytes, sums in
 * their canonical form. Numbers are little-endian; those without a type are varints.
 *
 *   version u32, checksum u64 of the rest
 *   fields, then each: families, name length, name
 *   latest clock forgotten i64, repeats; with early results, the watermark fired under last i64
 *   keys, then each: length, canonical bytes, clock i64; with early results, whether these are due u8
 *     windows, then each: first i64, last i64, late u8 + 2 · shown early only, rows, emitted · 2 + dirty,
 *       rows to retract, then each: start i64, end i64, revision (with early results, early only u8); a state for each field
 *     events that wait, then each: time i64, length, state for each field
 *   events to be shown, then each: key's length, canonical bytes, time i64, revision, kind, length, state for each field
 */
const SNAPSHOT_VERSION: u32 = 1;
const HEAD_BYTES: u32 = 12;

export function writeKeyedSnapshot(windows: KeyedWindows, out: ByteBuffer): void {
  out.reset();
  out.u32(SNAPSHOT_VERSION);
  out.u64(0);
  writeFields(windows, out);
  out.u64(windows.forgottenUs);
  writeVarint(out, windows.repeats);
  writeFired(windows, out);
  const keys = sortKeys(windows);
  writeVarint(out, windows.keys.live);
  for (let i: u32 = 0; i < windows.keys.live; i++) {
    const key = load<u32>(keys + (<usize>i << 2));
    const group = windows.group(key);
    writeKey(windows, key, out);
    writeGroupOf(windows, group, out);
  }
  heap.free(keys);
  writeQueued(windows, out);
  store<u64>(out.data, checksum(out.data + HEAD_BYTES, out.length - HEAD_BYTES), 4);
}

export function writeFields(windows: KeyedWindows, out: ByteBuffer): void {
  const plan = windows.plan;
  writeVarint(out, plan.fieldCount);
  for (let f: u32 = 0; f < plan.fieldCount; f++) {
    const name = plan.field(f).name;
    writeVarint(out, plan.layout(f).families);
    writeVarint(out, name.length);
    out.append(name.pointer, name.length);
  }
}

function writeKey(windows: KeyedWindows, key: u32, out: ByteBuffer): void {
  const dictionary = windows.keys.dictionary;
  writeVarint(out, dictionary.length(key));
  out.append(dictionary.pointer(key), dictionary.length(key));
}

/** Only where there are early results, and so too whatever tells of these below. */
export function writeFired(windows: KeyedWindows, out: ByteBuffer): void {
  if (windows.plan.earlyUs != 0) out.u64(windows.firedUs);
}

/** The address behind it. */
export function readFired(windows: KeyedWindows, at: usize): usize {
  if (windows.plan.earlyUs == 0) return at;
  windows.firedUs = load<i64>(at);
  windows.firingUs = windows.firedUs;
  return at + 8;
}

/** A key's clock, windows and waiting events. */
export function writeGroupOf(windows: KeyedWindows, group: KeyedGroup, out: ByteBuffer): void {
  out.u64(group.clockUs);
  if (windows.plan.earlyUs != 0) out.u8(group.flags & EARLY_DUE ? 1 : 0);
  writeVarint(out, group.count);
  for (let f: u32 = 0; f < group.count; f++) writeFragment(windows, fragmentAt(group, f), out);
  writeWaiting(group, out);
}

function writeFragment(windows: KeyedWindows, fragment: Fragment, out: ByteBuffer): void {
  const head = headOf(fragment);
  out.u64(fragment.firstUs);
  out.u64(fragment.lastUs);
  out.u8(fragment.isLate | (fragment.isEarly << 1));
  writeVarint(out, head.rows);
  writeVarint(out, (<u64>head.emitted << 1) | head.isDirty);
  let shownCount: u32 = 0;
  for (let at = fragment.shown; at != 0; at = changetype<Shown>(at).next) shownCount++;
  writeVarint(out, shownCount);
  for (let at = fragment.shown; at != 0; at = changetype<Shown>(at).next) {
    const shown = changetype<Shown>(at);
    out.u64(shown.startUs);
    out.u64(shown.endUs);
    writeVarint(out, shown.revision);
    if (windows.plan.earlyUs != 0) out.u8(<u8>shown.isEarly);
  }
  for (let f: u32 = 0; f < windows.plan.fieldCount; f++) {
    const layout = windows.plan.layout(f);
    normalizeState(layout, recordOf(fragment));
    writeState(out, layout, recordOf(fragment));
  }
}

export function writeWaiting(group: KeyedGroup, out: ByteBuffer): void {
  if (group.waiting == 0) {
    writeVarint(out, 0);
    return;
  }
  const waiting = waitingOf(group);
  writeVarint(out, waiting.end - waiting.head);
  for (let i = waiting.head; i < waiting.end; i++) {
    const event = waiting.event(i);
    out.u64(event.timeUs);
    writeVarint(out, event.length);
    out.append(waiting.state(event), event.length);
  }
}

export function writeQueued(windows: KeyedWindows, out: ByteBuffer): void {
  const queued = windows.queued;
  const end = queued.data + queued.length;
  let count: u32 = 0;
  for (let at = queued.data; at < end; at = queuedEnd(changetype<QueuedEvent>(at))) count++;
  writeVarint(out, count);
  for (let at = queued.data; at < end; at = queuedEnd(changetype<QueuedEvent>(at))) {
    const event = changetype<QueuedEvent>(at);
    writeKey(windows, event.key, out);
    out.u64(event.timeUs);
    writeVarint(out, event.revision);
    writeVarint(out, event.kind);
    writeVarint(out, event.stateLength);
    out.append(at + QUEUED_EVENT_BYTES, event.stateLength);
  }
}

/** The numbers of the keys in use (u32; the caller frees them) in the order of their bytes. */
function sortKeys(windows: KeyedWindows): usize {
  const keys = heap.alloc((<usize>windows.keys.live << 2) + 1);
  let count: u32 = 0;
  for (let key: u32 = 0; key < windows.groupCount; key++) {
    if (!(windows.group(key).flags & HELD)) continue;
    store<u32>(keys + (<usize>count << 2), key);
    count++;
  }
  sortNumbers(keys, count, changetype<usize>(windows.keys.dictionary), (context, a, b) => {
    const dictionary = changetype<Dictionary>(context);
    return isBytesAfter(dictionary.pointer(a), dictionary.length(a), dictionary.pointer(b), dictionary.length(b));
  });
  return keys;
}

/**
 * Puts the snapshot in `windows.input` in the place of the state. Returns false, with the state as it was, when it is of
 * another version, damaged, or of a query that keeps other things.
 */
export function readKeyedSnapshot(windows: KeyedWindows): bool {
  const length = windows.input.length;
  const data = windows.input.data;
  if (length < HEAD_BYTES || load<u32>(data) != SNAPSHOT_VERSION) return false;
  if (load<u64>(data, 4) != checksum(data + HEAD_BYTES, length - HEAD_BYTES)) return false;
  let at = skipKnownFields(windows, data + HEAD_BYTES);
  if (at == 0) return false;
  windows.clear();
  const before = outsideBytes;
  windows.forgottenUs = load<i64>(at);
  windows.repeats = <u32>readVarint(at + 8);
  at = readFired(windows, varintEnd);
  const keys = <u32>readVarint(at);
  at = varintEnd;
  for (let k: u32 = 0; k < keys; k++) at = readGroup(windows, at);
  readQueued(windows, at);
  windows.reschedule();
  // The snapshot may stand between a merge and what it lets fire.
  if (windows.settings.hasClocks) windows.touchAll();
  windows.noteAllOutgrown();
  windows.extraBytes = outsideBytes - before;
  return true;
}

/** The address behind the fields, or 0 when they are not those of the plan. */
export function skipKnownFields(windows: KeyedWindows, at: usize): usize {
  const plan = windows.plan;
  if (<u32>readVarint(at) != plan.fieldCount) return 0;
  at = varintEnd;
  for (let f: u32 = 0; f < plan.fieldCount; f++) {
    const families = <u32>readVarint(at);
    const length = <u32>readVarint(varintEnd);
    if (families != plan.layout(f).families || !plan.field(f).name.equals(varintEnd, length)) return 0;
    at = varintEnd + length;
  }
  return at;
}

function readGroup(windows: KeyedWindows, at: usize): usize {
  const length = <u32>readVarint(at);
  const key = windows.keys.intern(varintEnd, length);
  return readGroupOf(windows, key, varintEnd + length);
}

/** Takes in a key's clock, windows and waiting events; it has none yet. */
export function readGroupOf(windows: KeyedWindows, key: u32, at: usize): usize {
  const group = windows.groupOf(key);
  touchGroup(windows, group, key);
  group.clockUs = load<i64>(at);
  at += 8;
  if (windows.plan.earlyUs != 0) {
    group.flags = (group.flags & ~EARLY_DUE) | (load<u8>(at) ? EARLY_DUE : 0);
    at++;
  }
  const fragments = <u32>readVarint(at);
  at = varintEnd;
  for (let f: u32 = 0; f < fragments; f++) at = readFragment(windows, group, key, at);
  windows.fragmentCount += fragments;
  const events = <u32>readVarint(at);
  at = varintEnd;
  if (events == 0) return at;
  const waiting = Waiting.create();
  group.waiting = changetype<usize>(waiting);
  for (let e: u32 = 0; e < events; e++) {
    const timeUs = load<i64>(at);
    const stateLength = <u32>readVarint(at + 8);
    waiting.push(timeUs, varintEnd, stateLength);
    at = varintEnd + stateLength;
  }
  waiting.account();
  return at;
}

function readFragment(windows: KeyedWindows, group: KeyedGroup, key: u32, at: usize): usize {
  const plan = windows.plan;
  const fragment = createFragment(plan, load<i64>(at), load<i64>(at, 8), key);
  insertFragment(group, group.count, fragment);
  fragment.isLate = load<u8>(at, 16) & 1;
  fragment.isEarly = load<u8>(at, 16) >> 1;
  const head = headOf(fragment);
  head.rows = readVarint(at + 17);
  const emitted = readVarint(varintEnd);
  head.emitted = <u32>(emitted >> 1);
  head.isDirty = <u32>(emitted & 1);
  const shown = <u32>readVarint(varintEnd);
  at = varintEnd;
  for (let s: u32 = 0; s < shown; s++) {
    const revision = <u32>readVarint(at + 16);
    const startUs = load<i64>(at);
    const endUs = load<i64>(at, 8);
    at = varintEnd;
    addShown(fragment, startUs, endUs, revision, windows.plan.earlyUs != 0 ? load<u8>(at++) : 0);
  }
  for (let f: u32 = 0; f < plan.fieldCount; f++) at = mergeState(plan.layout(f), recordOf(fragment), at);
  return at;
}

export function readQueued(windows: KeyedWindows, at: usize): void {
  const queued = windows.queued;
  const count = <u32>readVarint(at);
  at = varintEnd;
  for (let i: u32 = 0; i < count; i++) {
    const length = <u32>readVarint(at);
    const key = windows.keys.intern(varintEnd, length);
    windows.groupOf(key);
    at = varintEnd + length;
    const timeUs = load<i64>(at);
    const revision = <u32>readVarint(at + 8);
    const kind = <RowKind>readVarint(varintEnd);
    const stateLength = <u32>readVarint(varintEnd);
    const eventAt = queued.length;
    queued.reserve(QUEUED_EVENT_BYTES);
    queued.length += QUEUED_EVENT_BYTES;
    queued.append(varintEnd, stateLength);
    const event = changetype<QueuedEvent>(queued.data + eventAt);
    event.timeUs = timeUs;
    event.key = key;
    event.revision = revision;
    event.kind = kind;
    event.stateLength = stateLength;
    at = varintEnd + stateLength;
  }
}
