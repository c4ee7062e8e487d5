import { Batch, FLAG_CLOCK_SKEW } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { countCandidates, directColumn, findKeyColumns, writeKey } from "../window/group-key";
import { Plan } from "../window/plan";

/** What a row says of its key; the numbers are those of `workers/alert/event-rows.ts`. */
const enum Verdict {
  None = 0,
  /** `when` is true. */
  True = 1,
  /** It is time to clear. */
  Clear = 2,
  /** Neither: what fires goes on, what is pending ends. */
  Between = 3,
}

/** One key's rows so far in this batch. */
@unmanaged
class Track {
  /** The last verdict that counted. */
  last: u32;
  hasTrue: u32;
  /** Rows of the run of true ones that goes on. */
  run: u32;
  /** Their greatest time. */
  latest: i64;
}

const TRACK_SIZE: u32 = offsetof<Track>();
const UNSEEN: u32 = 0xffffffff;
/** Bytes of an entry before its key: its length, row, verdict and key's length, u32 each, then the time, i64. */
const ENTRY_HEAD: u32 = 24;

/**
 * Leaves of a batch's rows those that can change where an alert stands, whatever came before the batch. Of a run of true
 * rows of a key these are the first `runRows`, or, `byTime`, those later than all before them in the run; of others,
 * those that differ from the one before. Cost: a look-up of the key a row, none when the key is a text column.
 */
@unmanaged
export class Decisive {
  keyPlan: Plan;
  valuePlan: Plan;
  keyColumns: usize;
  valueColumns: usize;
  runRows: u32;
  byTime: u32;
  keys: Dictionary;
  keyOfText: ByteBuffer; // u32 by text id
  tracks: ByteBuffer; // Track by key
  scratch: ByteBuffer;
  /** Entries of keys that had a true row before or by then. */
  main: ByteBuffer;
  /** Entries before any true row of their key: they matter only to keys that are pending or firing. */
  leading: ByteBuffer;

  static create(keyPlan: Plan, valuePlan: Plan, runRows: u32, byTime: u32): Decisive {
    const self = changetype<Decisive>(heap.alloc(offsetof<Decisive>()));
    self.keyPlan = keyPlan;
    self.valuePlan = valuePlan;
    self.keyColumns = heap.alloc(countCandidates(keyPlan) * sizeof<usize>() + 1);
    self.valueColumns = heap.alloc(countCandidates(valuePlan) * sizeof<usize>() + 1);
    self.runRows = runRows;
    self.byTime = byTime;
    self.keys = Dictionary.create();
    self.keyOfText = ByteBuffer.create(4096);
    self.tracks = ByteBuffer.create(4096);
    self.scratch = ByteBuffer.create(256);
    self.main = ByteBuffer.create(256);
    self.leading = ByteBuffer.create(4096);
    return self;
  }

  dispose(): void {
    this.keyPlan.dispose();
    this.valuePlan.dispose();
    heap.free(this.keyColumns);
    heap.free(this.valueColumns);
    this.keys.dispose();
    this.keyOfText.dispose();
    this.tracks.dispose();
    this.scratch.dispose();
    this.main.dispose();
    this.leading.dispose();
    heap.free(changetype<usize>(this));
  }

  /** `when` and `clear` (0: not when) are masks of a byte a row. `main` and `leading` then hold the entries. */
  scan(batch: Batch, when: usize, clear: usize): void {
    this.keys.reset();
    this.tracks.reset();
    this.main.reset();
    this.leading.reset();
    findKeyColumns(this.keyPlan, batch, this.keyColumns);
    findKeyColumns(this.valuePlan, batch, this.valueColumns);
    const direct = directColumn(this.keyPlan, this.keyColumns);
    const isDirect = changetype<usize>(direct) != 0;
    if (isDirect) {
      this.keyOfText.reset();
      const count = direct.dictionary.count;
      memory.fill(this.keyOfText.reserve(count << 2), 0xff, <usize>count << 2);
    }
    for (let row: u32 = 0; row < batch.rows; row++) {
      if (load<u8>(batch.flags + row) & FLAG_CLOCK_SKEW) continue;
      let verdict = Verdict.Between;
      if (load<u8>(when + row)) verdict = Verdict.True;
      else if (clear == 0 || load<u8>(clear + row)) verdict = Verdict.Clear;
      let key: u32;
      if (isDirect) {
        const id = load<u32>(direct.cell(row));
        const place = this.keyOfText.data + (<usize>id << 2);
        key = load<u32>(place);
        if (key == UNSEEN) {
          key = this.internRow(row);
          store<u32>(place, key);
        }
      } else key = this.internRow(row);
      this.judge(batch, row, verdict, key);
    }
  }

  private judge(batch: Batch, row: u32, verdict: Verdict, key: u32): void {
    const track = changetype<Track>(this.tracks.data + key * TRACK_SIZE);
    const time = load<i64>(batch.times + (<usize>row << 3));
    if (verdict == Verdict.True) {
      if (track.last != <u32>Verdict.True) {
        track.run = 0;
        track.latest = i64.MIN_VALUE;
      }
      track.last = <u32>Verdict.True;
      track.hasTrue = 1;
      track.run++;
      const isLater = track.run == 1 || time > track.latest;
      track.latest = max(track.latest, time);
      if (this.byTime ? isLater : track.run <= this.runRows) this.write(this.main, batch, row, verdict, key, time);
      return;
    }
    if (track.last == <u32>verdict) return;
    if (verdict == Verdict.Between) {
      // After a row that clears nothing is left to end; and where one sample is enough nothing is ever pending.
      if (track.last == <u32>Verdict.Clear || (this.byTime == 0 && this.runRows == 1)) return;
    }
    track.last = <u32>verdict;
    this.write(track.hasTrue ? this.main : this.leading, batch, row, verdict, key, time);
  }

  private write(out: ByteBuffer, batch: Batch, row: u32, verdict: Verdict, key: u32, time: i64): void {
    const start = out.length;
    const keyLength = this.keys.length(key);
    const at = out.reserve(ENTRY_HEAD + keyLength);
    store<u32>(at, row, 4);
    store<u32>(at, <u32>verdict, 8);
    store<u32>(at, keyLength, 12);
    store<i64>(at, time, 16);
    memory.copy(at + ENTRY_HEAD, this.keys.pointer(key), keyLength);
    out.length += ENTRY_HEAD + keyLength;
    writeKey(out, this.valuePlan, this.valueColumns, row);
    store<u32>(out.data + start, out.length - start);
  }

  private internRow(row: u32): u32 {
    this.scratch.reset();
    writeKey(this.scratch, this.keyPlan, this.keyColumns, row);
    // Short texts are read in blocks of 16 bytes.
    this.scratch.reserve(16);
    const key = this.keys.intern(this.scratch.data, this.scratch.length);
    if (key * TRACK_SIZE == this.tracks.length) {
      memory.fill(this.tracks.reserve(TRACK_SIZE), 0, TRACK_SIZE);
      this.tracks.length += TRACK_SIZE;
    }
    return key;
  }
}
