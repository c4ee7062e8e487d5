import { Batch, Column, ColumnType } from "../batch/batch";
import { writeDouble, writeInteger } from "../codec/numbers";
import { widenColumn, widerOf } from "../codec/widen";
import { appendExtra } from "./extra";
import { ExtraPolicy, MAX_COLUMNS, NOT_A_TIME, Plan } from "./field";
import { MARK_KEY, MARK_TIME, timeMark } from "./key";
import { decimalExponent, isNegative, mantissa, readNumber } from "./number";
import { Parser } from "./parser";
import { failAt, failWith, Problem } from "./problem";
import { Kind, Member, memberAt, memberCount, rowMemory } from "./staging";
import { readIsoTime, timeOfNumber, timeUs, Unit } from "./time";
import { FEED_IN_DOCUMENT } from "./value";

const TWO_TO_63: f64 = 9223372036854775808.0;
const NUMBER_BYTES: u32 = 64;
const WHOLE_LINE: i32 = -1;
const NO_MEMBER: u32 = 0xffffffff;

/** Which member a problem is about, or `WHOLE_LINE`. */
export let faultyMember: i32 = WHOLE_LINE;

/**
 * Makes the members that were read the batch's next row: checks everything first, so that a bad row changes nothing, then
 * adds and widens columns as needed. Gives false when the row is bad.
 */
export function commitMembers(parser: Parser): bool {
  faultyMember = WHOLE_LINE;
  const batch = parser.batch;
  const plan = parser.plan;
  const timeIndex = findTime();
  parser.rowMarks = 0;
  if (timeIndex != NO_MEMBER) {
    faultyMember = timeIndex;
    if (!readTime(memberAt(timeIndex), plan.unit)) return fail(Problem.Time, memberAt(timeIndex).raw);
    parser.rowTimeUs = timeUs;
    parser.rowMarks = MARK_TIME | timeMark(memberAt(timeIndex).field.timeRank);
  }
  let newColumns: u32 = 0;
  for (let i: u32 = 0; i < memberCount; i++) {
    faultyMember = i;
    const member = memberAt(i);
    if (i == timeIndex || member.isReplaced) continue;
    if (!checkMember(parser, member)) return false;
    if (member.kind == Kind.Null || !takesColumn(plan, batch, member) || hasColumn(member)) continue;
    newColumns++;
    if (plan.extra == ExtraPolicy.Reject && batch.columnCount + newColumns > MAX_COLUMNS) {
      return fail(Problem.Undeclared, member.raw);
    }
  }
  faultyMember = WHOLE_LINE;
  if (plan.isTimeDeclared && timeIndex == NO_MEMBER) return fail(Problem.NoTime, 0);
  if (plan.isKeyDeclared && (parser.rowMarks & MARK_KEY) == 0) return fail(Problem.NoKey, 0);
  if (!parser.hasRoom() || !parser.hasRoomForColumns(newColumns)) return fail(Problem.BatchTooLarge, 0);

  const extraStart = batch.extra.bytes.length;
  for (let i: u32 = 0; i < memberCount; i++) {
    const member = memberAt(i);
    if (i == timeIndex || member.isReplaced) continue;
    if (takesColumn(plan, batch, member)) {
      if (member.kind != Kind.Null) setColumn(parser, member);
    } else if (plan.extra == ExtraPolicy.Keep && !isUnusedTime(member)) {
      const isDocument = parser.lineFeed == FEED_IN_DOCUMENT;
      if (!appendExtra(batch, extraStart, member.path, member.pathLength, member.raw, member.rawEnd, isDocument)) {
        parser.rollBack(extraStart);
        return fail(Problem.BatchTooLarge, 0);
      }
    }
  }
  return parser.endRow(extraStart);
}

function fail(problem: Problem, at: usize): bool {
  failAt(problem, at);
  return false;
}

@inline
function isField(member: Member): bool {
  return changetype<usize>(member.field) != 0;
}

@inline
function hasColumn(member: Member): bool {
  return isField(member) && member.field.hasColumn();
}

/** The member that holds the event time, or `NO_MEMBER`. */
function findTime(): u32 {
  let found = NO_MEMBER;
  let rank = NOT_A_TIME;
  for (let i: u32 = 0; i < memberCount; i++) {
    const member = memberAt(i);
    if (member.isReplaced || !isField(member) || member.kind == Kind.Null || member.field.timeRank >= rank) continue;
    rank = member.field.timeRank;
    found = i;
  }
  return found;
}

function readTime(member: Member, unit: Unit): bool {
  if (member.kind == Kind.Text) {
    const end = member.text + member.textLength;
    if (readIsoTime(member.text, end)) return true;
    if (member.textLength == 0 || member.textLength > NUMBER_BYTES) return false;
    // A copy, for a number ends only at what is no part of a number.
    const copy = rowMemory(member.textLength);
    memory.copy(copy, member.text, member.textLength);
    store<u64>(copy + member.textLength, 0);
    return unit != Unit.Iso && readNumber(copy) == copy + member.textLength && timeOfRead(unit);
  }
  if ((member.kind != Kind.Int && member.kind != Kind.Float) || unit == Unit.Iso) return false;
  return readNumber(member.raw) != 0 && timeOfRead(unit);
}

@inline
function timeOfRead(unit: Unit): bool {
  return timeOfNumber(isNegative, mantissa, decimalExponent, unit);
}

/** A candidate for the event time that is null, so that it has nothing to keep. */
@inline
function isUnusedTime(member: Member): bool {
  return member.kind == Kind.Null && isField(member) && member.field.timeRank != NOT_A_TIME;
}

/** Whether the value goes to a column, rather than to the extra column or nowhere. */
function takesColumn(plan: Plan, batch: Batch, member: Member): bool {
  return member.kind != Kind.Raw && plan.takes(member.field, member.pathLength, batch);
}

/** Whether the member may stand where it stands. Marks a key. */
function checkMember(parser: Parser, member: Member): bool {
  const plan = parser.plan;
  if (member.kind == Kind.Null && (isUnusedTime(member) || plan.takes(member.field, member.pathLength, parser.batch))) return true;
  if (isField(member)) {
    const declared = member.field.declaredType;
    if (declared != ColumnType.Null && !fitsDeclared(member, declared)) {
      failWith(Problem.Type, member.raw, <u32>declared | ((<u32>member.kind) << 8));
      return false;
    }
    if (member.field.isKey) {
      if (member.kind == Kind.Raw && plan.isKeyDeclared) return fail(Problem.Key, member.raw);
      if (member.kind != Kind.Raw) parser.rowMarks |= MARK_KEY;
    }
  }
  if (plan.extra != ExtraPolicy.Reject || takesColumn(plan, parser.batch, member)) return true;
  if (member.kind == Kind.Raw && load<u8>(member.raw) == 0x5b && !plan.isDeclared) return fail(Problem.Array, member.raw);
  return fail(Problem.Undeclared, member.raw);
}

function fitsDeclared(member: Member, declared: ColumnType): bool {
  const kind = member.kind;
  if (declared == ColumnType.Float) return kind == Kind.Float || kind == Kind.Int;
  if (declared == ColumnType.Bool) return kind == Kind.Bool;
  // A cell of CSV has no type of its own.
  if (declared == ColumnType.Text) return kind == Kind.Text || (kind != Kind.Raw && member.text != 0);
  if (kind == Kind.Int) return true;
  const value = reinterpret<f64>(member.bits);
  return kind == Kind.Float && value == trunc<f64>(value) && value >= -TWO_TO_63 && value < TWO_TO_63;
}

/** Sets the row's cell, in a column that is added or widened as needed. */
function setColumn(parser: Parser, member: Member): void {
  const batch = parser.batch;
  const field = isField(member) ? member.field : parser.plan.add(member.path, member.pathLength);
  const type = typeOfKind(member.kind);
  if (!field.hasColumn()) {
    const index = batch.addColumn(field.path, field.pathLength, type);
    field.column = changetype<usize>(batch.column(index));
    parser.isStale = 1;
  }
  const column = field.columnOf;
  if (!column.isDeclared) {
    const wider = widerOf(column.type, type);
    if (wider != column.type) {
      widenColumn(column, wider);
      parser.isStale = 1;
    }
  }
  const row = batch.rows;
  column.fillNulls(row);
  store<u64>(column.cell(row), cellOf(column, member));
  store<u8>(column.valid + row, 1);
  column.filled = row + 1;
}

function typeOfKind(kind: Kind): ColumnType {
  if (kind == Kind.Bool) return ColumnType.Bool;
  if (kind == Kind.Int) return ColumnType.Int;
  return kind == Kind.Float ? ColumnType.Float : ColumnType.Text;
}

/** The value as the column holds it, which is of its type or wider. */
function cellOf(column: Column, member: Member): u64 {
  const kind = member.kind;
  if (column.type == ColumnType.Text) return column.dictionary.intern(textOf(member), member.textLength);
  if (column.type == ColumnType.Float && kind == Kind.Int) return reinterpret<u64>(floatOfInt(member));
  if (column.type == ColumnType.Int && kind == Kind.Float) return <u64><i64>reinterpret<f64>(member.bits);
  return member.bits;
}

function floatOfInt(member: Member): f64 {
  const value = <f64><i64>member.bits;
  // -0 is spelled as an integer, but is none.
  return value == 0 && load<u8>(member.raw) == 0x2d ? -0.0 : value;
}

/** The value as text; sets its length. */
function textOf(member: Member): usize {
  if (member.text != 0) return member.text;
  const text = rowMemory(NUMBER_BYTES);
  if (member.kind == Kind.Int) {
    member.textLength = writeInteger(<i64>member.bits, text);
  } else if (member.kind == Kind.Float) {
    member.textLength = writeDouble(reinterpret<f64>(member.bits), text);
  } else {
    member.textLength = member.bits ? 4 : 5;
    store<u32>(text, member.bits ? 0x65757274 : 0x736c6166);
    store<u8>(text, 0x65, 4);
  }
  return text;
}
