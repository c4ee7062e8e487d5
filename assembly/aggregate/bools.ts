import { ByteBuffer } from "../memory/bytes";
import { readVarint, varintEnd, writeVarint } from "../state/varint";
import { boxBool } from "./box";

/**
 * any and all: how many values are bools, and how many of these are true. Exact. Numbers and texts are not looked at; over
 * no bools both are null. 16 bytes.
 *
 * Where all values are bools, min, max, first, last are bools too.
 */
@unmanaged
export class Bools {
  count: u64;
  trues: u64;

  @inline addBools(count: u64, trues: u64): void {
    this.count += count;
    this.trues += trues;
  }

  any(): f64 {
    return this.count == 0 ? NaN : boxBool(this.trues != 0);
  }

  all(): f64 {
    return this.count == 0 ? NaN : boxBool(this.trues == this.count);
  }

  write(out: ByteBuffer): void {
    writeVarint(out, this.count);
    writeVarint(out, this.trues);
  }

  /** Adds what `write` wrote; returns the address behind it. */
  addWritten(at: usize): usize {
    const count = readVarint(at);
    this.addBools(count, readVarint(varintEnd));
    return varintEnd;
  }
}
