import { outsideBytes } from "../aggregate/memory";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { Pane } from "../window/pane";
import { Windows } from "../window/windows";
import { checksum } from "./checksum";
import { mergeState, normalizeState, writeState } from "./field-state";
import { isBytesAfter, sortNumbers } from "./sort";
import { readVarint, varintEnd, writeVarint } from "./varint";

/**
 * The windows of a query as bytes, for checkpoints. Equal states give equal bytes: fields and keys stand in the order of
 * their bytes, sums in their canonical form. Numbers are little-endian; those without a type are varints.
 *
 *   version u32, checksum u64 of the rest
 *   fields, then each: families, name length, name
 *   keys, then each: length, canonical bytes
 *   windows, then each: start i64, passed u8, groups, then each:
 *     key (as the difference of its number to the group's before), rows, emitted · 2 + dirty, a state for each field
 */
export const SNAPSHOT_VERSION: u32 = 1;
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
  writeVarint(out, windows.paneCount);
  for (let p: u32 = 0; p < windows.paneCount; p++) {
    const pane = windows.pane(p);
    memory.fill(members, 0, <usize>keyCount << 2);
    for (let i: u32 = 0; i < pane.count; i++) {
      store<u32>(members + (<usize>load<u32>(ranks + (<usize>pane.head(i).key << 2)) << 2), i + 1);
    }
    out.u64(pane.start);
    out.u8(<u8>pane.isPassed);
    writeVarint(out, pane.count);
    writeGroups(windows, pane, fields, members, keyCount, out);
  }
  heap.free(members);
  heap.free(ranks);
  heap.free(keys);
  heap.free(fields);
  store<u64>(out.data, checksum(out.data + HEAD_BYTES, out.length - HEAD_BYTES), 4);
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
  const length = windows.input.length;
  const data = windows.input.data;
  if (length < HEAD_BYTES || load<u32>(data) != SNAPSHOT_VERSION) return false;
  if (load<u64>(data, 4) != checksum(data + HEAD_BYTES, length - HEAD_BYTES)) return false;
  if (!hasKnownFields(windows, data + HEAD_BYTES)) return false;
  windows.clear();
  const before = outsideBytes;
  const fields = ByteBuffer.create(64);
  let at = readFields(windows, data + HEAD_BYTES, fields);
  const keys = ByteBuffer.create(4096);
  at = readKeys(windows, at, keys);
  const panes = <u32>readVarint(at);
  at = varintEnd;
  for (let p: u32 = 0; p < panes; p++) {
    const pane = windows.paneAt(load<i64>(at), i64.MIN_VALUE);
    pane.isPassed = load<u8>(at, 8);
    at = readGroups(windows, pane, at + 9, fields, keys);
  }
  fields.dispose();
  keys.dispose();
  windows.extraBytes = outsideBytes - before;
  return true;
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

function readGroups(windows: Windows, pane: Pane, at: usize, fields: ByteBuffer, keys: ByteBuffer): usize {
  const groups = <u32>readVarint(at);
  at = varintEnd;
  let rank: u32 = 0;
  for (let g: u32 = 0; g < groups; g++) {
    rank += <u32>readVarint(at);
    const key = load<u32>(keys.data + (rank << 2));
    const head = pane.head(pane.recordOf(key, windows.plan));
    windows.keys.retain(key);
    windows.groupCount++;
    head.rows = readVarint(varintEnd);
    const emitted = readVarint(varintEnd);
    head.emitted = <u32>(emitted >> 1);
    head.isDirty = <u32>(emitted & 1);
    pane.dirty += head.isDirty;
    at = varintEnd;
    for (let f: u32 = 0; f < fields.length >> 2; f++) {
      at = mergeState(windows.plan.layout(load<u32>(fields.data + (f << 2))), changetype<usize>(head), at);
    }
  }
  return at;
}
