/**
 * SQLite's write-ahead log, as https://www.sqlite.org/fileformat2.html#the_write_ahead_log gives it. A reader stops at the
 * first frame whose checksum is wrong, and says nothing: one flipped bit takes all transactions behind it away. Each
 * frame carries its own running sum, so those behind a damaged one can still be verified, and a single flipped bit can be
 * found and put right.
 */

const HEADER_BYTES = 32;
const FRAME_HEADER_BYTES = 24;
const MAGIC_LITTLE = 0x377f0682;
const MAGIC_BIG = 0x377f0683;
const FORMAT_VERSION = 3_007_000;
/** Transactions that are not acknowledged yet: the log's end may lack parts of one, after a loss of power. */
const UNACKNOWLEDGED_COMMITS = 1;

/** What an equal kind of page is worth beside equal bytes. */
const KIND_WEIGHT_BYTES = 64;
/** By how many bytes a page must be more like another than the one it says it is, to be taken for the other. */
const CERTAIN_BYTES = 32;

/** One page as a transaction wrote it. */
export interface WalFrame {
  readonly page: number;
  /** Pages of the database after this transaction; 0 in all but the last frame of one. */
  readonly pagesAfter: number;
  /** Where the page's bytes are in the file. */
  readonly at: number;
}

export interface WalReport {
  /** Frames that count, up to the last whole transaction. */
  readonly frames: readonly WalFrame[];
  readonly pageBytes: number;
  /** What was put right, in words; empty: nothing was wrong. */
  readonly mended: readonly string[];
  /** Frames behind the last whole transaction, of this round of the log: of one that was not acknowledged, or damaged. */
  readonly unfinishedFrames: number;
}

type Sum = readonly [number, number];

/** The running checksum over a multiple of 8 bytes. */
function sum(view: DataView, from: number, bytes: number, [start1, start2]: Sum, isLittle: boolean): Sum {
  let s1 = start1;
  let s2 = start2;
  for (let at = from; at < from + bytes; at += 8) {
    s1 = (s1 + view.getUint32(at, isLittle) + s2) | 0;
    s2 = (s2 + view.getUint32(at + 4, isLittle) + s1) | 0;
  }
  return [s1 >>> 0, s2 >>> 0];
}

interface Head {
  readonly isLittle: boolean;
  readonly pageBytes: number;
  readonly salts: Sum;
  readonly sum: Sum;
}

/**
 * Reads a log, and puts right in `bytes` what can be. null: there is no log to speak of.
 * @param defaultPageBytes where the log's head is damaged
 */
export function mendWal(bytes: Uint8Array, defaultPageBytes: number): WalReport | null {
  if (bytes.length < HEADER_BYTES + FRAME_HEADER_BYTES) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const mended: string[] = [];
  const head = readHead(view) ?? correctHead(view, mended) ?? rebuildHead(view, defaultPageBytes, mended);
  if (head === null) return null;
  return new Mending(view, head, mended).run();
}

function readHead(view: DataView): Head | null {
  const magic = view.getUint32(0);
  if (magic !== MAGIC_LITTLE && magic !== MAGIC_BIG) return null;
  const isLittle = magic === MAGIC_LITTLE;
  const sums = sum(view, 0, 24, [0, 0], isLittle);
  if (sums[0] !== view.getUint32(24) || sums[1] !== view.getUint32(28)) return null;
  return {
    isLittle,
    pageBytes: view.getUint32(8),
    salts: [view.getUint32(16), view.getUint32(20)],
    sum: sums,
  };
}

/**
 * The sum is weak: where the uppermost bit of one of its words is flipped, other bits of the head would make it right as
 * well. The first frame, whose sum goes on from that of the head, tells which it was.
 */
function correctHead(view: DataView, mended: string[]): Head | null {
  for (let bit = 0; bit < HEADER_BYTES * 8; bit++) {
    const place = bit >> 3;
    const byte = view.getUint8(place);
    view.setUint8(place, byte ^ (1 << (bit & 7)));
    const head = readHead(view);
    // A flipped bit in the sum might as well be one in the salt: the first frame has the salts too.
    if (head !== null && isEqual(head.salts, saltsOfFirst(view)) && isFirstSound(view, head)) {
      mended.push("a flipped bit in the head of the write-ahead log was put right");
      return head;
    }
    view.setUint8(place, byte);
  }
  return null;
}

function isFirstSound(view: DataView, { pageBytes, sum: before, isLittle }: Head): boolean {
  if (HEADER_BYTES + FRAME_HEADER_BYTES + pageBytes > view.byteLength) return false;
  return isEqual(frameSum(view, HEADER_BYTES, pageBytes, before, isLittle), storedSum(view, HEADER_BYTES));
}

function saltsOfFirst(view: DataView): Sum {
  return [view.getUint32(HEADER_BYTES + 8), view.getUint32(HEADER_BYTES + 12)];
}

/** The salts stand in every frame: with those of the first, a head can be made again. */
function rebuildHead(view: DataView, pageBytes: number, mended: string[]): Head | null {
  const frameBytes = FRAME_HEADER_BYTES + pageBytes;
  if (view.byteLength < HEADER_BYTES + frameBytes) return null;
  const salts = saltsOfFirst(view);
  if (salts[0] === 0 && salts[1] === 0) return null;
  for (const isLittle of [true, false]) {
    const before = copyOf(view, 0, HEADER_BYTES);
    view.setUint32(0, isLittle ? MAGIC_LITTLE : MAGIC_BIG);
    view.setUint32(4, FORMAT_VERSION);
    view.setUint32(8, pageBytes);
    view.setUint32(16, salts[0]);
    view.setUint32(20, salts[1]);
    // The first frame's sum goes on from that of the head that was, which is not known.
    const sums = sum(view, 0, 24, [0, 0], isLittle);
    view.setUint32(24, sums[0]);
    view.setUint32(28, sums[1]);
    const head = { isLittle, pageBytes, salts, sum: sums };
    if (isChained(view, head)) {
      mended.push("the head of the write-ahead log was made again from its frames");
      return head;
    }
    new Uint8Array(view.buffer, view.byteOffset, HEADER_BYTES).set(before);
  }
  return null;
}

/** Whether the second frame goes on from the first: then the words are read in the right order. */
function isChained(view: DataView, { pageBytes, isLittle }: Head): boolean {
  const first = HEADER_BYTES;
  const second = first + FRAME_HEADER_BYTES + pageBytes;
  if (second + FRAME_HEADER_BYTES + pageBytes > view.byteLength) return false;
  const stored = storedSum(view, first);
  const found = frameSum(view, second, pageBytes, stored, isLittle);
  return isEqual(found, storedSum(view, second));
}

function storedSum(view: DataView, at: number): Sum {
  return [view.getUint32(at + 16), view.getUint32(at + 20)];
}

function frameSum(view: DataView, at: number, pageBytes: number, before: Sum, isLittle: boolean): Sum {
  return sum(view, at + FRAME_HEADER_BYTES, pageBytes, sum(view, at, 8, before, isLittle), isLittle);
}

function isEqual(a: Sum, b: Sum): boolean {
  return a[0] === b[0] && a[1] === b[1];
}

function copyOf(view: DataView, from: number, bytes: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + from, bytes).slice();
}

interface FlippedBit {
  /** Of its word in the file. */
  readonly place: number;
  readonly mask: number;
}

/** What a frame's neighbours say of its transaction. */
interface Transaction {
  /** Of its other frames. */
  readonly pages: ReadonlySet<number>;
  /** The greatest page of the frames before, and the least of those behind. */
  readonly before: number;
  readonly after: number;
  /** Pages of the database before and after it; undefined and 0: not known. */
  readonly pagesBefore: number | undefined;
  readonly pagesAfter: number;
}

function isInOrder(page: number, { before, after, pagesAfter }: Transaction): boolean {
  return page > before && page < after && (pagesAfter === 0 || page <= pagesAfter);
}

/** Whether the database grew by this page, and none of the other frames has it. */
function isLacking(page: number, transaction: Transaction): boolean {
  const { pages, pagesBefore, pagesAfter } = transaction;
  if (pagesBefore === undefined || pages.has(page)) return false;
  return page > pagesBefore && page <= pagesAfter && isInOrder(page, transaction);
}

/** One pass over the frames. */
class Mending {
  readonly #view: DataView;
  readonly #head: Head;
  readonly #mended: string[];
  readonly #frameBytes: number;
  readonly #count: number;
  /** Frames that are kept though their sum is another: the sums behind them are made anew. */
  readonly #sealed = new Set<number>();
  /** Where the newest frame of each page has its content. */
  readonly #newest = new Map<number, number>();
  #greatestPage = 0;
  /** Of the database before the transaction under way; undefined: not known. */
  #pagesBefore: number | undefined;
  /** The transaction's first frame. */
  #transactionStart = 0;

  constructor(view: DataView, head: Head, mended: string[]) {
    this.#view = view;
    this.#head = head;
    this.#mended = mended;
    this.#frameBytes = FRAME_HEADER_BYTES + head.pageBytes;
    this.#count = Math.floor((view.byteLength - HEADER_BYTES) / this.#frameBytes);
  }

  run(): WalReport {
    const { pageBytes } = this.#head;
    const frames: WalFrame[] = [];
    let whole = 0;
    let before = this.#head.sum;
    /** From here on the sums are ours: those stored go on from what is no more. */
    let isRewriting = false;
    let storedBefore = before;
    let index = 0;
    for (; index < this.#count; index++) {
      const at = this.#at(index);
      const isSound = this.#isSound(index, storedBefore) || this.#correct(index, storedBefore);
      if (!isSound) {
        if (!this.#isProvenBehind(index)) break;
        this.#mended.push(`frame ${index + 1} of the write-ahead log is damaged; those behind it are whole`);
        isRewriting = true;
      }
      if (this.#sealed.has(index)) isRewriting = true;
      storedBefore = storedSum(this.#view, at);
      if (isRewriting) this.#rewrite(at, before);
      before = storedSum(this.#view, at);
      const page = this.#view.getUint32(at);
      const pagesAfter = this.#view.getUint32(at + 4);
      this.#greatestPage = Math.max(this.#greatestPage, page, pagesAfter);
      frames.push({ page, pagesAfter, at: at + FRAME_HEADER_BYTES });
      this.#newest.set(page, at + FRAME_HEADER_BYTES);
      if (pagesAfter === 0) continue;
      whole = frames.length;
      this.#pagesBefore = pagesAfter;
      this.#transactionStart = index + 1;
    }
    let unfinishedFrames = frames.length - whole;
    for (; index < this.#count && this.#hasSalts(index); index++) unfinishedFrames++;
    return { frames: frames.slice(0, whole), pageBytes, mended: this.#mended, unfinishedFrames };
  }

  #at(index: number): number {
    return HEADER_BYTES + index * this.#frameBytes;
  }

  #hasSalts(index: number): boolean {
    const at = this.#at(index);
    const { salts } = this.#head;
    return isEqual([this.#view.getUint32(at + 8), this.#view.getUint32(at + 12)], salts);
  }

  #sumOf(index: number, before: Sum): Sum {
    return frameSum(this.#view, this.#at(index), this.#head.pageBytes, before, this.#head.isLittle);
  }

  #isSound(index: number, before: Sum): boolean {
    return (
      this.#hasSalts(index) && isEqual(this.#sumOf(index, before), storedSum(this.#view, this.#at(index)))
    );
  }

  /** Puts a single flipped bit right, wherever in the frame it is: the sum of 64 bits says where. */
  #correct(index: number, before: Sum): boolean {
    const at = this.#at(index);
    const stored = storedSum(this.#view, at);
    const found = this.#sumOf(index, before);
    if (isEqual(found, stored)) {
      // Only the salts differ. A frame of an earlier round of the log has sums of its own, which do not go on from here.
      this.#view.setUint32(at + 8, this.#head.salts[0]);
      this.#view.setUint32(at + 12, this.#head.salts[1]);
      this.#mended.push(`the salt of frame ${index + 1} of the write-ahead log was put right`);
      return true;
    }
    if (!this.#hasSalts(index)) return false;
    const places = this.#flippedBits(at, found, stored);
    const misplaced = this.#isPossiblePage(at)
      ? this.#likelierPage(index, places)
      : places.find(({ place }) => place < at + 8);
    const isOneBit = bitsOf(found[0] ^ stored[0]) + bitsOf(found[1] ^ stored[1]) === 1;
    // The last word adds to the sum as it is, so that its bits look like the sum's own: the next frame goes on from either.
    const isOfSum = misplaced === undefined || this.#goesOnFrom(index, found);
    if (isOneBit && isOfSum && !this.#goesOnFrom(index, stored)) {
      this.#writeSum(at, found);
      this.#mended.push(
        `a flipped bit in the sum of frame ${index + 1} of the write-ahead log was put right`,
      );
      return true;
    }
    const [only, ...others] = places;
    if (only === undefined) return false;
    const chosen = misplaced ?? (others.length === 0 ? only : undefined);
    if (chosen === undefined) {
      // One of several bits: the page is kept as it is, under the sum that it has now.
      this.#mended.push(`a bit is flipped in frame ${index + 1} of the write-ahead log; its page is kept so`);
      this.#sealed.add(index);
      return true;
    }
    const { isLittle } = this.#head;
    const word = this.#view.getUint32(chosen.place, isLittle);
    this.#view.setUint32(chosen.place, (word ^ chosen.mask) >>> 0, isLittle);
    this.#mended.push(`a flipped bit in frame ${index + 1} of the write-ahead log was put right`);
    return true;
  }

  /**
   * Of bits that may be flipped, one of the page's number, where what else is known of the frame speaks for it. SQLite writes a
   * transaction's pages in ascending order, and all by which it makes the database longer: a number out of its order, or one
   * that takes the place of a page that must be there, is wrong. Of numbers in order, the page tells: from one version to the
   * next most of its bytes stay.
   */
  #likelierPage(index: number, places: readonly FlippedBit[]): FlippedBit | undefined {
    const { isLittle } = this.#head;
    const at = this.#at(index);
    const now = this.#view.getUint32(at);
    const candidates = places
      .filter(({ place }) => place === at)
      .map((bit) => {
        const copy = new DataView(new ArrayBuffer(4));
        copy.setUint32(0, (this.#view.getUint32(at, isLittle) ^ bit.mask) >>> 0, isLittle);
        return { bit, page: copy.getUint32(0) };
      });
    const transaction = this.#transactionOf(index);
    if (isLacking(now, transaction)) return undefined;
    const lacking = candidates.find(({ page }) => isLacking(page, transaction));
    if (lacking !== undefined) return lacking.bit;
    let likeliest: FlippedBit | undefined;
    let most = isInOrder(now, transaction) ? this.#likeness(index, now) + CERTAIN_BYTES : -1;
    for (const { bit, page } of candidates) {
      if (!isInOrder(page, transaction)) continue;
      const likeness = this.#likeness(index, page);
      if (likeness <= most) continue;
      most = likeness;
      likeliest = bit;
    }
    return likeliest;
  }

  /** What the frames around one say of the transaction that it is part of; those behind it are not yet verified. */
  #transactionOf(index: number): Transaction {
    const pages = new Set<number>();
    let before = 0;
    for (let earlier = index - 1; earlier >= this.#transactionStart; earlier--) {
      const page = this.#view.getUint32(this.#at(earlier));
      before = Math.max(before, page);
      pages.add(page);
    }
    let after = Number.POSITIVE_INFINITY;
    let pagesAfter = this.#view.getUint32(this.#at(index) + 4);
    for (let later = index + 1; pagesAfter === 0 && later < this.#count && this.#hasSalts(later); later++) {
      const page = this.#view.getUint32(this.#at(later));
      after = Math.min(after, page);
      pages.add(page);
      pagesAfter = this.#view.getUint32(this.#at(later) + 4);
    }
    return { pages, before, after, pagesBefore: this.#pagesBefore, pagesAfter };
  }

  /** Bytes of a frame's page that are as in the versions of a page before and behind it in the log; 0 when there is none. */
  #likeness(index: number, page: number): number {
    const at = this.#at(index) + FRAME_HEADER_BYTES;
    const before = this.#newest.get(page);
    const behind = this.#nextOf(page, index);
    let alike = 0;
    for (const other of [before, behind]) {
      if (other === undefined) continue;
      for (let byte = 0; byte < this.#head.pageBytes; byte++)
        if (this.#view.getUint8(at + byte) === this.#view.getUint8(other + byte)) alike++;
      // The first byte is the page's kind, which counts where the pages are empty but for it.
      if (this.#view.getUint8(at) === this.#view.getUint8(other)) alike += KIND_WEIGHT_BYTES;
    }
    return alike;
  }

  /** Where the next version of a page has its content. */
  #nextOf(page: number, index: number): number | undefined {
    for (let later = index + 1; later < this.#count && this.#hasSalts(later); later++)
      if (this.#view.getUint32(this.#at(later)) === page) return this.#at(later) + FRAME_HEADER_BYTES;
    return undefined;
  }

  #goesOnFrom(index: number, before: Sum): boolean {
    return index + 1 < this.#count && this.#isSound(index + 1, before);
  }

  #isPossiblePage(at: number): boolean {
    const page = this.#view.getUint32(at);
    return page > 0 && page <= this.#greatestPage + this.#count;
  }

  /**
   * The single bits whose flip explains the sum. The sums are linear in the words, modulo 2^32: what one bit adds is a
   * power of two times its word's weights, which follow from those of the word behind it. Of a word's low bits there is
   * one; of its high ones, of whose weights less is left, there may be several.
   */
  #flippedBits(at: number, found: Sum, stored: Sum): FlippedBit[] {
    const { isLittle, pageBytes } = this.#head;
    const lack1 = (stored[0] - found[0]) | 0;
    const lack2 = (stored[1] - found[1]) | 0;
    const bits: FlippedBit[] = [];
    // What 1 more in s1, and in s2, before the words behind this place adds to the sums at the end.
    let s1To: Sum = [1, 0];
    let s2To: Sum = [0, 1];
    for (const pair of [...wordPairs(at + FRAME_HEADER_BYTES, pageBytes), at]) {
      // s1' = s1 + x0 + s2; s2' = s2 + x1 + s1'
      const first: Sum = [(s1To[0] + s2To[0]) | 0, (s1To[1] + s2To[1]) | 0];
      for (const [place, weight] of [
        [pair, first],
        [pair + 4, s2To],
      ] as const) {
        const word = this.#view.getUint32(place, isLittle);
        for (let bit = 0; bit < 32; bit++) {
          const mask = 1 << bit;
          const change = (word & mask) === 0 ? mask : -mask | 0;
          if (Math.imul(change, weight[0]) === lack1 && Math.imul(change, weight[1]) === lack2)
            bits.push({ place, mask });
        }
      }
      s2To = [(first[0] + s2To[0]) | 0, (first[1] + s2To[1]) | 0];
      s1To = first;
    }
    return bits;
  }

  /** Whether what follows can only be there when this frame was durable: more than the one transaction under way. */
  #isProvenBehind(index: number): boolean {
    let commits = 0;
    for (let next = index + 1; next < this.#count; next++) {
      if (!this.#hasSalts(next)) continue;
      if (!this.#isSound(next, storedSum(this.#view, this.#at(next - 1)))) continue;
      if (this.#view.getUint32(this.#at(next) + 4) !== 0) commits++;
      if (commits > UNACKNOWLEDGED_COMMITS) return true;
    }
    return false;
  }

  #rewrite(at: number, before: Sum): void {
    const { salts, pageBytes, isLittle } = this.#head;
    this.#view.setUint32(at + 8, salts[0]);
    this.#view.setUint32(at + 12, salts[1]);
    this.#writeSum(at, frameSum(this.#view, at, pageBytes, before, isLittle));
  }

  #writeSum(at: number, [s1, s2]: Sum): void {
    this.#view.setUint32(at + 16, s1);
    this.#view.setUint32(at + 20, s2);
  }
}

/** Places of the page's pairs of words, the last first. */
function* wordPairs(from: number, bytes: number): Generator<number> {
  for (let at = from + bytes - 8; at >= from; at -= 8) yield at;
}

function bitsOf(word: number): number {
  let bits = 0;
  for (let left = word >>> 0; left !== 0; left &= left - 1) bits++;
  return bits;
}
