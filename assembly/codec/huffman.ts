import { ByteBuffer } from "../memory/bytes";
import { Failure, fail, failure, readBytes, readVarint } from "./reader";
import { writeVarint } from "./writer";

/**
 * Canonical Huffman codes of at most 12 bits over at most 512 symbols (Huffman 1952; the two-queue construction and
 * the canonical form as in Moffat and Turpin, "On the Implementation of Minimum Redundancy Prefix Codes", 1997).
 * Codes are bit-reversed, so that a stream read from the lowest bit up can look them up.
 */
export const MAX_SYMBOLS: u32 = 512;
export const MAX_CODE_BITS: u32 = 12;
export const TABLE_SIZE: u32 = 1 << MAX_CODE_BITS;

/** u32[512]: how often each symbol occurs; filled by the user of this module. */
export const COUNTS = memory.data(512 * 4, 16);
/** u8[512]: the bits of each symbol's code, 0 when it has none. */
export const LENGTHS = memory.data(512, 16);
/** u16[512]: each symbol's code. */
export const CODES = memory.data(512 * 2, 16);

/** u64[512]: count << 16 | symbol of the symbols in use, sorted. */
const LEAVES = memory.data(512 * 8, 16);
/** u32[1024]: weights of the leaves, then of the inner nodes, in the order they are joined. */
const WEIGHTS = memory.data(1024 * 4, 16);
/** u16[1024]: each node's parent, then its depth. */
const PARENTS = memory.data(1024 * 2, 16);
const DEPTHS = memory.data(1024, 16);

@inline
export function countOf(symbol: u32): u32 {
  return load<u32>(COUNTS + (<usize>symbol << 2));
}

@inline
export function lengthOf(symbol: u32): u32 {
  return load<u8>(LENGTHS + symbol);
}

@inline
export function codeOf(symbol: u32): u32 {
  return load<u16>(CODES + (<usize>symbol << 1));
}

export function clearCounts(): void {
  memory.fill(COUNTS, 0, MAX_SYMBOLS << 2);
}

/** Gives every counted symbol a code. */
export function buildCodes(): void {
  const used = sortLeaves();
  memory.fill(LENGTHS, 0, MAX_SYMBOLS);
  if (used == 1) store<u8>(LENGTHS + (<u32>load<u64>(LEAVES) & 0xffff), 1);
  else if (used > 1) measureDepths(used);
  assignCodes();
}

/** Fills LEAVES in ascending order of count; gives how many there are. */
function sortLeaves(): u32 {
  let used: u32 = 0;
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
    const count = countOf(symbol);
    if (count == 0) continue;
    store<u64>(LEAVES + (<usize>used << 3), (<u64>count << 16) | symbol);
    used++;
  }
  // Shell sort (Ciura's gaps): a few hundred keys, no memory.
  for (let step: u32 = 0; step < 6; step++) {
    const gap = <u32>load<u8>(GAPS + step);
    for (let i = gap; i < used; i++) {
      const key = load<u64>(LEAVES + (<usize>i << 3));
      let j = i;
      while (j >= gap && load<u64>(LEAVES + (<usize>(j - gap) << 3)) > key) {
        store<u64>(LEAVES + (<usize>j << 3), load<u64>(LEAVES + (<usize>(j - gap) << 3)));
        j -= gap;
      }
      store<u64>(LEAVES + (<usize>j << 3), key);
    }
  }
  return used;
}
const GAPS = memory.data<u8>([132, 57, 23, 10, 4, 1]);

function measureDepths(used: u32): void {
  for (let i: u32 = 0; i < used; i++) {
    store<u32>(WEIGHTS + (<usize>i << 2), <u32>(load<u64>(LEAVES + (<usize>i << 3)) >> 16));
  }
  const nodes: u32 = 2 * used - 1;
  let leaf: u32 = 0;
  let inner = used;
  for (let node = used; node < nodes; node++) {
    let weight: u32 = 0;
    for (let side = 0; side < 2; side++) {
      const isLeaf = leaf < used && (inner == node || weightOf(leaf) <= weightOf(inner));
      const child = isLeaf ? leaf++ : inner++;
      weight += weightOf(child);
      store<u16>(PARENTS + (<usize>child << 1), <u16>node);
    }
    store<u32>(WEIGHTS + (<usize>node << 2), weight);
  }
  store<u8>(DEPTHS + nodes - 1, 0);
  for (let node = <i32>nodes - 2; node >= 0; node--) {
    const parent = load<u16>(PARENTS + (<usize>node << 1));
    store<u8>(DEPTHS + node, <u8>min<u32>(<u32>load<u8>(DEPTHS + parent) + 1, 255));
  }
  limitDepths(used);
  for (let i: u32 = 0; i < used; i++) {
    store<u8>(LENGTHS + (<u32>load<u64>(LEAVES + (<usize>i << 3)) & 0xffff), load<u8>(DEPTHS + i));
  }
}

@inline
function weightOf(node: u32): u32 {
  return load<u32>(WEIGHTS + (<usize>node << 2));
}

/**
 * Cuts depths at 12 bits and makes the code complete again: first the rarest symbols that can be are lengthened,
 * then what is left over shortens the most frequent that fit. Close to optimal, as few codes are that long.
 */
function limitDepths(used: u32): void {
  let room: i32 = TABLE_SIZE;
  for (let i: u32 = 0; i < used; i++) {
    const depth = min<u32>(load<u8>(DEPTHS + i), MAX_CODE_BITS);
    store<u8>(DEPTHS + i, <u8>depth);
    room -= <i32>(TABLE_SIZE >> depth);
  }
  for (let i: u32 = 0; i < used && room < 0; i++) {
    let depth = <u32>load<u8>(DEPTHS + i);
    while (depth < MAX_CODE_BITS && room < 0) {
      depth++;
      room += <i32>(TABLE_SIZE >> depth);
    }
    store<u8>(DEPTHS + i, <u8>depth);
  }
  // Room is a multiple of the deepest symbol's share, so each round takes some.
  while (room > 0) {
    for (let i = <i32>used - 1; i >= 0; i--) {
      const depth = <u32>load<u8>(DEPTHS + i);
      const share = <i32>(TABLE_SIZE >> depth);
      if (depth == 1 || share > room) continue;
      room -= share;
      store<u8>(DEPTHS + i, <u8>(depth - 1));
    }
  }
}

/**
 * Numbers the codes as RFC 1951, §3.2.2 does: shorter first, by symbol among equals. False when the lengths make no
 * complete code; a single symbol has one bit.
 */
function assignCodes(): bool {
  memory.fill(NEXT, 0, (MAX_CODE_BITS + 2) << 2);
  let room: i32 = TABLE_SIZE;
  let used: u32 = 0;
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
    const length = lengthOf(symbol);
    if (length == 0) continue;
    // Counted one place up: a length's first code follows from the shorter lengths.
    const at = NEXT + (<usize>(length + 1) << 2);
    store<u32>(at, load<u32>(at) + 1);
    room -= <i32>(TABLE_SIZE >> length);
    used++;
  }
  const isAlone = used == 1 && room == <i32>TABLE_SIZE >> 1;
  if (room != 0 && !isAlone) return false;
  let code: u32 = 0;
  for (let length: u32 = 1; length <= MAX_CODE_BITS; length++) {
    const at = NEXT + (<usize>length << 2);
    code = (code + load<u32>(at)) << 1;
    store<u32>(at, code);
  }
  for (let symbol: u32 = 0; symbol < MAX_SYMBOLS; symbol++) {
    const length = lengthOf(symbol);
    if (length == 0) continue;
    const at = NEXT + (<usize>length << 2);
    store<u16>(CODES + (<usize>symbol << 1), <u16>reverse(load<u32>(at), length));
    store<u32>(at, load<u32>(at) + 1);
  }
  return true;
}
/** u32[14]: the next code of each length. */
const NEXT = memory.data(16 * 4, 16);

@inline
function reverse(code: u32, length: u32): u32 {
  let reversed: u32 = 0;
  for (let i: u32 = 0; i < length; i++) reversed |= ((code >> i) & 1) << (length - 1 - i);
  return reversed;
}

/** What `writeCodes` takes, in bytes. */
export function codesBytes(): u32 {
  return 4 + ((lastSymbol() - firstSymbol() + 2) >> 1);
}

function firstSymbol(): u32 {
  let symbol: u32 = 0;
  while (symbol < MAX_SYMBOLS - 1 && lengthOf(symbol) == 0) symbol++;
  return symbol;
}

function lastSymbol(): u32 {
  let symbol = MAX_SYMBOLS - 1;
  while (symbol > 0 && lengthOf(symbol) == 0) symbol--;
  return symbol;
}

/** Appends the first symbol in use, how many symbols there are from it on, and their code lengths, two a byte. */
export function writeCodes(out: ByteBuffer): void {
  const first = firstSymbol();
  const span = lastSymbol() - first + 1;
  writeVarint(out, first);
  writeVarint(out, span);
  for (let i: u32 = 0; i < span; i += 2) {
    const high = i + 1 < span ? lengthOf(first + i + 1) : 0;
    out.u8(<u8>(lengthOf(first + i) | (high << 4)));
  }
}

/** Reads codes. False, and failure, when they are no complete code. */
export function readCodes(): bool {
  const first = readVarint();
  const span = readVarint();
  if (first >= MAX_SYMBOLS || span == 0 || span > MAX_SYMBOLS - first) fail(Failure.Corrupt);
  const packed = readBytes(<u32>((span + 1) >> 1));
  if (failure != Failure.None) return false;
  memory.fill(LENGTHS, 0, MAX_SYMBOLS);
  for (let i: u32 = 0; i < <u32>span; i++) {
    const length = (<u32>load<u8>(packed + (i >> 1)) >> ((i & 1) << 2)) & 15;
    if (length > MAX_CODE_BITS) {
      fail(Failure.Corrupt);
      return false;
    }
    store<u8>(LENGTHS + <u32>first + i, <u8>length);
  }
  if (!assignCodes()) {
    fail(Failure.Corrupt);
    return false;
  }
  return true;
}

/** A single symbol has one code of one bit; the other bit leads to it too. */
export function isAlone(symbol: u32): bool {
  return firstSymbol() == symbol && lastSymbol() == symbol;
}
