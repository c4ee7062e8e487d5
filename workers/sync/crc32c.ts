/** CRC-32C (Castagnoli), reflected, as RFC 3720 §12.1 has it. By tables, eight bytes at a time (Kounavis and Berry, 2005). */

const POLYNOMIAL = 0x82f63b78;
const SLICES = 8;
const IS_LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

const TABLES: readonly Int32Array[] = makeTables();

function makeTables(): Int32Array[] {
  const first = Int32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1;
    return crc;
  });
  const tables = [first];
  for (let k = 1; k < SLICES; k++) {
    const before = tables[k - 1]!;
    tables.push(before.map((crc) => (crc >>> 8) ^ first[crc & 0xff]!));
  }
  return tables;
}

/** The checksum of bytes; of several parts, with that of those before as `crc`. */
export function crc32c(bytes: Uint8Array, crc = 0): number {
  const aligned = Math.min(bytes.length, -bytes.byteOffset & 3);
  const words = IS_LITTLE_ENDIAN ? (bytes.length - aligned) >> 3 : 0;
  if (words === 0) return ~addBytes(~crc, bytes, 0, bytes.length) >>> 0;
  let state = addBytes(~crc, bytes, 0, aligned);
  state = addWords(state, new Int32Array(bytes.buffer, bytes.byteOffset + aligned, words * 2));
  return ~addBytes(state, bytes, aligned + words * 8, bytes.length) >>> 0;
}

function addBytes(start: number, bytes: Uint8Array, from: number, to: number): number {
  const t0 = TABLES[0]!;
  let state = start;
  for (let at = from; at < to; at++) state = t0[(state ^ bytes[at]!) & 0xff]! ^ (state >>> 8);
  return state;
}

function addWords(start: number, words: Int32Array): number {
  const [t0, t1, t2, t3, t4, t5, t6, t7] = TABLES as Tables;
  let state = start;
  for (let at = 0; at < words.length; at += 2) {
    const low = state ^ words[at]!;
    const high = words[at + 1]!;
    state =
      t7[low & 0xff]! ^
      t6[(low >>> 8) & 0xff]! ^
      t5[(low >>> 16) & 0xff]! ^
      t4[low >>> 24]! ^
      t3[high & 0xff]! ^
      t2[(high >>> 8) & 0xff]! ^
      t1[(high >>> 16) & 0xff]! ^
      t0[high >>> 24]!;
  }
  return state;
}

type Table = Int32Array;
type Tables = [Table, Table, Table, Table, Table, Table, Table, Table];
