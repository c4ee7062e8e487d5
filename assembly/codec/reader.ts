/** Why a block cannot be read; `workers/core/codec.ts` gives each its code and text. */
export const enum Failure {
  None = 0,
  Magic = 1,
  Version = 2,
  Truncated = 3,
  Checksum = 4,
  Corrupt = 5,
  TooLarge = 6,
}

/**
 * The place in the block being decoded. There is one at a time.
 *
 * Invariant: cursor ≤ limit; after `fail`, cursor = limit, every read gives 0, and the first failure stays.
 */
export let cursor: usize = 0;
export let limit: usize = 0;
export let failure: Failure = Failure.None;

export function openReader(from: usize, to: usize): void {
  cursor = from;
  limit = to;
  failure = Failure.None;
}

/** Narrows reading to the next `length` bytes. */
export function openSection(from: usize, length: u32): void {
  cursor = from;
  limit = from + length;
}

export function fail(reason: Failure): void {
  if (failure == Failure.None) failure = reason;
  cursor = limit;
}

@inline
export function remaining(): u32 {
  return <u32>(limit - cursor);
}

@inline
export function readU8(): u32 {
  if (cursor >= limit) {
    fail(Failure.Corrupt);
    return 0;
  }
  return load<u8>(cursor++);
}

export function readU32(): u32 {
  const at = readBytes(4);
  return at == 0 ? 0 : load<u32>(at);
}

/** LEB128, at most 64 bits. */
export function readVarint(): u64 {
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 70; shift += 7) {
    const byte = <u64>readU8();
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (shift == 63 && byte > 1) break;
      return value;
    }
  }
  fail(Failure.Corrupt);
  return 0;
}

@inline
export function readSigned(): i64 {
  const value = readVarint();
  return <i64>(value >> 1) ^ -(<i64>(value & 1));
}

/** The address of the next `length` bytes, or 0 when there are fewer. */
export function readBytes(length: u32): usize {
  if (length > remaining()) {
    fail(Failure.Corrupt);
    return 0;
  }
  const at = cursor;
  cursor += length;
  return at;
}
