import { outsideBytes } from "../aggregate/memory";
import { NOT_INTERNED } from "../memory/dictionary";
import { disposeFragment } from "../window/keyed/fragment";
import { fragmentAt, freeFragments, HELD, KeyedGroup, waitingOf } from "../window/keyed/group";
import { KeyedWindows } from "../window/keyed/windows";
import { Step, writeGone } from "./capture";
import { checksum } from "./checksum";
import {
  readFired,
  readGroupOf,
  readQueued,
  skipKnownFields,
  writeFields,
  writeFired,
  writeGroupOf,
  writeQueued,
} from "./keyed-snapshot";
import { readVarint, varintEnd, writeVarint } from "./varint";

/**
 * Keyed windows for checkpoints that are written while events go on (see capture.ts): a head, and a record for each key,
 * in any order. Numbers are little-endian; those without a type are varints.
 *
 *   head: version u32, checksum u64 of the rest
 *     isWhole u8
 *     fields, then each: families, name length, name
 *     latest clock forgotten i64, repeats, watermark fired under last, events to be shown (see keyed-snapshot.ts)
 *   record: length u32 of the rest
 *     key's length u32, canonical bytes; nothing more where the key is gone, else
 *     clock i64, windows, events that wait (see keyed-snapshot.ts)
 */
const HEAD_VERSION: u32 = 2;
const HEAD_BYTES: u32 = 12;

/** Begins a capture; its head is in `windows.out`. */
export function beginKeyedCapture(windows: KeyedWindows, isWhole: bool): void {
  const capture = windows.capture;
  capture.begin(isWhole || capture.needsWhole != 0, windows.plan.fieldCount);
  const out = windows.out;
  out.reset();
  out.u32(HEAD_VERSION);
  out.u64(0);
  out.u8(<u8>capture.isWhole);
  writeFields(windows, out);
  out.u64(windows.forgottenUs);
  writeVarint(out, windows.repeats);
  writeFired(windows, out);
  writeQueued(windows, out);
  store<u64>(out.data, checksum(out.data + HEAD_BYTES, out.length - HEAD_BYTES), 4);
}

/** To be called before a group changes. */
@inline
export function touchGroup(windows: KeyedWindows, group: KeyedGroup, key: u32): void {
  const capture = windows.capture;
  if (group.mark == capture.changed) return;
  if (capture.isDue(group.mark)) writeGroup(windows, group, key);
  group.mark = capture.changed;
}

function writeGroup(windows: KeyedWindows, group: KeyedGroup, key: u32): void {
  const capture = windows.capture;
  const dictionary = windows.keys.dictionary;
  const isHeld = (group.flags & HELD) != 0;
  if (!isHeld && capture.isWhole) return;
  const out = capture.beginRecord();
  out.u32(dictionary.length(key));
  out.append(dictionary.pointer(key), dictionary.length(key));
  if (isHeld) {
    writeGroupOf(windows, group, out);
  }
  capture.endRecord();
}

/** Goes on with the capture: see `Step`. */
export function nextKeyedPiece(windows: KeyedWindows): Step {
  const capture = windows.capture;
  if (!capture.isOn) return Step.Done;
  capture.tidy();
  const before = outsideBytes;
  const end = min(windows.groupCount, capture.cursor + capture.lookRecords);
  while (capture.cursor < end && !capture.hasPiece) {
    const key = capture.cursor++;
    const group = windows.group(key);
    if (!capture.isDue(group.mark)) continue;
    writeGroup(windows, group, key);
    group.mark = capture.clean;
  }
  windows.extraBytes += outsideBytes - before;
  if (!capture.hasPiece) {
    if (capture.cursor < windows.groupCount) return Step.Looking;
    if (!capture.finishPiece()) return Step.Done;
  }
  capture.taken++;
  return Step.Piece;
}

/** Keys that are not in use lose their numbers: those that the last capture may have are to be told as gone. */
export function noteLost(windows: KeyedWindows): void {
  const dictionary = windows.keys.dictionary;
  for (let key: u32 = 0; key < windows.groupCount; key++) {
    const group = windows.group(key);
    if (group.flags & HELD || group.mark != windows.capture.changed) continue;
    windows.capture.noteGone(dictionary.pointer(key), dictionary.length(key));
  }
}

/** Whether the head in the input is of a whole capture; only of a known head. */
export function isWholeKeyedHead(windows: KeyedWindows): bool {
  return windows.input.length > HEAD_BYTES && load<u8>(windows.input.data, HEAD_BYTES) != 0;
}

/** The address behind the fields of the head in the input, or 0 when it is damaged or of another query. */
function readHead(windows: KeyedWindows): usize {
  const length = windows.input.length;
  const data = windows.input.data;
  if (length < HEAD_BYTES || load<u32>(data) != HEAD_VERSION) return 0;
  if (load<u64>(data, 4) != checksum(data + HEAD_BYTES, length - HEAD_BYTES)) return 0;
  return skipKnownFields(windows, data + HEAD_BYTES + 1);
}

/**
 * Begins to put captures in the place of the state, with the head of the newest: as `beginAdopting` of pane-adopt.ts.
 * False, with the state as it was, when that is of another version, damaged or of another query.
 */
export function beginKeyedAdopting(windows: KeyedWindows): bool {
  const at = readHead(windows);
  if (at == 0) return false;
  windows.clear();
  // Not before the records: groups without one begin with it.
  windows.forgottenUs = load<i64>(at);
  windows.repeats = <u32>readVarint(at + 8);
  readQueued(windows, readFired(windows, varintEnd));
  return true;
}

/** Begins the records of a capture. False when its head in the input is damaged or of another query. */
export function adoptKeyedHead(windows: KeyedWindows): bool {
  return readHead(windows) != 0;
}

/** Takes the records in the input in; false when they are no records. */
export function adoptKeyedRecords(windows: KeyedWindows): bool {
  const before = outsideBytes;
  let at = windows.input.data;
  const end = at + windows.input.length;
  while (at < end) {
    const next = at + 4 + load<u32>(at);
    if (next > end) return false;
    const length = load<u32>(at, 4);
    adoptGroup(windows, at + 8, length, next);
    at = next;
  }
  windows.extraBytes += outsideBytes - before;
  return true;
}

function adoptGroup(windows: KeyedWindows, name: usize, length: u32, end: usize): void {
  const isGone = name + length == end;
  if (isGone && windows.keys.dictionary.find(name, length) == NOT_INTERNED) return;
  const key = windows.keys.intern(name, length);
  const group = windows.groupOf(key);
  touchGroup(windows, group, key);
  for (let i: u32 = 0; i < group.count; i++) disposeFragment(windows.plan, fragmentAt(group, i));
  windows.fragmentCount -= group.count;
  freeFragments(group);
  group.count = 0;
  if (group.waiting != 0) waitingOf(group).dispose();
  group.waiting = 0;
  group.clockUs = windows.forgottenUs;
  if (!isGone) readGroupOf(windows, key, name + length);
}

/** All records are there. */
export function endKeyedAdopting(windows: KeyedWindows): void {
  windows.reschedule();
  if (windows.settings.hasClocks) windows.touchAll();
  if (windows.keys.isMostlyDead()) windows.renumberKeys();
  windows.noteAllOutgrown();
}
