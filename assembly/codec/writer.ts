import { ByteBuffer } from "../memory/bytes";

/** Appends LEB128. */
export function writeVarint(out: ByteBuffer, value: u64): void {
  let at = out.reserve(10);
  while (value >= 0x80) {
    store<u8>(at++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(at++, <u8>value);
  out.length = <u32>(at - out.data);
}

/** Appends LEB128 of the zigzag form, so that small negative numbers are short too. */
@inline
export function writeSigned(out: ByteBuffer, value: i64): void {
  writeVarint(out, <u64>((value << 1) ^ (value >> 63)));
}
