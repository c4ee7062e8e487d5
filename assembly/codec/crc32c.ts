/**
 * CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), eight bytes a step.
 * Slicing-by-8: Kounavis and Berry, "A Systematic Approach to Building High Performance Software-Based CRC
 * Generators" (2005). Each step waits for the one before, so long inputs are taken as four runs at once, which are then joined: a
 * checksum is linear, and that of a run with zeros behind it follows from its own by a table (as in zlib's `crc32_combine`).
 * The tables (12 KiB) are made at first use.
 */
const POLYNOMIAL: u32 = 0x82f63b78;
const TABLES = memory.data(8 * 1024, 16);
/** u32[4][256]: by each byte of a checksum, what it becomes by RUN zeros. */
const ZEROS = memory.data(4 * 1024, 16);
/** Bytes of one of the four runs. */
const RUN: u32 = 256;
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
  for (let byte: usize = 0; byte < 4; byte++) {
    const table = ZEROS + (byte << 10);
    store<u32>(table, 0);
    for (let bit: u32 = 0; bit < 8; bit++) {
      const many: u32 = 1 << bit;
      let crc = many << (<u32>byte << 3);
      for (let done: u32 = 0; done < RUN; done++) crc = entry(0, crc & 0xff) ^ (crc >> 8);
      for (let low: u32 = 0; low < many; low++) {
        store<u32>(table + (<usize>(many + low) << 2), crc ^ load<u32>(table + (<usize>low << 2)));
      }
    }
  }
  isReady = true;
}

@inline
function entry(table: usize, byte: u32): u32 {
  return load<u32>(TABLES + (table << 10) + (<usize>byte << 2));
}

@inline
function step(crc: u32, at: usize): u32 {
  const low = crc ^ load<u32>(at);
  const high = load<u32>(at, 4);
  return (
    entry(7, low & 0xff) ^
    entry(6, (low >> 8) & 0xff) ^
    entry(5, (low >> 16) & 0xff) ^
    entry(4, low >> 24) ^
    (entry(3, high & 0xff) ^ entry(2, (high >> 8) & 0xff) ^ entry(1, (high >> 16) & 0xff) ^ entry(0, high >> 24))
  );
}

@inline
function zeroEntry(byte: usize, value: u32): u32 {
  return load<u32>(ZEROS + (byte << 10) + (<usize>value << 2));
}

/** What a checksum becomes by RUN zeros. */
@inline
function overZeros(crc: u32): u32 {
  return (
    zeroEntry(0, crc & 0xff) ^ zeroEntry(1, (crc >> 8) & 0xff) ^ zeroEntry(2, (crc >> 16) & 0xff) ^ zeroEntry(3, crc >> 24)
  );
}

/** The checksum of `length` bytes. */
export function crc32c(source: usize, length: u32): u32 {
  if (!isReady) prepare();
  let crc: u32 = 0xffffffff;
  for (; length >= 4 * RUN; length -= 4 * RUN, source += 3 * RUN) {
    let second: u32 = 0;
    let third: u32 = 0;
    let fourth: u32 = 0;
    for (const end = source + RUN; source < end; source += 8) {
      crc = step(crc, source);
      second = step(second, source + RUN);
      third = step(third, source + 2 * RUN);
      fourth = step(fourth, source + 3 * RUN);
    }
    crc = overZeros(overZeros(overZeros(crc) ^ second) ^ third) ^ fourth;
  }
  for (; length >= 8; length -= 8, source += 8) crc = step(crc, source);
  for (; length > 0; length--, source++) crc = entry(0, (crc ^ load<u8>(source)) & 0xff) ^ (crc >> 8);
  return ~crc;
}
