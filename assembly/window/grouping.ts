import { Batch, Column, FLAG_CLOCK_SKEW } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { UNCOVERED } from "./calendar";
import { appendTextKey, countCandidates, directColumn, findKeyColumns, writeKey } from "./group-key";
import { Plan } from "./plan";

/** A group of one batch: a key in a slice of time, and its rows as a stretch of `Grouping.order`. */
@unmanaged
export class LocalGroup {
  key: u32;
  pane: u32;
  /** How many rows. */
  rows: u32;
  /** Where its rows end in `order`, once they are sorted. */
  end: u32;
}

export const GROUP_SIZE: u32 = offsetof<LocalGroup>();
export const NO_GROUP: u32 = 0xffffffff;
const UNSEEN: u32 = 0xffffffff;
const FIRST_TABLE_SIZE: u32 = 64;
/** With more new texts than this in a block of rows, the next one is numbered without a branch on that. */
const BLOCK_ROWS: u32 = 256;
const MIXED_ROWS: u32 = 16;
/** The flag of clock skew in each of eight rows. */
const SKEWED_ROWS: u64 = 0x0101010101010101;
/** Room for a start; the dictionary may read 16 bytes. */
const startBytes = memory.data(16, 8);

/**
 * Sorts the rows of a batch by (window, key). Keys and windows are numbered in order of first appearance, groups
 * likewise; clock-skewed rows are in none. Cost: one look-up of the key a row (none when the key is a text column), one of
 * the group when the batch has several windows, and a counting sort. In a batch of one window, groups have the numbers of
 * their keys.
 */
@unmanaged
export class Grouping {
  plan: Plan;
  columns: usize; // Column[candidates]
  /** Keys as canonical bytes, by number, unless they are listed. */
  keys: Dictionary;
  /** 1: text ids stand for the keys, so that nobody need look for one: `texts` has them by key. */
  isListed: u32;
  /** Where those texts are. */
  listed: Dictionary;
  texts: ByteBuffer; // u32: text ids of the batch, in order of first appearance
  /** 1: keys are looked for in `keys`. */
  findsKeys: u32;
  scratch: ByteBuffer;
  /** UNSEEN for all texts but those in `texts`. */
  keyOfText: ByteBuffer; // u32 by text id
  /** Where slices start as 8 bytes, by pane. */
  panes: Dictionary;
  /** Odd and unpredictable, so that nobody can send groups that collide. */
  hashFactor: u64;
  groups: ByteBuffer; // LocalGroup by number
  groupCount: u32;
  /** Rows that are in a group. */
  rowCount: u32;
  groupTable: usize; // u32[groupMask + 1], group + 1
  groupMask: u32;
  groupOfRow: ByteBuffer; // u32 by row
  order: ByteBuffer; // u32: rows, by group
  /** Rows that the calendar was found to cover, see `missingTime`. */
  coveredRows: u32;

  static create(plan: Plan): Grouping {
    const self = changetype<Grouping>(heap.alloc(offsetof<Grouping>()));
    self.plan = plan;
    self.columns = heap.alloc(countCandidates(plan) * sizeof<usize>() + 1);
    self.keys = Dictionary.create();
    self.isListed = 0;
    self.listed = changetype<Dictionary>(0);
    self.texts = ByteBuffer.create(4096);
    self.findsKeys = 0;
    self.scratch = ByteBuffer.create(256);
    self.keyOfText = ByteBuffer.create(4096);
    self.panes = Dictionary.create();
    self.hashFactor = self.keys.seedLow | 1;
    self.groups = ByteBuffer.create(4096);
    self.groupCount = 0;
    self.rowCount = 0;
    self.groupMask = FIRST_TABLE_SIZE - 1;
    self.groupTable = heap.alloc(FIRST_TABLE_SIZE << 2);
    self.groupOfRow = ByteBuffer.create(4096);
    self.order = ByteBuffer.create(4096);
    self.coveredRows = 0;
    return self;
  }

  dispose(): void {
    heap.free(this.columns);
    this.keys.dispose();
    this.texts.dispose();
    this.scratch.dispose();
    this.keyOfText.dispose();
    this.panes.dispose();
    this.groups.dispose();
    heap.free(this.groupTable);
    this.groupOfRow.dispose();
    this.order.dispose();
    heap.free(changetype<usize>(this));
  }

  @inline group(index: u32): LocalGroup {
    return changetype<LocalGroup>(this.groups.data + index * GROUP_SIZE);
  }

  @inline get keyCount(): u32 {
    return this.isListed ? this.texts.length >> 2 : this.keys.count;
  }

  /** The text that is the key, where keys are listed. */
  @inline textOf(key: u32): u32 {
    return load<u32>(this.texts.data + (<usize>key << 2));
  }

  /** Appends a key: its length u32, its bytes. */
  @inline writeKey(out: ByteBuffer, key: u32): void {
    if (this.isListed) {
      appendTextKey(out, this.listed, this.textOf(key));
      return;
    }
    const length = this.keys.length(key);
    const at = out.reserve(4 + length);
    store<u32>(at, length);
    memory.copy(at + 4, this.keys.pointer(key), length);
    out.length += 4 + length;
  }

  @inline paneStart(index: u32): i64 {
    return load<i64>(this.panes.pointer(index));
  }

  /**
   * A time that no page of the calendar covers yet, or `UNCOVERED` when there is none; `number` needs them all. Goes on where
   * it was but for the first call for a batch.
   */
  missingTime(batch: Batch, isFirst: bool): i64 {
    const axis = this.plan.axis;
    if (!axis.isCalendar) return UNCOVERED;
    const calendar = axis.calendar;
    if (isFirst) this.coveredRows = 0;
    for (; this.coveredRows < batch.rows; this.coveredRows++) {
      const row = this.coveredRows;
      if (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) continue;
      const time = load<i64>(batch.times + (<usize>row << 3));
      if (!calendar.covers(time)) return time;
    }
    return UNCOVERED;
  }

  /** Numbers every row's group: `groupOfRow`, `groups`, `keys`, `panes`. */
  number(batch: Batch): void {
    this.reset(batch.rows);
    findKeyColumns(this.plan, batch, this.columns);
    const direct = directColumn(this.plan, this.columns);
    const isDirect = changetype<usize>(direct) != 0;
    const isGlobal = this.plan.slotCount == 0;
    if (isDirect) this.prepareTexts(direct.dictionary.count);
    this.isListed = isDirect && !this.findsKeys ? 1 : 0;
    if (this.isListed) {
      this.listed = direct.dictionary;
      if (this.isOneWindow(batch)) {
        this.numberTexts(batch, direct);
        return;
      }
    }
    if (isGlobal) this.keys.intern(this.scratch.data, 0);
    const groupOfRow = this.groupOfRow.data;
    const times = batch.times;
    const flags = batch.flags;
    const axis = this.plan.axis;
    let start: i64 = 0;
    let end: i64 = i64.MIN_VALUE;
    let pane: u32 = 0;
    let isOneWindow = true;
    let counted: u32 = 0;
    for (let row: u32 = 0; row < batch.rows; row++) {
      const place = groupOfRow + (<usize>row << 2);
      if (load<u8>(flags + row) & FLAG_CLOCK_SKEW) {
        store<u32>(place, NO_GROUP);
        continue;
      }
      const time = load<i64>(times + (<usize>row << 3));
      if (time >= end || time < start) {
        const slice = axis.sliceOf(time);
        start = axis.sliceStart(slice);
        end = axis.sliceStart(slice + 1);
        const known = this.panes.count;
        pane = this.paneAt(start);
        if (known == 1 && this.panes.count == 2) this.indexGroups(batch.rows);
        isOneWindow = this.panes.count == 1;
      }
      let key: u32 = 0;
      if (isDirect) {
        const id = load<u32>(direct.cell(row));
        key = load<u32>(this.keyOfText.data + (<usize>id << 2));
        if (key == UNSEEN) key = this.isListed ? this.listText(id) : this.internRow(row, id);
      } else if (!isGlobal) key = this.internRow(row, UNSEEN);
      let group = key;
      if (!isOneWindow) group = this.groupAt(key, pane);
      else if (key == this.groupCount) this.addGroup(key, pane);
      this.group(group).rows++;
      store<u32>(place, group);
      counted++;
    }
    this.rowCount = counted;
  }

  /** Sorts the rows by group: group g's rows are then order[g.end − g.rows, g.end). */
  sort(rows: u32): void {
    let sum: u32 = 0;
    for (let g: u32 = 0; g < this.groupCount; g++) {
      const group = this.group(g);
      group.end = sum;
      sum += group.rows;
    }
    const order = this.order.data;
    const groupOfRow = this.groupOfRow.data;
    for (let row: u32 = 0; row < rows; row++) {
      const g = load<u32>(groupOfRow + (<usize>row << 2));
      if (g == NO_GROUP) continue;
      const group = this.group(g);
      store<u32>(order + (<usize>group.end << 2), row);
      group.end++;
    }
  }

  private reset(rows: u32): void {
    this.keys.reset();
    for (let at: u32 = 0; at < this.texts.length; at += 4) {
      store<u32>(this.keyOfText.data + (<usize>load<u32>(this.texts.data + at) << 2), UNSEEN);
    }
    this.texts.reset();
    this.panes.reset();
    this.groups.reset();
    this.groupCount = 0;
    this.groupOfRow.reset();
    this.groupOfRow.reserve(rows << 2);
    this.order.reset();
    this.order.reserve(rows << 2);
  }

  /** Once there is a second window, groups are found by their key and window. */
  private indexGroups(rows: u32): void {
    let size = FIRST_TABLE_SIZE;
    while (size < rows << 1) size <<= 1;
    if (size > this.groupMask + 1) {
      heap.free(this.groupTable);
      this.groupTable = heap.alloc(<usize>size << 2);
    }
    this.groupMask = size - 1;
    memory.fill(this.groupTable, 0, <usize>size << 2);
    for (let g: u32 = 0; g < this.groupCount; g++) {
      let slot = this.slotOf(this.group(g).key, this.group(g).pane);
      while (load<u32>(this.groupTable + (<usize>slot << 2)) != 0) slot = (slot + 1) & this.groupMask;
      store<u32>(this.groupTable + (<usize>slot << 2), g + 1);
    }
  }

  @inline private slotOf(key: u32, pane: u32): u32 {
    return <u32>((((<u64>pane << 32) | <u64>key) * this.hashFactor) >> 32) & this.groupMask;
  }

  /** Makes room for the keys of texts; those that were there are UNSEEN again. */
  private prepareTexts(count: u32): void {
    const known = this.keyOfText.length;
    const wanted = count << 2;
    if (wanted <= known) return;
    memory.fill(this.keyOfText.reserve(wanted - known), 0xff, wanted - known);
    this.keyOfText.length = wanted;
  }

  /** Whether every row is in one and the same window: none is clock-skewed. */
  private isOneWindow(batch: Batch): bool {
    const rows = batch.rows;
    if (rows == 0) return false;
    let flags: u64 = 0;
    const end = batch.flags + rows;
    let at = batch.flags;
    for (; at + 8 <= end; at += 8) flags |= load<u64>(at);
    for (; at < end; at++) flags |= load<u8>(at);
    if (flags & SKEWED_ROWS) return false;
    let least: i64 = i64.MAX_VALUE;
    let greatest: i64 = i64.MIN_VALUE;
    for (let row: u32 = 0; row < rows; row++) {
      const time = load<i64>(batch.times + (<usize>row << 3));
      least = time < least ? time : least;
      greatest = time > greatest ? time : greatest;
    }
    return this.plan.axis.sliceOf(least) == this.plan.axis.sliceOf(greatest);
  }

  /** `number` of a batch of one window whose keys are texts. */
  private numberTexts(batch: Batch, column: Column): void {
    const axis = this.plan.axis;
    const rows = batch.rows;
    const pane = this.paneAt(axis.sliceStart(axis.sliceOf(load<i64>(batch.times))));
    const groups = this.groups.reserve((rows + 1) * GROUP_SIZE);
    const texts = this.texts.reserve((rows + 1) << 2);
    const groupOfRow = this.groupOfRow.data;
    const keyOfText = this.keyOfText.data;
    const cells = column.cells;
    let count: u32 = 0;
    let isMixed = true;
    for (let from: u32 = 0; from < rows; from += BLOCK_ROWS) {
      const to = min(from + BLOCK_ROWS, rows);
      const before = count;
      for (let row = from; row < to; row++) {
        const id = load<u32>(cells + (<usize>row << 3));
        const place = keyOfText + (<usize>id << 2);
        let key = load<u32>(place);
        const isNew = key == UNSEEN;
        // Where many are new but not all, nobody foresees which. What is written behind the last group then means nothing.
        if (isMixed || isNew) {
          key = isNew ? count : key;
          store<u32>(place, key);
          store<u32>(texts + (<usize>count << 2), id);
          const next = groups + <usize>count * GROUP_SIZE;
          store<u64>(next, (<u64>pane << 32) | <u64>count, offsetof<LocalGroup>("key"));
          store<u32>(next, 0, offsetof<LocalGroup>("rows"));
          count += <u32>isNew;
        }
        changetype<LocalGroup>(groups + <usize>key * GROUP_SIZE).rows++;
        store<u32>(groupOfRow + (<usize>row << 2), key);
      }
      isMixed = count - before > MIXED_ROWS;
    }
    this.groupCount = count;
    this.rowCount = rows;
    this.groups.length = count * GROUP_SIZE;
    this.texts.length = count << 2;
  }

  /** The number of a row's key; text id `id` then stands for it. */
  private internRow(row: u32, id: u32): u32 {
    this.scratch.reset();
    writeKey(this.scratch, this.plan, this.columns, row);
    const key = this.keys.intern(this.scratch.data, this.scratch.length);
    if (id == UNSEEN) return key;
    this.texts.u32(id);
    store<u32>(this.keyOfText.data + (<usize>id << 2), key);
    return key;
  }

  /** The number of the key that a text is. Another text is another key, so none need be found. */
  private listText(id: u32): u32 {
    const key = this.texts.length >> 2;
    this.texts.u32(id);
    store<u32>(this.keyOfText.data + (<usize>id << 2), key);
    return key;
  }

  private paneAt(start: i64): u32 {
    store<i64>(startBytes, start);
    return this.panes.intern(startBytes, 8);
  }

  @inline private groupAt(key: u32, pane: u32): u32 {
    const mask = this.groupMask;
    let slot = this.slotOf(key, pane);
    while (true) {
      const stored = load<u32>(this.groupTable + (<usize>slot << 2));
      if (stored == 0) {
        store<u32>(this.groupTable + (<usize>slot << 2), this.groupCount + 1);
        return this.addGroup(key, pane);
      }
      const group = this.group(stored - 1);
      if (group.key == key && group.pane == pane) return stored - 1;
      slot = (slot + 1) & mask;
    }
  }

  private addGroup(key: u32, pane: u32): u32 {
    const index = this.groupCount++;
    this.groups.reserve(GROUP_SIZE);
    this.groups.length += GROUP_SIZE;
    const group = this.group(index);
    group.key = key;
    group.pane = pane;
    group.rows = 0;
    return index;
  }
}
