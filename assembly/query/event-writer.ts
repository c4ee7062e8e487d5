import { Batch, Column, ColumnType } from "../batch/batch";
import { writeDouble, writeInteger } from "../codec/numbers";
import { ByteBuffer } from "../memory/bytes";
import { isPlainObject } from "./extra-members";
import { TIME_BYTES, writeTime } from "./time-text";

/**
 * Writes rows as JSON, as `workers/query/event-json.ts` does, which says what they look like. A program tells the order
 * of members; `workers/query/event-program.ts` makes it from the columns' names.
 */
const enum Op {
  /** A member with the event time. */
  Time = 0,
  /** A member with a column's value, left out when it has none. */
  Value = 1,
  /** A member that is an object … */
  Open = 2,
  /** … and its end: one without members is left out. */
  Close = 3,
}

@unmanaged
class Step {
  op: Op;
  column: u32;
  /** `"name":` */
  label: usize;
  labelLength: u32;
}

@unmanaged
export class Program {
  steps: usize;
  stepCount: u32;
  /** Bytes of all labels. */
  labelBytes: u32;
  /** Names of the members at the top: a u32 length and the bytes, each. */
  roots: usize;
  rootCount: u32;
}

const NUMBER_BYTES: u32 = 40;
/** Open objects at once. */
export const MAX_DEPTH: u32 = 64;
const OPENED = memory.data(64 * 4, 4);
const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const COMMA: u8 = 0x2c;
const OPEN_BRACE: u8 = 0x7b;
const CLOSE_BRACE: u8 = 0x7d;
const HEX = memory.data<u8>([0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66]);

/** Appends the row. False, and nothing appended, when what it keeps verbatim must be woven into its members. */
export function writeEvent(batch: Batch, row: u32, program: Program, out: ByteBuffer): bool {
  const start = out.length;
  const fixed = program.labelBytes + program.stepCount * (NUMBER_BYTES + 2) + TIME_BYTES + 16;
  let at = out.reserve(fixed);
  store<u8>(at++, OPEN_BRACE);
  let depth: usize = 0;
  let step = changetype<Step>(program.steps);
  for (let i: u32 = 0; i < program.stepCount; i++) {
    switch (step.op) {
      case Op.Time:
        at = writeTime(load<i64>(batch.times + (<usize>row << 3)), writeLabel(step, at));
        break;
      case Op.Value: {
        const column = batch.column(step.column);
        if (!column.isValid(row)) break;
        at = writeLabel(step, at);
        if (column.type != ColumnType.Text) {
          at = writeValue(load<u64>(column.cell(row)), column.type, at);
          break;
        }
        out.length = <u32>(at - out.data);
        const id = load<u32>(column.cell(row));
        at = writeText(column, id, out.reserve(fixed + 6 * column.dictionary.length(id) + 16));
        break;
      }
      case Op.Open:
        store<u32>(OPENED + (depth << 2), <u32>(at - out.data));
        depth++;
        at = writeLabel(step, at);
        store<u8>(at++, OPEN_BRACE);
        break;
      default:
        depth--;
        if (load<u8>(at - 1) == OPEN_BRACE) at = out.data + load<u32>(OPENED + (depth << 2));
        else store<u8>(at++, CLOSE_BRACE);
    }
    step = changetype<Step>(changetype<usize>(step) + offsetof<Step>());
  }
  if (batch.extra.isValid(row)) {
    const cell = load<u64>(batch.extra.cell(row));
    const text = batch.extra.bytes.data + <u32>cell;
    const length = <u32>(cell >> 32);
    if (!isPlainObject(text, length, program.roots, program.rootCount)) {
      out.length = start;
      return false;
    }
    if (length > 2) {
      out.length = <u32>(at - out.data);
      at = out.reserve(length + 16);
      if (load<u8>(at - 1) != OPEN_BRACE) store<u8>(at++, COMMA);
      memory.copy(at, text + 1, length - 2);
      at += length - 2;
    }
  }
  store<u8>(at++, CLOSE_BRACE);
  out.length = <u32>(at - out.data);
  return true;
}

@inline
function writeLabel(step: Step, at: usize): usize {
  if (load<u8>(at - 1) != OPEN_BRACE) store<u8>(at++, COMMA);
  memory.copy(at, step.label, step.labelLength);
  return at + step.labelLength;
}

function writeValue(value: u64, type: ColumnType, at: usize): usize {
  if (type == ColumnType.Int) return at + writeInteger(<i64>value, at);
  if (type == ColumnType.Bool) {
    if (value & 1) {
      store<u32>(at, 0x65757274); // true
      return at + 4;
    }
    store<u32>(at, 0x736c6166); // fals
    store<u8>(at, 0x65, 4);
    return at + 5;
  }
  if ((value & 0x7ff0000000000000) == 0x7ff0000000000000) {
    store<u32>(at, 0x6c6c756e); // null
    return at + 4;
  }
  if (value == 0x8000000000000000) store<u8>(at++, 0x2d);
  return at + writeDouble(reinterpret<f64>(value), at);
}

function writeText(column: Column, id: u32, at: usize): usize {
  const length = column.dictionary.length(id);
  store<u8>(at++, QUOTE);
  if (length < 16) {
    // The entry holds short texts with zeros behind them.
    const block = v128.load(changetype<usize>(column.dictionary.entry(id)));
    if ((specials(block) & ((1 << length) - 1)) == 0) {
      v128.store(at, block);
      at += length;
      store<u8>(at, QUOTE);
      return at + 1;
    }
  }
  return writeEscaped(column.dictionary.pointer(id), length, at);
}

/** A bit for each byte that JSON has to escape. */
@inline
function specials(block: v128): i32 {
  const quotes = i8x16.eq(block, i8x16.splat(0x22));
  const slashes = i8x16.eq(block, i8x16.splat(0x5c));
  const controls = i8x16.lt_u(block, i8x16.splat(0x20));
  return i8x16.bitmask(v128.or(v128.or(quotes, slashes), controls));
}

function writeEscaped(source: usize, length: u32, at: usize): usize {
  const end = source + length;
  while (source < end) {
    if (source + 16 <= end) {
      const block = v128.load(source);
      if (specials(block) == 0) {
        v128.store(at, block);
        at += 16;
        source += 16;
        continue;
      }
    }
    at = writeByte(load<u8>(source++), at);
  }
  store<u8>(at, QUOTE);
  return at + 1;
}

/** As JSON.stringify escapes. */
function writeByte(byte: u8, at: usize): usize {
  if (byte >= 0x20 && byte != QUOTE && byte != BACKSLASH) {
    store<u8>(at, byte);
    return at + 1;
  }
  store<u8>(at, BACKSLASH);
  const short = shortEscape(byte);
  store<u8>(at, short, 1);
  if (short != 0x75) return at + 2;
  store<u16>(at, 0x3030, 2);
  store<u8>(at, load<u8>(HEX + (byte >> 4)), 4);
  store<u8>(at, load<u8>(HEX + (byte & 15)), 5);
  return at + 6;
}

function shortEscape(byte: u8): u8 {
  switch (byte) {
    case 8:
      return 0x62; // b
    case 9:
      return 0x74; // t
    case 10:
      return 0x6e; // n
    case 12:
      return 0x66; // f
    case 13:
      return 0x72; // r
    case QUOTE:
    case BACKSLASH:
      return byte;
    default:
      return 0x75; // u
  }
}
