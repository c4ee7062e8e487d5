import { ByteBuffer } from "../memory/bytes";

/** What `number` gives for a time or slice that no page covers. */
export const UNCOVERED: i64 = i64.MIN_VALUE;

/** A stretch of neighbouring slices by their boundaries; `margin` more boundaries stand on either side. */
@unmanaged
class Page {
  /** Number of its first slice. */
  first: i64;
  /** How many slices; some may have no length, where a zone skipped a day. */
  count: u32;
  margin: u32;
  boundaries: usize; // i64[margin + count + 1 + margin], ascending

  /** Where slice `number` begins; within the margins too. */
  @inline boundary(number: i64): i64 {
    return load<i64>(this.boundaries + (<usize>(number - this.first + this.margin) << 3));
  }

  @inline from(): i64 {
    return this.boundary(this.first);
  }

  @inline to(): i64 {
    return this.boundary(this.first + this.count);
  }

  @inline hasBoundary(number: i64): bool {
    return number >= this.first - this.margin && number <= this.first + this.count + this.margin;
  }
}

/**
 * Slices of a calendar: days, weeks, months or hours of a time zone, as pages of boundaries that the host works out
 * (`workers/core/calendar.ts`) and hands over before they are needed. What a page holds depends on zone and number alone,
 * so it does not matter which pages are there, nor in what order they came.
 */
@unmanaged
export class Calendar {
  pages: ByteBuffer; // Page addresses, by number and so by time
  /** The page used last: the next time is likely in it. */
  last: Page;

  static create(): Calendar {
    const self = changetype<Calendar>(heap.alloc(offsetof<Calendar>()));
    self.pages = ByteBuffer.create(64);
    self.last = changetype<Page>(0);
    return self;
  }

  dispose(): void {
    this.trim(i64.MAX_VALUE, i64.MIN_VALUE);
    this.pages.dispose();
    heap.free(changetype<usize>(this));
  }

  @inline get count(): u32 {
    return this.pages.length / sizeof<usize>();
  }

  @inline private page(index: u32): Page {
    return load<Page>(this.pages.data + <usize>index * sizeof<usize>());
  }

  /** Takes in a page: first i64, count u32, margin u32, boundaries i64 each. */
  add(at: usize): void {
    const page = changetype<Page>(heap.alloc(offsetof<Page>()));
    page.first = load<i64>(at);
    page.count = load<u32>(at, 8);
    page.margin = load<u32>(at, 12);
    const bytes = (<usize>page.count + 1 + (page.margin << 1)) << 3;
    page.boundaries = heap.alloc(bytes);
    memory.copy(page.boundaries, at + 16, bytes);
    this.pages.reserve(<u32>sizeof<usize>());
    this.pages.length += <u32>sizeof<usize>();
    const index = this.pagesFrom(page.first, this.count - 1);
    const place = this.pages.data + <usize>index * sizeof<usize>();
    memory.copy(place + sizeof<usize>(), place, <usize>(this.count - 1 - index) * sizeof<usize>());
    store<Page>(place, page);
  }

  /** How many of the first `count` pages begin with that slice or an earlier one. */
  private pagesFrom(number: i64, count: u32): u32 {
    let from: u32 = 0;
    let to = count;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.page(middle).first <= number) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /** Forgets the pages with no time in [from, to). */
  trim(from: i64, to: i64): void {
    let kept: u32 = 0;
    for (let i: u32 = 0; i < this.count; i++) {
      const page = this.page(i);
      if (page.to() > from && to > page.from()) {
        store<Page>(this.pages.data + <usize>kept * sizeof<usize>(), page);
        kept++;
      } else {
        heap.free(page.boundaries);
        heap.free(changetype<usize>(page));
      }
    }
    this.pages.length = kept * <u32>sizeof<usize>();
    this.last = changetype<Page>(0);
  }

  private pageOf(time: i64): Page {
    const last = this.last;
    if (changetype<usize>(last) != 0 && time >= last.from() && last.to() > time) return last;
    let from: u32 = 0;
    let to = this.count;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.page(middle).to() <= time) from = middle + 1;
      else to = middle;
    }
    if (from < this.count && this.page(from).from() <= time) {
      this.last = this.page(from);
      return this.last;
    }
    return changetype<Page>(0);
  }

  covers(time: i64): bool {
    return changetype<usize>(this.pageOf(time)) != 0;
  }

  /** The number of the slice that holds the time: of those that begin at one moment, the last has a length. */
  number(time: i64): i64 {
    const page = this.pageOf(time);
    if (changetype<usize>(page) == 0) return UNCOVERED;
    let from = page.first;
    let to = page.first + page.count;
    while (to - from > 1) {
      const middle = from + ((to - from) >> 1);
      if (page.boundary(middle) <= time) from = middle;
      else to = middle;
    }
    return from;
  }

  /** Where a slice begins. Known for slices of the pages and of their margins; else the end of time. */
  start(number: i64): i64 {
    const last = this.last;
    if (changetype<usize>(last) != 0 && last.hasBoundary(number)) return last.boundary(number);
    // Pages of one calendar are equally long: if neither of the two about the slice has it, none has.
    const next = this.pagesFrom(number, this.count);
    if (next > 0 && this.page(next - 1).hasBoundary(number)) return this.page(next - 1).boundary(number);
    if (next < this.count && this.page(next).hasBoundary(number)) return this.page(next).boundary(number);
    return i64.MAX_VALUE;
  }
}
