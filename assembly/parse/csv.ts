import { ColumnType } from "../batch/batch";
import { commitMembers } from "./commit";
import { addCommitFault, addFault, countAccepted } from "./faults";
import { ByteBuffer } from "../memory/bytes";
import { Field, MAX_PATH_BYTES } from "./field";
import { clearRow } from "./object";
import { doubleValue, integerValue, isInteger, readNumber } from "./number";
import { Parser } from "./parser";
import { failAt, failWith, Problem } from "./problem";
import { addMember, Kind, Member, rowMemory } from "./staging";
import { escape, markSpecial, readMultiByte } from "./text";
import { findLineFeed, MAX_LINE_BYTES } from "./lines";
import { FEED_IN_LINE, setLineFeed } from "./value";

const QUOTE: u32 = 0x22;
const COMMA: u32 = 0x2c;
const SEMICOLON: u32 = 0x3b;
const TAB: u32 = 0x09;
/** Longer cells are no numbers. */
const MAX_NUMBER_BYTES: u32 = 400;

/** One field of the header. */
@unmanaged
class Title {
  path: usize;
  pathLength: u32;
  /** 0 while no value was seen. */
  field: Field;
}
const TITLE_BYTES: u32 = offsetof<Title>();

/** The cell read last: its text without quotes. */
let cell: usize = 0;
let cellLength: u32 = 0;
/** How many cells the record read last has. */
let cellCount: u32 = 0;

/** Title[], of the body that is read now; their text stands in the body, or in `headerText`. */
let titles: ByteBuffer = changetype<ByteBuffer>(0);
let headerText: ByteBuffer = changetype<ByteBuffer>(0);

/**
 * Reads CSV (RFC 4180) with a header line into rows. An empty cell is null; types are inferred cell by cell, or declared.
 * A record with a fault in its quotes is given up at the end of its first line, so that a stray quote costs one line.
 */
export function readCsv(parser: Parser, start: usize, end: usize): void {
  parser.lineFeed = FEED_IN_LINE;
  setLineFeed(FEED_IN_LINE);
  let line: u32 = 1;
  let at = start;
  while (at < end && isLineBreak(at)) {
    if (load<u8>(at) == 0x0a) line++;
    at++;
  }
  if (at >= end) return;
  const header = at;
  at = readHeader(at, end);
  if (at == 0) {
    const headerEnd = lineEndOf(header, end);
    return addFault(line, header, headerEnd, 0, 0);
  }
  line += countFeeds(header, at);
  while (at < end) {
    if (isLineBreak(at)) {
      if (load<u8>(at) == 0x0a) line++;
      at++;
      continue;
    }
    let next = readRecord(parser, at, end);
    if (next == 0) {
      next = min<usize>(findLineFeed(at, end) + 1, end);
      addFault(line, at, lineEndOf(at, end), 0, 0);
    } else if (cellCount != titleCount()) {
      failWith(Problem.CellCount, at, min<u32>(cellCount, 0xffff) | (titleCount() << 16));
      addFault(line, at, trimBreak(at, next), 0, 0);
    } else if (commitMembers(parser)) {
      countAccepted();
    } else {
      addCommitFault(line, at, trimBreak(at, next));
    }
    line += countFeeds(at, next);
    at = next;
  }
  if (parser.isStale) parser.refreshKeys();
}

@inline
function isLineBreak(at: usize): bool {
  const byte = load<u8>(at);
  return byte == 0x0a || byte == 0x0d;
}

function lineEndOf(at: usize, end: usize): usize {
  return trimBreak(at, findLineFeed(at, end));
}

function trimBreak(start: usize, end: usize): usize {
  while (end > start && isLineBreak(end - 1)) end--;
  return end;
}

function countFeeds(at: usize, end: usize): u32 {
  let count: u32 = 0;
  while (true) {
    at = findLineFeed(at, end);
    if (at >= end) return count;
    count++;
    at++;
  }
}

/** Gives where the records begin, or 0. */
function readHeader(start: usize, end: usize): usize {
  if (changetype<usize>(titles) == 0) {
    titles = ByteBuffer.create(256);
    headerText = ByteBuffer.create(256);
  }
  titles.reset();
  headerText.reset();
  if (lineEndOf(start, end) - start > MAX_LINE_BYTES) return failAt(Problem.LineTooLong, start);
  clearRow();
  let at = start;
  while (true) {
    at = readCell(at, end);
    if (at == 0) return 0;
    if (cellLength > MAX_PATH_BYTES || isTitle(cell, cellLength)) return failAt(Problem.Header, at);
    titles.u32(headerText.append(cell, cellLength));
    titles.u32(cellLength);
    titles.u32(0);
    if (at >= end || load<u8>(at) != COMMA) break;
    at++;
  }
  if (titleCount() == 1) {
    const other = findOtherSeparator(start, at);
    if (other != 0) return failAt(Problem.Separator, other);
  }
  for (let i: u32 = 0; i < titleCount(); i++) titleAt(i).path += headerText.data;
  return afterBreak(at, end);
}

/** Of a header that would be one field: where it is parted by what is no comma, as some spreadsheets do, or 0. */
function findOtherSeparator(start: usize, end: usize): usize {
  if (start < end && load<u8>(start) == QUOTE) return 0;
  for (let at = start; at < end; at++) {
    const byte = load<u8>(at);
    if (byte == SEMICOLON || byte == TAB) return at;
  }
  return 0;
}

@inline
function titleCount(): u32 {
  return titles.length / TITLE_BYTES;
}

@inline
function titleAt(index: u32): Title {
  return changetype<Title>(titles.data + <usize>index * TITLE_BYTES);
}

/** Whether the header has that title already. Only while the header is read. */
function isTitle(text: usize, length: u32): bool {
  for (let i: u32 = 0; i < titleCount(); i++) {
    const title = titleAt(i);
    if (title.pathLength == length && memory.compare(headerText.data + title.path, text, length) == 0) return true;
  }
  return false;
}

@inline
function afterBreak(at: usize, end: usize): usize {
  if (at < end && load<u8>(at) == 0x0d) at++;
  if (at < end && load<u8>(at) == 0x0a) at++;
  return at;
}

/** Reads a record into members. Gives where the next one begins, or 0. */
function readRecord(parser: Parser, start: usize, end: usize): usize {
  clearRow();
  const titled = titleCount();
  let at = start;
  cellCount = 0;
  while (true) {
    at = readCell(at, end);
    if (at == 0) return 0;
    if (at - start > MAX_LINE_BYTES) return failAt(Problem.LineTooLong, start);
    if (cellCount < titled) stageCell(parser, titleAt(cellCount));
    cellCount++;
    if (at >= end || load<u8>(at) != COMMA) break;
    at++;
  }
  return afterBreak(at, end);
}

/** Reads one cell. Gives where its comma, line break or end stands, or 0. */
function readCell(at: usize, end: usize): usize {
  if (at < end && load<u8>(at) == QUOTE) return readQuoted(at, end);
  cell = at;
  while (at < end) {
    const byte = <u32>load<u8>(at);
    if (byte == COMMA || byte == 0x0a) break;
    if (byte == 0x0d && (at + 1 == end || load<u8>(at, 1) == 0x0a)) break;
    if (byte == QUOTE) return failAt(Problem.Quote, at);
    if (byte < 0x80) {
      at++;
      continue;
    }
    at = readMultiByte(at);
    if (at == 0) return 0;
  }
  cellLength = <u32>(at - cell);
  return at;
}

function readQuoted(start: usize, end: usize): usize {
  let at = start + 1;
  let doubled: u32 = 0;
  while (true) {
    const special = markSpecial(v128.load(at));
    if (special == 0) {
      at += 16;
      continue;
    }
    at += ctz<i32>(special);
    if (at >= end || at - start > MAX_LINE_BYTES) return failAt(Problem.Quote, start);
    const byte = <u32>load<u8>(at);
    if (byte >= 0x80) {
      at = readMultiByte(at);
      if (at == 0) return 0;
    } else if (byte != QUOTE) {
      at++;
    } else if (load<u8>(at, 1) == QUOTE && at + 1 < end) {
      doubled++;
      at += 2;
    } else {
      break;
    }
  }
  const textEnd = at++;
  const isEnded = at >= end || load<u8>(at) == COMMA || load<u8>(at) == 0x0a || (load<u8>(at) == 0x0d && (at + 1 >= end || load<u8>(at, 1) == 0x0a));
  if (!isEnded) return failAt(Problem.Quote, at);
  cell = start + 1;
  cellLength = <u32>(textEnd - cell);
  if (doubled != 0) unquote(textEnd);
  return at;
}

/** Copies the cell with each two quotes made one. */
function unquote(textEnd: usize): void {
  const copy = rowMemory(cellLength);
  let target = copy;
  for (let at = cell; at < textEnd; at++) {
    const byte = load<u8>(at);
    store<u8>(target++, byte);
    if (byte == QUOTE) at++;
  }
  store<u8>(target, 0);
  cell = copy;
  cellLength = <u32>(target - copy);
}

/** Adds the cell as a member of the type that its text suggests. */
function stageCell(parser: Parser, title: Title): void {
  if (changetype<usize>(title.field) == 0) title.field = parser.plan.find(title.path, title.pathLength);
  const field = title.field;
  const member = addMember(field, title.path, title.pathLength);
  member.text = cell;
  member.textLength = cellLength;
  const isText = changetype<usize>(field) != 0 && field.hasColumn() && field.columnOf.type == ColumnType.Text;
  if (cellLength != 0) {
    if (isText) member.kind = Kind.Text;
    else inferCell(member);
  }
  if (!isText && !parser.plan.takes(field, title.pathLength, parser.batch)) spellAsJson(member);
}

function inferCell(member: Member): void {
  member.kind = Kind.Text;
  const first = <u32>load<u8>(cell);
  if (first == 0x2d || first - 48 < 10) {
    if (cellLength > MAX_NUMBER_BYTES) return;
    // Behind a cell stands what is no part of a number.
    if (readNumber(cell) != cell + cellLength) return;
    member.kind = isInteger ? Kind.Int : Kind.Float;
    member.bits = isInteger ? <u64>integerValue : reinterpret<u64>(doubleValue);
    member.raw = cell;
    member.rawEnd = cell + cellLength;
  } else if (cellLength == 4 && load<u32>(cell) == 0x65757274) {
    member.kind = Kind.Bool;
    member.bits = 1;
  } else if (cellLength == 5 && load<u32>(cell) == 0x736c6166 && load<u8>(cell, 4) == 0x65) {
    member.kind = Kind.Bool;
  }
}

/** Writes the cell as JSON, for the extra column. */
function spellAsJson(member: Member): void {
  if (member.raw != 0) return;
  if (member.kind == Kind.Bool) {
    member.raw = cell;
    member.rawEnd = cell + cellLength;
    return;
  }
  const json = rowMemory(cellLength * 6 + 2);
  member.raw = json;
  if (member.kind == Kind.Null) {
    store<u32>(json, 0x6c6c756e);
    member.rawEnd = json + 4;
    return;
  }
  store<u8>(json, QUOTE);
  const length = escape(cell, cellLength, json + 1);
  store<u8>(json + 1 + length, QUOTE);
  member.rawEnd = json + length + 2;
}
