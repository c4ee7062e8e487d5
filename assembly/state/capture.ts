import { ByteBuffer } from "../memory/bytes";

/** Beyond this the memory of a run of pieces is given back once they are taken. */
const KEPT_BYTES: u32 = 1024 * 1024;
/** Records of keys that are gone may wait for the next capture; beyond this that one begins anew. */
const MAX_GONE_BYTES: u32 = 1024 * 1024;
/** The mark of what has been made just now; `touch` gives it another at once. */
export const NEW_MARK: u32 = 0xffffffff;

/** What `next` of either engine says. */
export const enum Step {
  /** All has been handed out: the capture is over. */
  Done = 0,
  /** A piece is in `pieceAt`, `pieceLength`. */
  Piece = 1,
  /** Looked at as much as is looked at in one go. */
  Looking = 2,
}

/**
 * Hands out a state as it was at one moment while it goes on changing: a copy on write of single records.
 *
 * Each record (a group of a pane, a key of keyed windows) has a mark: 2e when it was handed out in capture e and has not
 * changed since, 2e + 1 when it was changed after capture e began. So capture e takes those marked below 2e: all of them
 * when it is whole, else the odd ones. A record is written when its turn comes, or right before its first change, whichever
 * is first.
 *
 * Invariant: whoever changes a record calls `touch` of its engine before.
 */
@unmanaged
export class Capture {
  /** The number of the capture under way, or of the last. */
  epoch: u32;
  /** The mark of a record that is changed now. */
  changed: u32;
  isOn: u32;
  /** Takes every record, not those alone that have changed since the one before. */
  isWhole: u32;
  /** The next one must be whole: records of keys that are gone were lost. */
  needsWhole: u32;
  /** Fields when it began: later ones are no part of it. */
  fieldCount: u32;
  /** A piece ends with the record that reaches this many bytes. */
  pieceBytes: u32;
  /** Records looked at in one go. */
  lookRecords: u32;
  /** Where the next look goes on. */
  cursor: u32;
  /** Records that were written, in pieces; `cuts` has their ends. */
  saved: ByteBuffer;
  cuts: ByteBuffer; // u32
  taken: u32;
  lastCut: u32;
  /** Where the record being written begins. */
  recordAt: u32;
  gone: ByteBuffer;

  static create(): Capture {
    const self = changetype<Capture>(heap.alloc(offsetof<Capture>()));
    self.epoch = 1;
    self.changed = 3;
    self.isOn = 0;
    self.isWhole = 0;
    self.needsWhole = 1;
    self.fieldCount = 0;
    self.pieceBytes = 0;
    self.lookRecords = 0;
    self.cursor = 0;
    self.saved = ByteBuffer.create(256);
    self.cuts = ByteBuffer.create(64);
    self.gone = ByteBuffer.create(64);
    self.empty();
    return self;
  }

  dispose(): void {
    this.saved.dispose();
    this.cuts.dispose();
    this.gone.dispose();
    heap.free(changetype<usize>(this));
  }

  begin(isWhole: bool, fieldCount: u32): void {
    this.empty();
    this.epoch++;
    this.changed = (this.epoch << 1) | 1;
    this.isOn = 1;
    this.isWhole = isWhole ? 1 : 0;
    this.fieldCount = fieldCount;
    this.cursor = 0;
    if (!isWhole && this.gone.length != 0) {
      this.saved.append(this.gone.data, this.gone.length);
      this.cut();
    }
    this.gone.reset();
    this.needsWhole = 0;
  }

  /** Ends it; unless all of it was kept, the next one must be whole. */
  end(isKept: bool): void {
    this.isOn = 0;
    if (!isKept) this.needsWhole = 1;
    this.empty();
  }

  /** Whether a record with that mark is still to be written; false while there is no capture. */
  @inline isDue(mark: u32): bool {
    return this.isOn != 0 && mark < this.epoch << 1 && (this.isWhole != 0 || (mark & 1) != 0);
  }

  @inline get clean(): u32 {
    return this.epoch << 1;
  }

  /** Begins a record: its length, u32, which `endRecord` fills in, stands in front of it. */
  beginRecord(): ByteBuffer {
    const saved = this.saved;
    this.recordAt = saved.length;
    saved.u32(0);
    return saved;
  }

  endRecord(): void {
    const saved = this.saved;
    store<u32>(saved.data + this.recordAt, saved.length - this.recordAt - 4);
    if (saved.length - this.lastCut >= this.pieceBytes) this.cut();
  }

  /** A key of which the capture before may have a record is gone, and so is its number. */
  noteGone(key: usize, length: u32): void {
    if (this.needsWhole) return;
    if (this.gone.length > MAX_GONE_BYTES) {
      this.needsWhole = 1;
      this.gone.reset();
      return;
    }
    writeGone(this.gone, key, length);
  }

  private cut(): void {
    this.cuts.u32(this.saved.length);
    this.lastCut = this.saved.length;
  }

  @inline get hasPiece(): bool {
    return this.taken < this.cuts.length >> 2;
  }

  /** Ends the last piece; false when there is nothing in it. */
  finishPiece(): bool {
    if (this.saved.length == this.lastCut) return false;
    this.cut();
    return true;
  }

  get pieceAt(): usize {
    return this.saved.data + this.startOf(this.taken - 1);
  }

  get pieceLength(): u32 {
    return load<u32>(this.cuts.data + ((this.taken - 1) << 2)) - this.startOf(this.taken - 1);
  }

  private startOf(piece: u32): u32 {
    return piece == 0 ? 0 : load<u32>(this.cuts.data + ((piece - 1) << 2));
  }

  /** Forgets pieces that were all taken; what has come behind them moves to their place. */
  tidy(): void {
    if (this.taken == 0 || this.hasPiece) return;
    const rest = this.saved.length - this.lastCut;
    if (rest > KEPT_BYTES >> 1) return;
    memory.copy(this.saved.data, this.saved.data + this.lastCut, rest);
    this.taken = 0;
    this.lastCut = 0;
    this.cuts.reset();
    this.saved.length = rest;
    if (this.saved.capacity <= KEPT_BYTES) return;
    const kept = ByteBuffer.create(KEPT_BYTES);
    kept.append(this.saved.data, rest);
    this.saved.dispose();
    this.saved = kept;
  }

  private empty(): void {
    this.saved.reset();
    this.cuts.reset();
    this.taken = 0;
    this.lastCut = 0;
    if (this.saved.capacity <= KEPT_BYTES) return;
    this.saved.dispose();
    this.saved = ByteBuffer.create(256);
  }

  bytes(): f64 {
    return <f64>this.saved.capacity + <f64>this.gone.capacity;
  }
}

/** A record that says that a key is gone: key's length u32, its bytes, nothing else. */
export function writeGone(out: ByteBuffer, key: usize, length: u32): void {
  out.u32(4 + length);
  out.u32(length);
  out.append(key, length);
}
