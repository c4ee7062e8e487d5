import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { Plan } from "./field";
import { doubleValue, integerValue, isInteger, readNumber } from "./number";
import { failAt, Problem } from "./problem";
import { addMember, clearMembers, clearRowMemory, Kind, memberAt, memberCount, rowMemory } from "./staging";
import { hasEscapes, readString, unescape } from "./text";
import { MAX_DEPTH, readWord, skipSpace, skipValue } from "./value";

/**
 * The keys met in the row, each with the number of its object before it, so that a key that comes twice is known; with
 * their first and last members in `spans`.
 */
let met: Dictionary = changetype<Dictionary>(0);
let spans: ByteBuffer = changetype<ByteBuffer>(0);
let objects: u32 = 0;

/** The path of the member that is being read, or was when a problem was met. */
export let path: ByteBuffer = changetype<ByteBuffer>(0);

/** Empties what a row is read into. */
export function clearRow(): void {
  if (changetype<usize>(met) == 0) {
    met = Dictionary.create();
    spans = ByteBuffer.create(256);
    path = ByteBuffer.create(256);
  }
  met.reset();
  spans.reset();
  path.reset();
  clearMembers();
  clearRowMemory();
  objects = 0;
}

/**
 * Reads any object into members, flat, with dot paths; a key that comes twice counts the second time. Gives where it
 * ends, or 0.
 */
export function readObject(plan: Plan, start: usize): usize {
  clearRow();
  return readMembers(plan, start, 1);
}

/** `depth`: containers open, this one counted. */
function readMembers(plan: Plan, start: usize, depth: u32): usize {
  const object = objects++;
  const prefix = path.length;
  let at = skipSpace(start + 1);
  if (load<u8>(at) == 0x7d) return at + 1;
  while (true) {
    if (load<u8>(at) != 0x22) return failAt(Problem.Syntax, at);
    const keyEnd = readString(at + 1, false);
    if (keyEnd == 0) return 0;
    const span = pushKey(at + 1, keyEnd, object, prefix, depth > 1);
    at = skipSpace(keyEnd + 1);
    if (load<u8>(at) != 0x3a) return failAt(Problem.Syntax, at);
    at = readMember(plan, skipSpace(at + 1), depth);
    if (at == 0) return 0;
    store<u32>(spans.data + span, memberCount, 4);
    path.length = prefix;
    at = skipSpace(at);
    const next = load<u8>(at);
    if (next == 0x7d) return at + 1;
    if (next != 0x2c) return failAt(Problem.Syntax, at);
    at = skipSpace(at + 1);
  }
}

/** Appends a key to the path, and replaces the members it had before. Gives where its span stands. */
function pushKey(from: usize, to: usize, object: u32, prefix: u32, isInner: bool): u32 {
  if (isInner) path.u8(0x2e);
  const length = <u32>(to - from);
  const keyAt = path.length;
  path.reserve(length);
  if (hasEscapes) path.length += unescape(from, to, path.data + keyAt);
  else path.append(from, length);
  const keyLength = path.length - keyAt;

  const named = rowMemory(keyLength + 4);
  store<u32>(named, object);
  memory.copy(named + 4, path.data + keyAt, keyLength);
  const known = met.count;
  const id = met.intern(named, keyLength + 4);
  const span = id << 3;
  if (id < known) {
    const end = load<u32>(spans.data + span, 4);
    for (let i = load<u32>(spans.data + span); i < end; i++) memberAt(i).isReplaced = 1;
  } else {
    spans.u64(0);
  }
  store<u32>(spans.data + span, memberCount);
  store<u32>(spans.data + span, memberCount, 4);
  return span;
}

/** Reads the value at `at` under the path; `depth`: containers open. */
function readMember(plan: Plan, at: usize, depth: u32): usize {
  const byte = load<u8>(at);
  if (byte == 0x7b) {
    if (depth == MAX_DEPTH) return failAt(Problem.Depth, at);
    const inner = skipSpace(at + 1);
    if (load<u8>(inner) != 0x7d && plan.looksInto(path.data, path.length))
      return readMembers(plan, at, depth + 1);
  }
  const pathLength = path.length;
  const copy = rowMemory(pathLength);
  memory.copy(copy, path.data, pathLength);
  const member = addMember(plan.find(copy, pathLength), copy, pathLength);
  member.raw = at;
  let end: usize;
  if (byte == 0x7b || byte == 0x5b) {
    member.kind = Kind.Raw;
    end = skipValue(at, depth, MAX_DEPTH);
  } else if (byte == 0x22) {
    member.kind = Kind.Text;
    end = readString(at + 1, false);
    if (end == 0) return 0;
    member.text = at + 1;
    member.textLength = <u32>(end - at - 1);
    if (hasEscapes) {
      member.text = rowMemory(member.textLength);
      member.textLength = unescape(at + 1, end, member.text);
    }
    end++;
  } else if (byte == 0x2d || <u32>byte - 48 < 10) {
    end = readNumber(at);
    member.kind = isInteger ? Kind.Int : Kind.Float;
    member.bits = isInteger ? <u64>integerValue : reinterpret<u64>(doubleValue);
  } else {
    end = readWord(at);
    member.kind = byte == 0x6e ? Kind.Null : Kind.Bool;
    member.bits = u64(byte == 0x74);
  }
  member.rawEnd = end;
  return end;
}
