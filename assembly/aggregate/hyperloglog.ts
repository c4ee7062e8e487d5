import { ByteBuffer } from "../memory/bytes";
import { nextSeed } from "../memory/dictionary";
import { sortWords } from "../state/sort-words";
import { endVarintAt, readVarint, varintEnd, writeVarint } from "../state/varint";
import { countMemory } from "./memory";

/**
 * distinct: how many different values there are, by HyperLogLog over 64-bit hashes.
 *
 * Error: up to 4,096 different values the count is exact but for hashes that agree in 25 bits (one expected over 8,000
 * values, corrected for); beyond, the standard error is 1.04 / √32768 = 0.57 %, so that 2 % is 3.5 standard errors.
 * Memory: 8 bytes a value at most, 32 KiB at most.
 *
 * Sources: P. Flajolet, É. Fusy, O. Gandouet, F. Meunier, "HyperLogLog: the analysis of a near-optimal cardinality
 * estimation algorithm" (2007); the sparse form of 25-bit indexes is that of S. Heule, M. Nunkesser, A. Hall,
 * "HyperLogLog in practice" (2013); the estimator without empirical corrections is that of O. Ertl, "New cardinality
 * estimation algorithms for HyperLogLog sketches" (2017), algorithm 6.
 *
 * Registers keep maxima, and the sparse form gives way when the set of indexes is greater than a limit: what is kept
 * depends on the set of values alone, so merging is exact and order does not matter.
 */
const DENSE_BITS: u32 = 15;
const REGISTERS: u32 = 1 << DENSE_BITS;
/** The greatest register is RANKS + 1. */
const RANKS: u32 = 64 - DENSE_BITS;
const SPARSE_BITS: u32 = 25;
const FOLDED_BITS: u32 = SPARSE_BITS - DENSE_BITS;
const RANK_BITS: u32 = 6;
const RANK_MASK: u32 = (1 << RANK_BITS) - 1;
const MAX_SPARSE: u32 = 4096;
const FIRST_SLOTS: u32 = 8;
/** Slots that `distinctReset` keeps in any case. */
const MAX_SPARE_SLOTS: u32 = 64;
/** Odd and unpredictable, so that nobody can send values that meet in the table. */
let seed: u32 = 0;
/** 1 / (2 ln 2) */
const ALPHA: f64 = 0.721347520444481703679952;
/** Four registers of six bits in three bytes. */
const PACKED_BYTES: u32 = (REGISTERS >> 2) * 3;

/**
 * Sparse: a hash table of u32[slots], each index · 64 + rank, or 0 when free. Dense: u8[REGISTERS].
 * Invariant: slots is a power of two and at least twice `count`; 0 slots stand for dense.
 */
@unmanaged
class SketchHead {
  slots: u32;
  count: u32;
}

const HEAD_BYTES: u32 = offsetof<SketchHead>();

@inline
function head(sketch: usize): SketchHead {
  return changetype<SketchHead>(sketch);
}

function allocate(slots: u32): usize {
  const bytes = slots == 0 ? REGISTERS : slots << 2;
  const sketch = heap.alloc(HEAD_BYTES + bytes);
  head(sketch).slots = slots;
  head(sketch).count = 0;
  memory.fill(sketch + HEAD_BYTES, 0, bytes);
  countMemory(<i32>(HEAD_BYTES + bytes));
  return sketch;
}

export function distinctCreate(): usize {
  if (seed == 0) seed = <u32>nextSeed() | 1;
  return allocate(FIRST_SLOTS);
}

export function distinctDispose(sketch: usize): void {
  const slots = head(sketch).slots;
  countMemory(-<i32>(HEAD_BYTES + (slots == 0 ? REGISTERS : slots << 2)));
  heap.free(sketch);
}

/**
 * Forgets the values; returns the sketch, which may have moved. A large one that was hardly used is made small again, since
 * to write and empty it takes a look at every slot.
 */
export function distinctReset(sketch: usize): usize {
  const slots = head(sketch).slots;
  if (slots == 0 || (slots > MAX_SPARE_SLOTS && head(sketch).count << 4 < slots)) {
    distinctDispose(sketch);
    return distinctCreate();
  }
  if (head(sketch).count != 0) memory.fill(sketch + HEAD_BYTES, 0, slots << 2);
  head(sketch).count = 0;
  return sketch;
}

@inline
export function isDistinctEmpty(sketch: usize): bool {
  return head(sketch).slots != 0 && head(sketch).count == 0;
}

/** Takes in the hash of a value; returns the sketch, which may have moved. */
export function distinctAdd(sketch: usize, hash: u64): usize {
  if (head(sketch).slots == 0) {
    const rank = min<u32>(<u32>clz<u64>(hash << DENSE_BITS), RANKS) + 1;
    raise(sketch, <u32>(hash >> (64 - DENSE_BITS)), rank);
    return sketch;
  }
  const rank = min<u32>(<u32>clz<u64>(hash << SPARSE_BITS), 64 - SPARSE_BITS) + 1;
  return addSparse(sketch, ((<u32>(hash >> (64 - SPARSE_BITS))) << RANK_BITS) | rank);
}

@inline
function raise(sketch: usize, index: u32, rank: u32): void {
  const place = sketch + HEAD_BYTES + index;
  if (load<u8>(place) < rank) store<u8>(place, <u8>rank);
}

/** An entry of the sparse form into registers. */
function raiseSparse(sketch: usize, entry: u32): void {
  const index = entry >> RANK_BITS;
  const folded = index & ((1 << FOLDED_BITS) - 1);
  const rank = folded != 0 ? <u32>clz<u32>(folded) - (32 - FOLDED_BITS) + 1 : FOLDED_BITS + (entry & RANK_MASK);
  raise(sketch, index >> FOLDED_BITS, rank);
}

function addSparse(sketch: usize, entry: u32): usize {
  const mask = head(sketch).slots - 1;
  const index = entry >> RANK_BITS;
  let slot = ((index * seed) >> 16) & mask;
  while (true) {
    const place = sketch + HEAD_BYTES + (<usize>slot << 2);
    const known = load<u32>(place);
    if (known == 0) {
      store<u32>(place, entry);
      break;
    }
    if (known >> RANK_BITS == index) {
      if (known < entry) store<u32>(place, entry);
      return sketch;
    }
    slot = (slot + 1) & mask;
  }
  const count = ++head(sketch).count;
  if (count > MAX_SPARSE) return toDense(sketch);
  return count << 1 > mask ? growSparse(sketch) : sketch;
}

function growSparse(sketch: usize): usize {
  const slots = head(sketch).slots;
  let grown = allocate(slots << 1);
  for (let slot: u32 = 0; slot < slots; slot++) {
    const entry = load<u32>(sketch + HEAD_BYTES + (<usize>slot << 2));
    if (entry != 0) grown = addSparse(grown, entry);
  }
  distinctDispose(sketch);
  return grown;
}

function toDense(sketch: usize): usize {
  const dense = allocate(0);
  for (let slot: u32 = 0; slot < head(sketch).slots; slot++) {
    const entry = load<u32>(sketch + HEAD_BYTES + (<usize>slot << 2));
    if (entry != 0) raiseSparse(dense, entry);
  }
  distinctDispose(sketch);
  return dense;
}

/** The estimate, a whole number. */
export function distinctResult(sketch: usize): f64 {
  if (head(sketch).slots == 0) return nearest(estimate(sketch + HEAD_BYTES));
  // Linear counting, m · ln(m / (m − s)), as the start of its series: s is below m / 8,000.
  const seen = <f64>head(sketch).count;
  const m = <f64>(1 << SPARSE_BITS);
  return nearest(seen + (seen * seen) / (2 * m) + (seen * seen * seen) / (3 * m * m));
}

const histogram = memory.data(64 * 4, 4);

function estimate(registers: usize): f64 {
  memory.fill(histogram, 0, 64 * 4);
  for (let i: u32 = 0; i < REGISTERS; i++) {
    const place = histogram + (<usize>load<u8>(registers + i) << 2);
    store<u32>(place, load<u32>(place) + 1);
  }
  const m = <f64>REGISTERS;
  let z = m * tau(1 - <f64>load<u32>(histogram + ((RANKS + 1) << 2)) / m);
  for (let rank = RANKS; rank >= 1; rank--) z = 0.5 * (z + <f64>load<u32>(histogram + (rank << 2)));
  z += m * sigma(<f64>load<u32>(histogram) / m);
  return (ALPHA * m * m) / z;
}

/** x + Σ x^(2^k) · 2^(k−1), for 0 ≤ x < 1 */
function sigma(x: f64): f64 {
  let power: f64 = 1;
  let sum = x;
  let before: f64;
  do {
    x *= x;
    before = sum;
    sum += x * power;
    power += power;
  } while (sum != before);
  return sum;
}

/** (1 − x − Σ (1 − x^(2^−k))² · 2^−k) / 3 */
function tau(x: f64): f64 {
  if (x == 0 || x == 1) return 0;
  let power: f64 = 1;
  let sum = 1 - x;
  let before: f64;
  do {
    x = sqrt(x);
    before = sum;
    power *= 0.5;
    sum -= (1 - x) * (1 - x) * power;
  } while (sum != before);
  return sum / 3;
}

/** Sparse: count + 1, then the entries in ascending order, as differences. Dense: 0, then six bits a register. */
export function distinctWrite(out: ByteBuffer, sketch: usize): void {
  if (head(sketch).slots == 0) {
    writeVarint(out, 0);
    writeDense(out, sketch + HEAD_BYTES);
    return;
  }
  const count = head(sketch).count;
  writeVarint(out, count + 1);
  const entries = heap.alloc((<usize>count << 2) + 1);
  let n: u32 = 0;
  for (let slot: u32 = 0; slot < head(sketch).slots; slot++) {
    const entry = load<u32>(sketch + HEAD_BYTES + (<usize>slot << 2));
    if (entry == 0) continue;
    store<u32>(entries + (<usize>n << 2), entry);
    n++;
  }
  sortWords(entries, count);
  let previous: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const entry = load<u32>(entries + (<usize>i << 2));
    writeVarint(out, entry - previous);
    previous = entry;
  }
  heap.free(entries);
}

function writeDense(out: ByteBuffer, registers: usize): void {
  let at = out.reserve(PACKED_BYTES + 1);
  for (let i: u32 = 0; i < REGISTERS; i += 4, at += 3) {
    const four = load<u32>(registers + i);
    const packed = (four & 63) | ((four >> 2) & 0xfc0) | ((four >> 4) & 0x3f000) | ((four >> 6) & 0xfc0000);
    // The fourth byte is overwritten by the next three.
    store<u32>(at, packed);
  }
  out.length += PACKED_BYTES;
}

/** Merges what `distinctWrite` wrote; returns the sketch, and the address behind it in `varintEnd`. */
export function distinctAddWritten(sketch: usize, from: usize): usize {
  const tag = <u32>readVarint(from);
  if (tag == 0) return addDense(sketch, varintEnd);
  let entry: u32 = 0;
  for (let i: u32 = 1; i < tag; i++) {
    entry += <u32>readVarint(varintEnd);
    if (head(sketch).slots == 0) raiseSparse(sketch, entry);
    else sketch = addSparse(sketch, entry);
  }
  return sketch;
}

function addDense(sketch: usize, at: usize): usize {
  if (head(sketch).slots != 0) sketch = toDense(sketch);
  for (let i: u32 = 0; i < REGISTERS; i += 4, at += 3) {
    const packed = <u32>load<u16>(at) | (<u32>load<u8>(at, 2) << 16);
    raise(sketch, i, packed & 63);
    raise(sketch, i + 1, (packed >> 6) & 63);
    raise(sketch, i + 2, (packed >> 12) & 63);
    raise(sketch, i + 3, packed >> 18);
  }
  endVarintAt(at);
  return sketch;
}
