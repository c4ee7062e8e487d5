import { ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Parser } from "./parser";
import { timeOfText } from "./event-time";
import {
  fail,
  Fault,
  Kind,
  numberKind,
  readNumber,
  setText,
} from "./token";
import { isUtf8 } from "./utf8";

/** A cell of the current record: its text without quotes, and whether it had any. */
@unmanaged
class Cell {
  start: usize;
  length: u32;
  isQuoted: u32;
}

const CELL_SIZE: u32 = offsetof<Cell>();
const MAX_CELLS: u32 = 4096;
const COMMA: u8 = 0x2c;
const QUOTE: u8 = 0x22;
const LINE_FEED: u8 = 0x0a;
const RETURN: u8 = 0x0d;

let cells: usize = 0;
let cellCount: u32 = 0;
/** Texts of cells with doubled quotes. */
let unquoted: ByteBuffer = changetype<ByteBuffer>(0);
let header: ByteBuffer = changetype<ByteBuffer>(0);
/** Line feeds inside quotes of the record read last. */
let innerLines: u32 = 0;

@inline
function cell(index: u32): Cell {
  return changetype<Cell>(cells + index * CELL_SIZE);
}

/**
 * CSV with a header line (RFC 4180): quoted cells, doubled quotes, CRLF or LF. An empty cell without quotes is null;
 * cells without quotes are typed by their text, unless the column is declared.
 */
export function parseCsv(parser: Parser, input: usize, length: u32): u32 {
  if (cells == 0) {
    cells = heap.alloc(MAX_CELLS * CELL_SIZE);
    unquoted = ByteBuffer.create(1024);
    header = ByteBuffer.create(256);
  }
  parser.start(input, true);
  const end = input + length;
  parser.line = 1;
  parser.lineStart = input;
  let p = readRecord(input, end);
  if (p == 0 || !readHeader(parser)) {
    parser.recordBad(end);
    return 0;
  }
  const columns = cellCount;
  let accepted: u32 = 0;
  let line: u32 = 2 + innerLines;
  while (p < end) {
    parser.line = line++;
    parser.lineStart = p;
    const next = readRecord(p, end);
    line += innerLines;
    if (next != 0 && cellCount == 1 && cell(0).length == 0 && !cell(0).isQuoted) {
      p = next;
      continue;
    }
    parser.beginRow();
    parser.isChecked = true;
    let isGood = next != 0;
    if (!isGood) fail(Fault.Quote, p);
    if (isGood && cellCount != columns) {
      fail(Fault.Cells, p);
      isGood = false;
    }
    if (isGood && takeRecord(parser, columns)) {
      accepted++;
      p = next;
      continue;
    }
    parser.undoRow();
    const recordEnd = next == 0 ? end : next;
    parser.recordBad(recordEnd);
    p = recordEnd;
  }
  return accepted;
}

/** The header's names as members. */
function readHeader(parser: Parser): bool {
  header.reset();
  for (let i: u32 = 0; i < cellCount; i++) {
    const name = cell(i);
    if (name.length == 0 || !isUtf8(name.start, name.length)) {
      fail(Fault.Header, parser.lineStart);
      return false;
    }
    header.u32(parser.declarePath(name.start, name.length, false));
  }
  return true;
}

function takeRecord(parser: Parser, columns: u32): bool {
  let timeRank: u32 = 0xffffffff;
  let timeCell: u32 = 0;
  for (let i: u32 = 0; i < columns; i++) {
    const rank = parser.members.member(memberOf(i)).timeRank;
    if (rank < 0 || isNull(cell(i)) || <u32>rank >= timeRank) continue;
    timeRank = rank;
    timeCell = i;
  }
  for (let i: u32 = 0; i < columns; i++) {
    if (timeRank != 0xffffffff && i == timeCell) continue;
    if (!setCell(parser, memberOf(i), cell(i))) return false;
  }
  if (timeRank == 0xffffffff) return parser.finishRow();
  const text = cell(timeCell);
  setText(text.start, text.length);
  if (timeOfText(parser.unit)) return parser.takeRow();
  parser.refuse(Fault.Time, memberOf(timeCell), text.start);
  return false;
}

@inline
function memberOf(index: u32): u32 {
  return load<u32>(header.data + (index << 2));
}

@inline
function isNull(value: Cell): bool {
  return value.length == 0 && !value.isQuoted;
}

function setCell(parser: Parser, id: u32, value: Cell): bool {
  if (isNull(value)) return true;
  const member = parser.members.member(id);
  if (parser.isVerbatim(member)) return keepCell(parser, id, value);
  const isText =
    member.column >= 0 &&
    parser.batch.column(member.column).isDeclared != 0 &&
    parser.batch.column(member.column).type == ColumnType.Text;
  const kind = value.isQuoted || isText ? Kind.Text : kindOf(value);
  if (kind == Kind.Text) {
    if (!isUtf8(value.start, value.length)) {
      parser.refuse(Fault.Utf8, id, value.start);
      return false;
    }
    setText(value.start, value.length);
  }
  return parser.setScalar(id, kind);
}

/** The kind of an unquoted cell; a number is read on the way. */
function kindOf(value: Cell): Kind {
  const c = load<u8>(value.start);
  if (c == 0x2d || <u8>(c - 0x30) < 10) {
    if (readNumber(value.start) == value.start + value.length) return numberKind;
    return Kind.Text;
  }
  if (value.length == 4 && load<u32>(value.start) == 0x65757274) return Kind.True;
  if (value.length == 5 && load<u32>(value.start) == 0x736c6166 && load<u8>(value.start, 4) == 0x65) return Kind.False;
  return Kind.Text;
}

/** An undeclared cell as a JSON member: a number or word as it is, anything else as a string. */
function keepCell(parser: Parser, id: u32, value: Cell): bool {
  if (!isUtf8(value.start, value.length)) {
    parser.refuse(Fault.Utf8, id, value.start);
    return false;
  }
  if (!value.isQuoted && kindOf(value) != Kind.Text) {
    return parser.keepVerbatim(id, value.start, value.start + value.length);
  }
  return parser.keepText(id, value.start, value.length);
}

/** Splits a record into cells. @returns the address of the next one, or 0 when a quote never closes or stands wrong. */
function readRecord(p: usize, end: usize): usize {
  cellCount = 0;
  innerLines = 0;
  unquoted.reset();
  // Cells point into the buffer, which must not move: it never holds more than what is left of the input.
  let hasRoom = false;
  while (true) {
    if (cellCount == MAX_CELLS) return 0;
    const value = cell(cellCount++);
    if (p < end && load<u8>(p) == QUOTE) {
      if (!hasRoom) unquoted.reserve(<u32>(end - p));
      hasRoom = true;
      p = readQuoted(p + 1, end, value);
      if (p == 0) return 0;
    } else {
      value.start = p;
      value.isQuoted = 0;
      while (p < end) {
        const c = load<u8>(p);
        if (c == COMMA || c == LINE_FEED) break;
        p++;
      }
      let stop = p;
      if (stop > value.start && load<u8>(stop - 1) == RETURN && (p == end || load<u8>(p) == LINE_FEED)) stop--;
      value.length = <u32>(stop - value.start);
    }
    if (p >= end) return end;
    const c = load<u8>(p);
    if (c == COMMA) {
      p++;
      continue;
    }
    if (c == RETURN && load<u8>(p, 1) == LINE_FEED) return p + 2;
    return c == LINE_FEED ? p + 1 : 0;
  }
  return 0;
}

function readQuoted(p: usize, end: usize, value: Cell): usize {
  value.isQuoted = 1;
  value.start = p;
  const from = unquoted.length;
  let isDoubled = false;
  while (p < end) {
    const c = load<u8>(p);
    if (c == QUOTE) {
      if (load<u8>(p, 1) != QUOTE) break;
      if (!isDoubled) {
        isDoubled = true;
        unquoted.append(value.start, <u32>(p - value.start));
      }
      unquoted.u8(QUOTE);
      p += 2;
      continue;
    }
    if (c == LINE_FEED) innerLines++;
    if (isDoubled) unquoted.u8(c);
    p++;
  }
  if (p >= end) return 0;
  if (isDoubled) {
    value.start = unquoted.data + from;
    value.length = unquoted.length - from;
  } else {
    value.length = <u32>(p - value.start);
  }
  return p + 1;
}
