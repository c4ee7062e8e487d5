/**
 * How far event times stand from their arrival: signed offsets in logarithmic buckets, sixteen an octave from 1 ms up.
 * When more than `MAX_CELLS` buckets have something in them, neighbours are merged by twos, over the whole range, until
 * they fit (the uniform collapse of Epicoco, Melle, Cafaro, Pulimeno, Morleo, "UDDSketch", 2020). So the level depends on
 * what was added and not on its order, and merging sketches gives the sketch of all.
 *
 * Error of the median: half a bucket's width, 3.2 % (and 1 ms) at level 0, and about twice that with each level.
 */
const MAX_CELLS: u32 = 16;
const SUB_BITS: u64 = 4;
const SUB_MASK: u64 = (1 << SUB_BITS) - 1;
const US_PER_MS: u64 = 1000;

/** One bucket: offsets with this index, shifted right by the level. */
@unmanaged
class Cell {
  bucket: i32;
  weight: u32;
}
const CELL_SIZE: u32 = offsetof<Cell>();

/** Invariant: cells are sorted by bucket, and the level is the least at which they fit. The cells stand behind the head. */
@unmanaged
export class OffsetSketch {
  total: u32;
  level: u8;
  count: u8;
  /** Where the offset before was: likely there again. */
  last: u8;
  unused: u8;

  @inline private cell(index: u32): Cell {
    return changetype<Cell>(changetype<usize>(this) + offsetof<OffsetSketch>() + index * CELL_SIZE);
  }

  @inline clear(): void {
    this.total = 0;
    this.level = 0;
    this.count = 0;
    this.last = 0;
  }

  /** Counts an offset by its bucket, as `bucketOf` gives it. */
  @inline addBucket(bucket: i32): void {
    const last = this.cell(this.last);
    if (this.count != 0 && last.bucket == bucket >> <i32>this.level) {
      last.weight++;
      this.total++;
    } else this.put(bucket, 1);
  }

  /** Adds weight to the bucket of an index of level 0. */
  private put(index: i32, weight: u32): void {
    this.total += weight;
    while (true) {
      const bucket = index >> <i32>this.level;
      let at: u32 = 0;
      while (at < <u32>this.count && this.cell(at).bucket < bucket) at++;
      if (at < <u32>this.count && this.cell(at).bucket == bucket) {
        this.cell(at).weight += weight;
        this.last = <u8>at;
        return;
      }
      if (<u32>this.count < MAX_CELLS) {
        const place = changetype<usize>(this.cell(at));
        memory.copy(place + CELL_SIZE, place, (<u32>this.count - at) * CELL_SIZE);
        this.cell(at).bucket = bucket;
        this.cell(at).weight = weight;
        this.count++;
        this.last = <u8>at;
        return;
      }
      this.collapse();
    }
  }

  private collapse(): void {
    this.level++;
    let kept: u32 = 0;
    for (let i: u32 = 0; i < <u32>this.count; i++) {
      const bucket = this.cell(i).bucket >> 1;
      const weight = this.cell(i).weight;
      if (kept != 0 && this.cell(kept - 1).bucket == bucket) this.cell(kept - 1).weight += weight;
      else {
        this.cell(kept).bucket = bucket;
        this.cell(kept).weight = weight;
        kept++;
      }
    }
    this.count = <u8>kept;
    this.last = 0;
  }

  /** Bytes that `write` needs. */
  @inline get writtenBytes(): u32 {
    return 8 + <u32>this.count * CELL_SIZE;
  }

  /** level u32, cells u32, then each: bucket i32, weight u32 */
  write(to: usize): void {
    store<u32>(to, this.level);
    store<u32>(to, this.count, 4);
    memory.copy(to + 8, changetype<usize>(this.cell(0)), <u32>this.count * CELL_SIZE);
  }

  /** Merges what `write` wrote; returns where it ends. */
  mergeFrom(at: usize): usize {
    const level = load<u32>(at);
    const count = load<u32>(at, 4);
    at += 8;
    while (<u32>this.level < level) this.collapse();
    for (let i: u32 = 0; i < count; i++, at += CELL_SIZE) this.put(load<i32>(at) << level, load<u32>(at, 4));
    return at;
  }

  /** The middle of the median's bucket, in µs; NaN when empty. Of an even number the upper of the two in the middle. */
  median(): f64 {
    if (this.total == 0) return NaN;
    let left = this.total >> 1;
    let i: u32 = 0;
    while (left >= this.cell(i).weight) left -= this.cell(i++).weight;
    const first = this.cell(i).bucket << <i32>this.level;
    const last = first + (1 << <i32>this.level) - 1;
    return (lowestOf(first) + highestOf(last)) * 0.5;
  }
}

export const SKETCH_BYTES: u32 = offsetof<OffsetSketch>() + MAX_CELLS * CELL_SIZE;

/** The bucket at level 0 of an offset, event time − arrival: 0 within a millisecond; else 1 + sixteen an octave, with its sign. */
@inline
export function bucketOf(offsetUs: i64): i32 {
  const ms = <u64>(offsetUs < 0 ? 0 - offsetUs : offsetUs) / US_PER_MS;
  if (ms == 0) return 0;
  const octave: u64 = 63 - clz<u64>(ms);
  const scaled = octave >= SUB_BITS ? ms >> (octave - SUB_BITS) : ms << (SUB_BITS - octave);
  const index = <i32>(1 + (octave << SUB_BITS) + (scaled & SUB_MASK));
  return offsetUs < 0 ? -index : index;
}

/** The offset nearest to −∞ of an index, in µs. */
function lowestOf(index: i32): f64 {
  if (index < 0) return -highestOf(-index);
  return index == 0 ? -1000 : edge(index - 1);
}

function highestOf(index: i32): f64 {
  if (index < 0) return -lowestOf(-index);
  return index == 0 ? 1000 : edge(index);
}

function edge(steps: i32): f64 {
  const octave = steps >> <i32>SUB_BITS;
  const sub = steps & <i32>SUB_MASK;
  return (1 + <f64>sub / <f64>(1 << SUB_BITS)) * 1000 * reinterpret<f64>(<u64>(octave + 1023) << 52);
}
