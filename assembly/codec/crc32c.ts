/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), eight bytes a step.
 * Slicing-by-8: Kounavis and Berry, "A Systematic Approach to Building High Performance Software-Based CRC
 * Generators" (2005). The tables (8 KiB) are made at first use.
 */
const POLYNOMIAL: u32 = 0x82f63b78;
const TABLES = memory.data(8 * 1024, 16);
let isReady = false;

function prepare(): void {
  for (let byte: u32 = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ POLYNOMIAL : crc >> 1;
    store<u32>(TABLES + (<usize>byte << 2), crc);
  }
  for (let byte: u32 = 0; byte < 256; byte++) {
    let crc = entry(0, byte);
    for (let table: usize = 1; table < 8; table++) {
      crc = entry(0, crc & 0xff) ^ (crc >> 8);
      store<u32>(TABLES + (table << 10) + (<usize>byte << 2), crc);
    }
  }
  isReady = true;
}

@inline
function entry(table: usize, byte: u32): u32 {
  return load<u32>(TABLES + (table << 10) + (<usize>byte << 2));
}

/** The checksum of `length` bytes. */
export function crc32c(source: usize, length: u32): u32 {
  if (!isReady) prepare();
  let crc: u32 = 0xffffffff;
  while (length >= 8) {
    const low = crc ^ load<u32>(source);
    const high = load<u32>(source, 4);
    crc =
      entry(7, low & 0xff) ^
      entry(6, (low >> 8) & 0xff) ^
      entry(5, (low >> 16) & 0xff) ^
      entry(4, low >> 24) ^
      (entry(3, high & 0xff) ^ entry(2, (high >> 8) & 0xff) ^ entry(1, (high >> 16) & 0xff) ^ entry(0, high >> 24));
    source += 8;
    length -= 8;
  }
  while (length > 0) {
    crc = entry(0, (crc ^ load<u8>(source)) & 0xff) ^ (crc >> 8);
    source++;
    length--;
  }
  return ~crc;
}
