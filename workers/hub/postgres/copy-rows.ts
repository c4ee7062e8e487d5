const FIRST_BYTES = 256 * 1024;
/** "PGCOPY\n\377\r\n\0", no flags, no extension of the head. */
const HEAD = Buffer.from([
  0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0,
]);
const TEXT_OID = 25;
/** 2000-01-01, from which PostgreSQL counts µs. */
const POSTGRES_EPOCH_US = 946_684_800_000_000n;

/**
 * Rows in the binary form of COPY (PostgreSQL documentation, "COPY", File Formats): a head, tuples of fields that each begin
 * with their length, and −1 as the end.
 */
export class CopyRows {
  #buffer = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  head(): void {
    this.#reserve(HEAD.length);
    this.#length += HEAD.copy(this.#buffer, this.#length);
  }

  /** Begins a tuple of so many fields. */
  begin(fields: number): void {
    this.#reserve(2);
    this.#length = this.#buffer.writeInt16BE(fields, this.#length);
  }

  int4(value: number): void {
    this.#reserve(8);
    this.#int(4);
    this.#int(value);
  }

  int8(value: number): void {
    this.#reserve(12);
    this.#int(8);
    this.#length = this.#buffer.writeBigInt64BE(BigInt(value), this.#length);
  }

  /** µs since 1970. */
  time(us: bigint): void {
    this.#reserve(12);
    this.#int(8);
    this.#length = this.#buffer.writeBigInt64BE(us - POSTGRES_EPOCH_US, this.#length);
  }

  bytesField(bytes: Uint8Array): void {
    this.#reserve(4 + bytes.length);
    this.#int(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  text(value: string | null): void {
    if (value === null) {
      this.#reserve(4);
      this.#int(-1);
      return;
    }
    this.#reserve(4 + value.length * 3);
    const at = this.#length;
    const written = this.#buffer.write(value, at + 4, "utf8");
    this.#buffer.writeInt32BE(written, at);
    this.#length = at + 4 + written;
  }

  /** text[]; null where there is none. */
  texts(values: readonly string[]): void {
    if (values.length === 0) {
      this.text(null);
      return;
    }
    this.#reserve(24);
    const at = this.#length;
    this.#length += 4;
    // Dimensions, no nulls, the elements' type, and of the one dimension its length and first index.
    for (const word of [1, 0, TEXT_OID, values.length, 1]) this.#int(word);
    for (const value of values) this.text(value);
    this.#buffer.writeInt32BE(this.#length - at - 4, at);
  }

  /** What was written so far; then it is empty. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#length);
    this.#buffer = Buffer.allocUnsafe(Math.max(FIRST_BYTES, Math.ceil(this.#length * 1.1)));
    this.#length = 0;
    return taken;
  }

  #int(value: number): void {
    this.#length = this.#buffer.writeInt32BE(value, this.#length);
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
