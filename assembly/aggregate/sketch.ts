/**
 * Quantiles within 1 % of the true value: DDSketch.
 *
 * Source: C. Masson, J. E. Rim, H. K. Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
 * guarantees", PVLDB 12 (2019). The logarithm is replaced by the cubic interpolation between powers of two that the
 * authors' implementation describes, whose slope against ln x is at least 10/7.
 *
 * Buckets are kept sparse: sorted by key, each a count. A value's key grows with the value, so one sorted run holds
 * negative values, zero and positive values. At most 2,048 buckets are kept; the lowest collapse into one.
 */

const ACCURACY: f64 = 0.01;
const LN_GAMMA: f64 = 0.020000666706669543; // ln((1 + a) / (1 − a))
const MULTIPLIER: f64 = 7 / (10 * LN_GAMMA);
const A: f64 = 6.0 / 35;
const B: f64 = -3.0 / 5;
const C: f64 = 10.0 / 7;
/** Makes every positive value's key positive: the smallest subnormal's index is about −37,600. */
const KEY_BIAS: i32 = 40000;
const MAX_BUCKETS: u32 = 2048;

@unmanaged
class Bucket {
  key: i32;
  count: u32;
}

const BUCKET_SIZE: u32 = 8;

/** Sorted buckets. `total` counts every value. */
@unmanaged
export class Sketch {
  total: f64;
  buckets: usize; // Bucket[capacity]
  count: u32;
  capacity: u32;

  static create(): Sketch {
    const self = changetype<Sketch>(heap.alloc(offsetof<Sketch>()));
    self.total = 0;
    self.count = 0;
    self.capacity = 4;
    self.buckets = heap.alloc(4 * BUCKET_SIZE);
    return self;
  }

  dispose(): void {
    heap.free(this.buckets);
    heap.free(changetype<usize>(this));
  }

  @inline private bucket(index: u32): Bucket {
    return changetype<Bucket>(this.buckets + index * BUCKET_SIZE);
  }

  /** Counts a bucket `times` more. Cost: a binary search, and a move of the buckets above when it is new. */
  add(key: i32, times: u32): void {
    this.total += times;
    let from: u32 = 0;
    let to = this.count;
    while (from < to) {
      const middle = (from + to) >> 1;
      if (this.bucket(middle).key < key) from = middle + 1;
      else to = middle;
    }
    if (from < this.count && this.bucket(from).key == key) {
      this.bucket(from).count += times;
      return;
    }
    if (this.count == MAX_BUCKETS && from == 0) {
      this.bucket(0).count += times;
      return;
    }
    this.insert(from, key, times);
    if (this.count > MAX_BUCKETS) this.collapse();
  }

  private insert(at: u32, key: i32, times: u32): void {
    if (this.count == this.capacity) {
      this.capacity <<= 1;
      this.buckets = heap.realloc(this.buckets, this.capacity * BUCKET_SIZE);
    }
    const place = this.buckets + at * BUCKET_SIZE;
    memory.copy(place + BUCKET_SIZE, place, (this.count - at) * BUCKET_SIZE);
    const bucket = changetype<Bucket>(place);
    bucket.key = key;
    bucket.count = times;
    this.count++;
  }

  /** The lowest bucket joins the one above it. */
  private collapse(): void {
    this.bucket(1).count += this.bucket(0).count;
    this.count--;
    memory.copy(this.buckets, this.buckets + BUCKET_SIZE, this.count * BUCKET_SIZE);
  }

  /** The value at rank q·(n − 1), within 1 %. Needs at least one value. */
  quantile(q: f64): f64 {
    const rank = q * (this.total - 1);
    let below: f64 = 0;
    for (let i: u32 = 0; i < this.count; i++) {
      below += this.bucket(i).count;
      if (below > rank) return valueOf(this.bucket(i).key);
    }
    return valueOf(this.bucket(this.count - 1).key);
  }

  @inline keyAt(index: u32): i32 {
    return this.bucket(index).key;
  }

  @inline countAt(index: u32): u32 {
    return this.bucket(index).count;
  }
}

/** The bucket of a value: 0 for zero, its mirror image for negative values. */
export function keyOf(value: f64): i32 {
  if (value == 0) return 0;
  const bits = reinterpret<u64>(abs(value));
  let exponent = <i32>(bits >> 52);
  let significand = bits & 0x000fffffffffffff;
  if (exponent == 0) {
    // A subnormal, made normal by 2^64.
    const scaled = reinterpret<u64>(abs(value) * 18446744073709551616.0);
    exponent = <i32>(scaled >> 52) - 64;
    significand = scaled & 0x000fffffffffffff;
  }
  const s = <f64>significand * 2.220446049250313e-16;
  const logarithm = ((A * s + B) * s + C) * s + <f64>(exponent - 1023);
  const key = <i32>floor(logarithm * MULTIPLIER) + KEY_BIAS;
  return value > 0 ? key : -key;
}

/** The value that is within 1 % of every value of the bucket. */
function valueOf(key: i32): f64 {
  if (key == 0) return 0;
  const logarithm = <f64>(abs(key) - KEY_BIAS) / MULTIPLIER;
  const exponent = floor(logarithm);
  const fraction = logarithm - exponent;
  let from: f64 = 0;
  let to: f64 = 1;
  // The cubic rises; 53 halvings find its inverse to the last bit.
  for (let i = 0; i < 53; i++) {
    const middle = (from + to) * 0.5;
    if (((A * middle + B) * middle + C) * middle < fraction) from = middle;
    else to = middle;
  }
  const bound = (1 + from) * powerOfTwo(<i32>exponent);
  const value = bound * (1 + ACCURACY);
  return key > 0 ? value : -value;
}

function powerOfTwo(exponent: i32): f64 {
  if (exponent < -1022) return reinterpret<f64>(<u64>1 << <u64>(exponent + 1074 < 0 ? 0 : exponent + 1074));
  return reinterpret<f64>(<u64>(exponent + 1023) << 52);
}
