import { Batch, Column, ColumnType } from "../batch/batch";
import { ByteBuffer } from "../memory/bytes";

/**
 * Which keys a block may hold: a Bloom filter (Bloom, "Space/Time Trade-offs in Hash Coding with Allowable Errors", 1970)
 * with double hashing (Kirsch and Mitzenmacher, "Less Hashing, Same Performance", 2006). 10 bits and 6 probes a key: one
 * of 100 keys that are not there seems to be. Bytes: version 1, probes, then the bits, lowest first.
 */
const VERSION: u8 = 1;
const PROBES: u32 = 6;
const BITS_PER_KEY: u32 = 10;
const HEAD: u32 = 2;
/** FNV-1a (Fowler, Noll, Vo), finished by the mixer of splitmix64 (Steele, Lea, Flood, 2014). */
const FNV_BASIS: u64 = 0xcbf29ce484222325;
const FNV_PRIME: u64 = 0x100000001b3;

let out: usize = 0;

function hash(text: usize, length: u32): u64 {
  let value = FNV_BASIS;
  for (let end = text + length; text < end; text++) value = (value ^ load<u8>(text)) * FNV_PRIME;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

/**
 * The filter of the texts in the named columns (a u32 length and the bytes each) of a batch of one block: the address of a
 * `ByteBuffer`, valid until the next call. 0 when it would take more than `maxBytes`, or a key is no text.
 */
export function buildKeyFilter(batch: Batch, names: usize, count: u32, maxBytes: u32): usize {
  let keys: u64 = 0;
  let at = names;
  for (let i: u32 = 0; i < count; i++) {
    const index = batch.indexOf(at + 4, load<u32>(at));
    at += 4 + load<u32>(at);
    if (index < 0) continue;
    const column = batch.column(index);
    if (column.type == ColumnType.Null) continue;
    if (column.type != ColumnType.Text) return 0;
    keys += column.dictionary.count;
  }
  const bytes = max<u64>(1, (keys * BITS_PER_KEY + 7) >> 3);
  if (bytes + HEAD > maxBytes) return 0;
  if (out == 0) out = changetype<usize>(ByteBuffer.create(1024));
  const filter = changetype<ByteBuffer>(out);
  filter.reset();
  filter.u8(VERSION);
  filter.u8(<u8>PROBES);
  memory.fill(filter.reserve(<u32>bytes), 0, <u32>bytes);
  filter.length += <u32>bytes;
  at = names;
  for (let i: u32 = 0; i < count; i++) {
    const index = batch.indexOf(at + 4, load<u32>(at));
    at += 4 + load<u32>(at);
    if (index >= 0 && batch.column(index).type == ColumnType.Text) addTexts(batch.column(index), filter);
  }
  return out;
}

function addTexts(column: Column, filter: ByteBuffer): void {
  const dictionary = column.dictionary;
  const bits = <u64>(filter.length - HEAD) << 3;
  for (let id: u32 = 0; id < dictionary.count; id++) {
    const value = hash(dictionary.pointer(id), dictionary.length(id));
    for (let probe: u32 = 0; probe < PROBES; probe++) {
      const bit = bitOf(value, probe, bits);
      const at = filter.data + HEAD + <usize>(bit >> 3);
      store<u8>(at, load<u8>(at) | <u8>((<u32>1) << (<u32>bit & 7)));
    }
  }
}

@inline
function bitOf(value: u64, probe: u32, bits: u64): u64 {
  return ((value & 0xffffffff) + <u64>probe * ((value >> 32) | 1)) % bits;
}

/** Whether a filter says that the key may be there. One that it cannot read says so of every key. */
export function mayHoldKey(filter: usize, length: u32, key: usize, keyLength: u32): bool {
  if (length <= HEAD || load<u8>(filter) != VERSION) return true;
  const value = hash(key, keyLength);
  const bits = <u64>(length - HEAD) << 3;
  const probes = <u32>load<u8>(filter, 1);
  for (let probe: u32 = 0; probe < probes; probe++) {
    const bit = bitOf(value, probe, bits);
    if (((<u32>load<u8>(filter + HEAD + <usize>(bit >> 3)) >> (<u32>bit & 7)) & 1) == 0) return false;
  }
  return true;
}
