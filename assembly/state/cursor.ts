/** Reads little-endian fields one after another from memory. */
@unmanaged
export class ByteCursor {
  at: usize;

  @inline u32(): u32 {
    const value = load<u32>(this.at);
    this.at += 4;
    return value;
  }

  @inline i64(): i64 {
    const value = load<i64>(this.at);
    this.at += 8;
    return value;
  }

  @inline f64(): f64 {
    const value = load<f64>(this.at);
    this.at += 8;
    return value;
  }

  /** The address of the next `length` bytes. */
  @inline take(length: u32): usize {
    const start = this.at;
    this.at += length;
    return start;
  }
}

const shared = changetype<ByteCursor>(memory.data(offsetof<ByteCursor>(), 8));

/** The one cursor of this module, set to `at`: readers are used one at a time. */
@inline
export function readFrom(at: usize): ByteCursor {
  shared.at = at;
  return shared;
}
