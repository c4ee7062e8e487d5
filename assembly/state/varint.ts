import { ByteBuffer } from "../memory/bytes";

/** The address behind the last varint read: AssemblyScript returns one value. */
export let varintEnd: usize = 0;

/** Appends an unsigned LEB128 number: 1 byte below 128, at most 10. */
@inline
export function writeVarint(out: ByteBuffer, value: u64): void {
  while (value > 0x7f) {
    out.u8(<u8>value | 0x80);
    value >>= 7;
  }
  out.u8(<u8>value);
}

@inline
export function readVarint(at: usize): u64 {
  const first = load<u8>(at);
  if (first < 0x80) {
    varintEnd = at + 1;
    return first;
  }
  return readLongVarint(at);
}

function readLongVarint(at: usize): u64 {
  let value: u64 = 0;
  let shift: u64 = 0;
  while (shift < 64) {
    const byte = load<u8>(at++);
    value |= <u64>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
    shift += 7;
  }
  varintEnd = at;
  return value;
}

/** For readers of more than varints: says where what they read ends. */
@inline
export function endVarintAt(at: usize): void {
  varintEnd = at;
}

/** Small for numbers near zero, whatever their sign. */
@inline
export function zigzag(value: i64): u64 {
  return <u64>((value << 1) ^ (value >> 63));
}

@inline
export function unzigzag(value: u64): i64 {
  return <i64>(value >> 1) ^ -<i64>(value & 1);
}
