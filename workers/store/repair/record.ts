import { MillraceError } from "../../errors.ts";

/** A value as a row holds it. Integers beyond 2^53 are bigints. */
export type CellValue = null | number | bigint | string | Buffer;

/** @throws MillraceError E_RECORD */
export function damaged(what: string): never {
  throw new MillraceError("E_RECORD", `a row cannot be read: ${what}`);
}

/** A varint of SQLite: up to 9 bytes, big-endian groups of 7 bits, the ninth byte whole. @returns value and its length */
export function readVarint(bytes: Uint8Array, at: number): readonly [value: number, length: number] {
  let value = 0n;
  for (let length = 1; length <= 9; length++) {
    const byte = bytes[at + length - 1];
    if (byte === undefined) return damaged("it ends within a number");
    if (length === 9) {
      value = (value << 8n) | BigInt(byte);
      return [Number(BigInt.asIntN(64, value)), 9];
    }
    value = (value << 7n) | BigInt(byte & 0x7f);
    if (byte < 0x80) return [Number(value), length];
  }
  return damaged("a number is too long");
}

/** Bytes of integers by their serial type. */
const INTEGER_BYTES = [0, 1, 2, 3, 4, 6, 8] as const;

/**
 * The values of a record (https://www.sqlite.org/fileformat2.html#record_format).
 * @throws MillraceError E_RECORD when the bytes are none, or end too early
 */
export function readRecord(payload: Buffer): CellValue[] {
  const [headBytes, headLength] = readVarint(payload, 0);
  if (headBytes > payload.length || headBytes < headLength) return damaged("its head is too long");
  const values: CellValue[] = [];
  let at = headBytes;
  for (let head = headLength; head < headBytes; ) {
    const [type, length] = readVarint(payload, head);
    head += length;
    const [value, bytes] = readValue(payload, at, type);
    values.push(value);
    at += bytes;
  }
  return values;
}

function readValue(payload: Buffer, at: number, type: number): readonly [CellValue, number] {
  const bytes = type >= 12 ? (type - 12 - (type & 1)) / 2 : type === 7 ? 8 : (INTEGER_BYTES[type] ?? 0);
  if (at + bytes > payload.length) return damaged("a value is cut off");
  if (type >= 12) {
    const part = payload.subarray(at, at + bytes);
    return [(type & 1) === 1 ? part.toString("utf8") : Buffer.from(part), bytes];
  }
  switch (type) {
    case 0:
      return [null, 0];
    case 6: {
      const value = payload.readBigInt64BE(at);
      const number = Number(value);
      return [Number.isSafeInteger(number) ? number : value, 8];
    }
    case 7:
      return [payload.readDoubleBE(at), 8];
    case 8:
    case 9:
      return [type - 8, 0];
    case 10:
    case 11:
      return damaged("a value has no type");
    default:
      return [payload.readIntBE(at, bytes), bytes];
  }
}
