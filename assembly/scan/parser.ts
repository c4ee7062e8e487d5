import { Batch, Column, ColumnType, FLAG_CLOCK_SKEW } from "../batch/batch";
import { widenColumn, widenValue, widerOf } from "../codec/widen";
import { ByteBuffer } from "../memory/bytes";
import { Member, Members, VERBATIM } from "./members";
import { Unit } from "../parse/time";
import { setTime, time, timeOfLastNumber, timeOfText } from "./event-time";
import {
  clearFault,
  fail,
  Fault,
  fault,
  faultAt,
  float,
  int,
  Kind,
  kindAt,
  numberKind,
  readNumber,
  readString,
  readWord,
  skipBlanks,
  skipValue,
  textAt,
  textLength,
} from "./token";

/** What becomes of members that are no declared field. */
export const enum Extra {
  Keep = 0,
  Drop = 1,
  Reject = 2,
}

const MAX_DEPTH: u32 = 64;
const MAX_COLUMNS: u32 = 512;
/** Paths known of one stream; beyond them new members are kept verbatim. */
const MAX_MEMBERS: u32 = 8192;
const MAX_LINE_BYTES: usize = 1 << 20;
/** Bad lines whose place and reason are kept. */
const MAX_ERRORS: u32 = 1001;
const MAX_TIME_FIELDS: u32 = 8;

/** A time field's value in the current line. */
@unmanaged
class TimeValue {
  kind: Kind;
  member: u32;
  start: usize;
}

const TIME_VALUE_SIZE: u32 = offsetof<TimeValue>();

/** A bad line: fault, line number, start and length of its text, offset of the fault, member id + 1. */
@unmanaged
export class BadLine {
  fault: u32;
  line: u32;
  start: u32;
  length: u32;
  offset: u32;
  member: u32;
}

/**
 * Bytes of one stream to the columns of a batch. What is known of the members persists from batch to batch; types
 * only ever widen. Invariant: after a bad line the batch is as before it.
 */
@unmanaged
export class Parser {
  batch: Batch;
  members: Members;
  isDeclared: u32;
  extra: Extra;
  unit: Unit;
  timeFields: u32;
  isTimeDeclared: u32;
  keyColumns: ByteBuffer; // u32 member ids
  isKeyDeclared: u32;
  arrivalUs: i64;
  maxAheadUs: i64;
  timeValues: usize; // TimeValue[MAX_TIME_FIELDS]
  input: usize;
  line: u32;
  lineStart: usize;
  valueStart: usize;
  isDocument: bool;
  hasExtra: bool;
  /** The current line was checked to its end: columns may change for it. */
  isChecked: bool;
  faultMember: u32;
  bad: u32;
  errors: ByteBuffer; // BadLine[]

  static create(): Parser {
    const self = changetype<Parser>(heap.alloc(offsetof<Parser>()));
    memory.fill(changetype<usize>(self), 0, offsetof<Parser>());
    self.batch = Batch.create(4096);
    self.members = Members.create();
    self.keyColumns = ByteBuffer.create(16);
    self.timeValues = heap.alloc(MAX_TIME_FIELDS * TIME_VALUE_SIZE);
    self.errors = ByteBuffer.create(256);
    return self;
  }

  dispose(): void {
    this.batch.dispose();
    this.members.dispose();
    this.keyColumns.dispose();
    heap.free(this.timeValues);
    this.errors.dispose();
    heap.free(changetype<usize>(this));
  }

  begin(arrivalUs: i64): void {
    this.arrivalUs = arrivalUs;
    this.batch.reset();
  }

  /** The member of a dot path; its ancestors are marked when it is declared. */
  declarePath(path: usize, length: u32, isField: bool): u32 {
    let parent: i32 = -1;
    let from: u32 = 0;
    for (let i: u32 = 0; i <= length; i++) {
      if (i < length && load<u8>(path + i) != 0x2e) continue;
      const id = this.members.intern(path, i, parent, from, i - from);
      if (i == length) return id;
      if (isField) this.members.member(id).hasDeclared = 1;
      parent = id;
      from = i + 1;
    }
    return 0;
  }

  /** Makes a column known: a declared field, or one of the stream's schema. A known one is widened. */
  addField(path: usize, length: u32, type: ColumnType, isDeclared: bool): void {
    const member = this.members.member(this.declarePath(path, length, isDeclared));
    if (member.column >= 0) {
      const column = this.batch.column(member.column);
      widenColumn(column, widerOf(column.type, type));
      return;
    }
    if (this.batch.columnCount >= MAX_COLUMNS) return;
    member.column = this.batch.addColumn(path, length, type);
    this.batch.column(member.column).isDeclared = u32(isDeclared);
  }

  /** One object a line. */
  parseLines(input: usize, length: u32): u32 {
    this.start(input, false);
    const end = input + length;
    let accepted: u32 = 0;
    let p = input;
    while (p < end) {
      this.line++;
      this.lineStart = p;
      const first = skipBlanks(p, false);
      if (first >= end) break;
      if (load<u8>(first) == 0x0a) {
        p = first + 1;
        continue;
      }
      let next = this.parseRow(first);
      if (next != 0) {
        next = skipBlanks(next, false);
        if (load<u8>(next) != 0x0a && next != end) next = fail(Fault.Syntax, next);
        else if (next - this.lineStart > MAX_LINE_BYTES) next = fail(Fault.LineTooLong, this.lineStart);
      }
      if (next != 0 && this.finishRow()) {
        accepted++;
        p = next + 1;
        continue;
      }
      this.undoRow();
      p = lineEnd(max(next != 0 ? next : faultAt, p), end);
      this.recordBad(p);
      p++;
    }
    return accepted;
  }

  /** One document: an object, or an array of them. Broken syntax spoils the whole of it. */
  parseDocument(input: usize, length: u32): u32 {
    this.start(input, true);
    const end = input + length;
    const first = skipBlanks(input, true);
    this.line = 1;
    this.lineStart = first;
    let p = skipValue(first, true, 1);
    if (p != 0) {
      p = skipBlanks(p, true);
      if (p != end) p = fail(Fault.Syntax, p);
    }
    if (p == 0) {
      this.recordBad(end);
      return 0;
    }
    this.isChecked = true;
    if (load<u8>(first) != 0x5b) return this.parseElement(first, end) ? 1 : 0;
    let accepted: u32 = 0;
    this.line = 0;
    p = skipBlanks(first + 1, true);
    while (load<u8>(p) != 0x5d) {
      this.line++;
      this.lineStart = p;
      const next = skipValue(p, true, 1);
      if (this.parseElement(p, next)) accepted++;
      p = skipBlanks(next, true);
      if (load<u8>(p) == 0x2c) p = skipBlanks(p + 1, true);
    }
    return accepted;
  }

  private parseElement(at: usize, end: usize): bool {
    if (this.parseRow(at) != 0 && this.finishRow()) return true;
    this.undoRow();
    this.recordBad(end);
    return false;
  }

  start(input: usize, isDocument: bool): void {
    this.input = input;
    this.isDocument = isDocument;
    this.isChecked = false;
    this.line = 0;
    this.bad = 0;
    this.errors.reset();
    this.batch.ensure(this.batch.rows + 1);
  }

  /** Makes room for a row and clears what the last one left. */
  beginRow(): void {
    this.batch.ensure(this.batch.rows + 1);
    this.hasExtra = false;
    this.faultMember = 0;
    clearFault();
    for (let i: u32 = 0; i < this.timeFields; i++) this.timeValue(i).kind = Kind.None;
  }

  private parseRow(at: usize): usize {
    this.beginRow();
    if (!this.isDocument) this.isChecked = false;
    if (load<u8>(at) != 0x7b) {
      return skipValue(at, this.isDocument, 1) == 0 ? 0 : fail(Fault.NotObject, at);
    }
    return this.parseObject(at, -1, 1);
  }

  private parseObject(at: usize, parent: i32, depth: u32): usize {
    const isDocument = this.isDocument;
    let p = skipBlanks(at + 1, isDocument);
    if (load<u8>(p) == 0x7d) return p + 1;
    while (true) {
      if (load<u8>(p) != 0x22) return fail(Fault.Syntax, p);
      p = readString(p);
      if (p == 0) return 0;
      const id = this.members.find(parent, textAt, textLength);
      if (load<u8>(p) != 0x3a) {
        p = skipBlanks(p, isDocument);
        if (load<u8>(p) != 0x3a) return fail(Fault.Syntax, p);
      }
      p = this.parseMember(id, skipBlanks(p + 1, isDocument), depth);
      if (p == 0) return 0;
      let c = load<u8>(p);
      if (c != 0x2c && c != 0x7d) {
        p = skipBlanks(p, isDocument);
        c = load<u8>(p);
      }
      if (c == 0x7d) return p + 1;
      if (c != 0x2c) return fail(Fault.Syntax, p);
      p = skipBlanks(p + 1, isDocument);
    }
  }

  private parseMember(id: u32, at: usize, depth: u32): usize {
    const member = this.members.member(id);
    const kind = kindAt(load<u8>(at));
    if (kind == Kind.None) return fail(Fault.Syntax, at);
    if (member.timeRank >= 0) return this.parseTimeMember(id, kind, at, depth);
    return this.parseValue(id, kind, at, depth);
  }

  @inline private timeValue(rank: u32): TimeValue {
    return changetype<TimeValue>(this.timeValues + rank * TIME_VALUE_SIZE);
  }

  /** A time field is only looked at when the whole line is known: another may have a better rank. */
  private parseTimeMember(id: u32, kind: Kind, at: usize, depth: u32): usize {
    const value = this.timeValue(this.members.member(id).timeRank);
    value.kind = kind;
    value.member = id;
    value.start = at;
    if (kind == Kind.Text) return readString(at);
    if (kind == Kind.Int) return readNumber(at);
    return skipValue(at, this.isDocument, depth + 1);
  }

  private parseValue(id: u32, kind: Kind, at: usize, depth: u32): usize {
    if (kind >= Kind.Object) return this.parseNested(id, kind, at, depth);
    const isVerbatim = this.isVerbatim(this.members.member(id));
    this.valueStart = at;
    let p: usize;
    if (kind == Kind.Text) p = readString(at);
    else if (kind == Kind.Int) p = readNumber(at);
    else p = readWord(at, kind);
    if (p == 0) return 0;
    if (isVerbatim) return this.keepVerbatim(id, at, p) ? p : 0;
    return this.setScalar(id, kind == Kind.Int ? numberKind : kind) ? p : 0;
  }

  /** Whether a member has no column and gets none. */
  @inline isVerbatim(member: Member): bool {
    if (member.column >= 0) return false;
    if (this.batch.columnCount >= MAX_COLUMNS || this.members.paths.count >= MAX_MEMBERS) member.column = VERBATIM;
    return member.column == VERBATIM || this.isDeclared != 0;
  }

  private parseNested(id: u32, kind: Kind, at: usize, depth: u32): usize {
    if (depth >= MAX_DEPTH) return fail(Fault.Depth, at);
    const member = this.members.member(id);
    const isOpened = this.isDeclared == 0 || member.hasDeclared != 0;
    if (kind == Kind.Object && isOpened && this.members.paths.count < MAX_MEMBERS) {
      return this.parseObject(at, id, depth + 1);
    }
    const p = skipValue(at, this.isDocument, depth + 1);
    if (p == 0) return 0;
    if (member.column >= 0 && this.batch.column(member.column).isDeclared) return this.refuse(Fault.Type, id, at);
    return this.keepVerbatim(id, at, p) ? p : 0;
  }

  refuse(kind: Fault, id: u32, at: usize): usize {
    this.faultMember = id + 1;
    return fail(kind, at);
  }

  /** Sets the current row's cell from the last scalar read. */
  setScalar(id: u32, kind: Kind): bool {
    const row = this.batch.rows;
    const member = this.members.member(id);
    if (member.column < 0) {
      if (kind == Kind.Null) return true;
      if (!this.mayChange()) return false;
      this.addColumn(id);
    }
    const column = this.batch.column(this.members.member(id).column);
    if (kind == Kind.Null) {
      if (column.filled == row + 1 && column.isValid(row)) {
        store<u8>(column.valid + row, 0);
        store<u64>(column.cell(row), 0);
        column.nulls++;
      }
      return true;
    }
    if (!this.fits(column, kind) && !this.adapt(column, id, kind)) return false;
    const cell = column.cell(row);
    if (column.filled != row + 1) {
      column.fillNulls(row);
      column.filled = row + 1;
    } else if (!column.isValid(row)) {
      column.nulls--;
    }
    store<u8>(column.valid + row, 1);
    switch (column.type) {
      case ColumnType.Float:
        store<f64>(cell, kind == Kind.Int ? <f64>int : float);
        break;
      case ColumnType.Int:
        store<i64>(cell, kind == Kind.Int ? int : <i64>float);
        break;
      case ColumnType.Bool:
        store<u64>(cell, u64(kind == Kind.True));
        break;
      default:
        store<u64>(cell, kind == Kind.Text ? column.dictionary.intern(textAt, textLength) : this.asText(column, kind));
    }
    return true;
  }

  private asText(column: Column, kind: Kind): u64 {
    if (kind == Kind.Int) return widenValue(<u64>int, ColumnType.Int, column);
    if (kind == Kind.Float) return widenValue(reinterpret<u64>(float), ColumnType.Float, column);
    return widenValue(u64(kind == Kind.True), ColumnType.Bool, column);
  }

  @inline private fits(column: Column, kind: Kind): bool {
    switch (column.type) {
      case ColumnType.Float:
        return kind == Kind.Float || kind == Kind.Int;
      case ColumnType.Int:
        return kind == Kind.Int;
      case ColumnType.Bool:
        return kind == Kind.True || kind == Kind.False;
      case ColumnType.Text:
        return kind == Kind.Text || !column.isDeclared;
      default:
        return false;
    }
  }

  /** Widens the column for a value; a declared one only takes whole floats as integers. */
  private adapt(column: Column, id: u32, kind: Kind): bool {
    if (column.isDeclared) {
      const isWhole = kind == Kind.Float && float == trunc(float) && abs(float) < 9223372036854775808.0;
      if (column.type == ColumnType.Int && isWhole) return true;
      this.refuse(Fault.Type, id, this.lineStart);
      return false;
    }
    if (!this.mayChange()) return false;
    widenColumn(column, widerOf(column.type, typeOf(kind)));
    return true;
  }

  /** Columns change only for lines that are whole: a broken one must not widen the schema. */
  private mayChange(): bool {
    if (this.isChecked) return true;
    const at = this.valueStart;
    if (skipValue(skipBlanks(this.lineStart, false), false, 1) == 0) return false;
    this.isChecked = true;
    // The check read over the value; read it again.
    const kind = kindAt(load<u8>(at));
    if (kind == Kind.Text) readString(at);
    else if (kind == Kind.Int) readNumber(at);
    return true;
  }

  private addColumn(id: u32): void {
    const path = this.members.paths.pointer(id);
    const index = this.batch.addColumn(path, this.members.paths.length(id), ColumnType.Null);
    this.members.member(id).column = index;
  }

  keepVerbatim(id: u32, from: usize, to: usize): bool {
    if (this.extra == Extra.Drop) return true;
    if (this.extra == Extra.Reject && this.isDeclared) {
      this.refuse(Fault.Undeclared, id, from);
      return false;
    }
    this.openExtra(id);
    const out = this.batch.extra.bytes;
    for (let p = from; p < to; p++) {
      const c = load<u8>(p);
      // A document may have line breaks between tokens; within a string they cannot be.
      if (c != 0x0a && c != 0x0d) out.u8(c);
    }
    return true;
  }

  /** As `keepVerbatim`, for a text that is to become a JSON string. */
  keepText(id: u32, at: usize, length: u32): bool {
    if (this.extra == Extra.Drop) return true;
    if (this.extra == Extra.Reject && this.isDeclared) {
      this.refuse(Fault.Undeclared, id, at);
      return false;
    }
    this.openExtra(id);
    writeQuoted(this.batch.extra.bytes, at, length);
    return true;
  }

  /** Begins the row's extra object, or a further member of it. */
  private openExtra(id: u32): void {
    const extra = this.batch.extra;
    const row = this.batch.rows;
    if (!this.hasExtra) {
      extra.fillNulls(row);
      extra.filled = row + 1;
      store<u8>(extra.valid + row, 1);
      store<u32>(extra.cell(row), extra.bytes.length);
      extra.bytes.u8(0x7b);
      this.hasExtra = true;
    } else {
      extra.bytes.u8(0x2c);
    }
    writeQuoted(extra.bytes, this.members.paths.pointer(id), this.members.paths.length(id));
    extra.bytes.u8(0x3a);
  }

  /** Finds the event time, checks the key, and takes the row in. @returns false when it is refused. */
  finishRow(): bool {
    return this.finishTime() && this.takeRow();
  }

  /** Checks the key and takes the row in under the event time read last. */
  takeRow(): bool {
    const found = time;
    if (!this.hasKey()) return false;
    const batch = this.batch;
    const row = batch.rows;
    if (this.hasExtra) {
      const extra = batch.extra;
      extra.bytes.u8(0x7d);
      store<u32>(extra.cell(row), extra.bytes.length - load<u32>(extra.cell(row)), 4);
    }
    store<i64>(batch.times + (<usize>row << 3), found);
    store<u8>(batch.flags + row, found - this.arrivalUs > this.maxAheadUs ? FLAG_CLOCK_SKEW : 0);
    batch.rows = row + 1;
    return true;
  }

  private finishTime(): bool {
    for (let rank: u32 = 0; rank < this.timeFields; rank++) {
      const value = this.timeValue(rank);
      if (value.kind == Kind.None || value.kind == Kind.Null) continue;
      const isRead = this.readTime(value);
      const found = time;
      if (!isRead) {
        this.refuse(Fault.Time, value.member, value.start);
        return false;
      }
      for (let other = rank + 1; other < this.timeFields; other++) {
        const rest = this.timeValue(other);
        if (rest.kind == Kind.None) continue;
        if (this.parseValue(rest.member, rest.kind, rest.start, 2) == 0) return false;
      }
      setTime(found);
      return true;
    }
    if (this.isTimeDeclared) {
      fail(Fault.NoTime, this.lineStart);
      return false;
    }
    setTime(this.arrivalUs);
    return true;
  }

  private readTime(value: TimeValue): bool {
    if (value.kind == Kind.Text) return readString(value.start) != 0 && timeOfText(this.unit);
    if (value.kind != Kind.Int) return false;
    return readNumber(value.start) != 0 && timeOfLastNumber(this.unit);
  }

  private hasKey(): bool {
    if (!this.isKeyDeclared) return true;
    const row = this.batch.rows;
    const id = load<u32>(this.keyColumns.data);
    const index = this.members.member(id).column;
    if (index >= 0) {
      const column = this.batch.column(index);
      if (column.filled == row + 1 && column.isValid(row)) return true;
    }
    this.refuse(Fault.NoKey, id, this.lineStart);
    return false;
  }

  undoRow(): void {
    const row = this.batch.rows;
    for (let i: u32 = 0; i < this.batch.columnCount; i++) undoCell(this.batch.column(i), row);
    undoCell(this.batch.extra, row);
  }

  recordBad(end: usize): void {
    this.bad++;
    if (this.bad >= MAX_ERRORS) return;
    const out = this.errors;
    out.u32(fault);
    out.u32(this.line);
    out.u32(<u32>(this.lineStart - this.input));
    out.u32(<u32>(end - this.lineStart));
    out.u32(<u32>(max(faultAt, this.lineStart) - this.lineStart));
    out.u32(this.faultMember);
  }

}

/** Takes a row's cell back. Nulls that were filled in before it stay. */
function undoCell(column: Column, row: u32): void {
  if (column.filled <= row) return;
  if (!column.isValid(row)) column.nulls--;
  column.filled = row;
}

/** The address of the line feed that ends the line, or the end. */
export function lineEnd(p: usize, end: usize): usize {
  while (p < end) {
    const mask = i8x16.bitmask(i8x16.eq(v128.load(p), i8x16.splat(0x0a)));
    if (mask != 0) return min(p + ctz(mask), end);
    p += 16;
  }
  return end;
}

@inline
function typeOf(kind: Kind): ColumnType {
  if (kind == Kind.Int) return ColumnType.Int;
  if (kind == Kind.Float) return ColumnType.Float;
  return kind == Kind.Text ? ColumnType.Text : ColumnType.Bool;
}

/** A JSON string with what must be escaped escaped. */
function writeQuoted(out: ByteBuffer, at: usize, length: u32): void {
  out.u8(0x22);
  for (let i: u32 = 0; i < length; i++) {
    const c = load<u8>(at + i);
    if (c == 0x22 || c == 0x5c) {
      out.u8(0x5c);
      out.u8(c);
    } else if (c < 0x20) {
      out.u32(0x3030755c); // \u00
      out.u8(c < 16 ? 0x30 : 0x31);
      out.u8((c & 15) < 10 ? 0x30 + (c & 15) : 0x57 + (c & 15));
    } else {
      out.u8(c);
    }
  }
  out.u8(0x22);
}
