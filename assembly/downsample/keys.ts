import { Batch, Column, ColumnType } from "../batch/batch";
import { Dictionary } from "../memory/dictionary";

/**
 * A group's key as a string whose bytes have the order of keys: nothing where no field has a value, else the field's place
 * among those that may hold the key (u32, its highest byte first), the kind of value, and the value. A whole number is the
 * same key in a column of integers and in one of floats; all that is not a number is one key.
 */
export const enum KeyKind {
  Bool = 1,
  /** i64, the highest byte first, its sign turned round. */
  Whole = 2,
  /** f64, as bits that have the order of doubles, the highest byte first. */
  Fraction = 3,
  Text = 4,
}

export const KEY_HEAD: u32 = 5;
const NUMBER_KEY: u32 = KEY_HEAD + 8;
/** A row has no key yet. */
const NONE: u32 = 0xffffffff;
const SIGN: u64 = 0x8000000000000000;
const QUIET_NAN: u64 = 0x7ff8000000000000;
/** Whole numbers from its negative up to here, exclusive, are the same as integers and as floats. */
const WHOLE_LIMIT: f64 = 9007199254740992;

/** Where keys are made; texts that do not fit have room of their own. */
const ROOM_BYTES: u32 = 256;
const ROOM = memory.data(256, 16);

/** The keys of a field's texts, by their ids in the column's dictionary. */
@unmanaged
class TextKeys {
  /** Of the dictionary; ids of another one mean nothing. */
  identity: u64;
  /** u32 each, `NONE` where the text was not met yet. */
  keys: usize;
  capacity: u32;
}

/** Gives every row of a batch its key. The fields: a u32 length and the bytes of each name. */
@unmanaged
export class Keys {
  fields: usize;
  fieldCount: u32;
  /** Room for rows. */
  capacity: u32;
  /** The keys there are; their ids are what rows get. */
  known: Dictionary;
  /** u32 a row. */
  rows: usize;
  /** `TextKeys` a field: batches that keep their texts need not have them looked up again. */
  byText: usize;

  static create(fields: usize, length: u32, fieldCount: u32): Keys {
    const self = changetype<Keys>(heap.alloc(offsetof<Keys>()));
    self.fields = heap.alloc(length + 1);
    memory.copy(self.fields, fields, length);
    self.fieldCount = fieldCount;
    self.capacity = 0;
    self.known = Dictionary.create();
    self.rows = 0;
    const textBytes = <usize>fieldCount * offsetof<TextKeys>();
    self.byText = heap.alloc(textBytes + 1);
    memory.fill(self.byText, 0, textBytes);
    return self;
  }

  @inline ofRow(row: u32): u32 {
    return load<u32>(this.rows + (<usize>row << 2));
  }

  /** Whether a column is one of those that may hold the key. */
  isField(column: Column): bool {
    let at = this.fields;
    for (let place: u32 = 0; place < this.fieldCount; place++) {
      if (isNamed(column, at)) return true;
      at += 4 + load<u32>(at);
    }
    return false;
  }

  /** Each row's key: that of the first of the fields that has a value in it. */
  assign(batch: Batch): void {
    const count = batch.rows;
    if (count > this.capacity) {
      if (this.rows != 0) heap.free(this.rows);
      this.rows = heap.alloc(<usize>count << 2);
      this.capacity = count;
    }
    memory.fill(this.rows, 0xff, <usize>count << 2);
    let left = count;
    let at = this.fields;
    for (let place: u32 = 0; place < this.fieldCount && left > 0; place++) {
      const index = batch.indexOf(at + 4, load<u32>(at));
      at += 4 + load<u32>(at);
      if (index < 0) continue;
      const column = batch.column(index);
      store<u32>(ROOM, bswap<u32>(place));
      if (column.type == ColumnType.Text) left -= this.assignTexts(column, place, count);
      else if (column.type != ColumnType.Null) left -= this.assignNumbers(column, count);
    }
    if (left > 0) this.assignRest(count);
  }

  dispose(): void {
    for (let place: u32 = 0; place < this.fieldCount; place++) {
      if (this.textKeys(place).keys != 0) heap.free(this.textKeys(place).keys);
    }
    heap.free(this.byText);
    heap.free(this.fields);
    this.known.dispose();
    if (this.rows != 0) heap.free(this.rows);
    heap.free(changetype<usize>(this));
  }

  @inline private textKeys(place: u32): TextKeys {
    return changetype<TextKeys>(this.byText + <usize>place * offsetof<TextKeys>());
  }

  /** Gives how many rows have their key now. */
  private assignTexts(column: Column, place: u32, count: u32): u32 {
    const dictionary = column.dictionary;
    const keys = this.keysOf(dictionary, place);
    let assigned: u32 = 0;
    for (let row: u32 = 0; row < count; row++) {
      if (!column.isValid(row) || this.ofRow(row) != NONE) continue;
      const id = load<u32>(column.cell(row));
      const known = keys + (<usize>id << 2);
      if (load<u32>(known) == NONE) store<u32>(known, this.textKey(dictionary, id, place));
      store<u32>(this.rows + (<usize>row << 2), load<u32>(known));
      assigned++;
    }
    return assigned;
  }

  /** The list of the keys of a dictionary's texts, with room for all of them. */
  private keysOf(dictionary: Dictionary, place: u32): usize {
    const texts = this.textKeys(place);
    if (texts.identity != dictionary.identity) {
      texts.identity = dictionary.identity;
      memory.fill(texts.keys, 0xff, <usize>texts.capacity << 2);
    }
    if (dictionary.count > texts.capacity) {
      const before = texts.capacity;
      texts.capacity = max(dictionary.count, before << 1);
      const bytes = <usize>texts.capacity << 2;
      texts.keys = texts.keys == 0 ? heap.alloc(bytes) : heap.realloc(texts.keys, bytes);
      memory.fill(texts.keys + (<usize>before << 2), 0xff, <usize>(texts.capacity - before) << 2);
    }
    return texts.keys;
  }

  private textKey(texts: Dictionary, id: u32, place: u32): u32 {
    const length = texts.length(id);
    const key = length + KEY_HEAD <= ROOM_BYTES ? ROOM : heap.alloc(length + KEY_HEAD);
    store<u32>(key, bswap<u32>(place));
    store<u8>(key, <u8>KeyKind.Text, 4);
    memory.copy(key + KEY_HEAD, texts.pointer(id), length);
    const found = this.known.intern(key, length + KEY_HEAD);
    if (key != ROOM) heap.free(key);
    return found;
  }

  private assignNumbers(column: Column, count: u32): u32 {
    let assigned: u32 = 0;
    for (let row: u32 = 0; row < count; row++) {
      if (!column.isValid(row) || this.ofRow(row) != NONE) continue;
      const length = putNumber(column.type, load<u64>(column.cell(row)));
      store<u32>(this.rows + (<usize>row << 2), this.known.intern(ROOM, length));
      assigned++;
    }
    return assigned;
  }

  private assignRest(count: u32): void {
    const constant = this.known.intern(ROOM, 0);
    for (let row: u32 = 0; row < count; row++) {
      if (this.ofRow(row) == NONE) store<u32>(this.rows + (<usize>row << 2), constant);
    }
  }
}

/** Whether a column has the name that stands at an address with its length before it. */
export function isNamed(column: Column, name: usize): bool {
  const length = load<u32>(name);
  return column.nameLength == length && memory.compare(column.name, name + 4, length) == 0;
}

/** Puts the kind and the value behind the place that stands in `ROOM`. Gives the key's length. */
function putNumber(type: ColumnType, cell: u64): u32 {
  if (type == ColumnType.Bool) {
    store<u8>(ROOM, <u8>KeyKind.Bool, 4);
    store<u8>(ROOM, <u8>(cell & 1), KEY_HEAD);
    return KEY_HEAD + 1;
  }
  const value = reinterpret<f64>(cell);
  const isWhole =
    type == ColumnType.Int || (value >= -WHOLE_LIMIT && value < WHOLE_LIMIT && floor(value) == value);
  store<u8>(ROOM, <u8>(isWhole ? KeyKind.Whole : KeyKind.Fraction), 4);
  const ordered = isWhole
    ? (type == ColumnType.Int ? cell : <u64>(<i64>value)) ^ SIGN
    : orderOf(value == value ? cell : QUIET_NAN);
  store<u64>(ROOM, bswap<u64>(ordered), KEY_HEAD);
  return NUMBER_KEY;
}

@inline
function orderOf(bits: u64): u64 {
  return bits & SIGN ? ~bits : bits | SIGN;
}

/** The value of a key of that kind. */
export function wholeOf(key: usize): i64 {
  return <i64>(bswap<u64>(load<u64>(key, KEY_HEAD)) ^ SIGN);
}

export function fractionOf(key: usize): f64 {
  const ordered = bswap<u64>(load<u64>(key, KEY_HEAD));
  return reinterpret<f64>(ordered & SIGN ? ordered ^ SIGN : ~ordered);
}
