/**
 * A growable run of bytes in linear memory. Append costs amortised O(1); `reset` keeps the memory.
 * Pointers into it are valid until the next append.
 */
@unmanaged
export class ByteBuffer {
  data: usize;
  length: u32;
  capacity: u32;

  static create(capacity: u32): ByteBuffer {
    const self = changetype<ByteBuffer>(heap.alloc(offsetof<ByteBuffer>()));
    self.data = heap.alloc(capacity);
    self.length = 0;
    self.capacity = capacity;
    return self;
  }

  @inline reset(): void {
    this.length = 0;
  }

  /** Makes room for `extra` more bytes and returns where they go. Does not change `length`. */
  @inline reserve(extra: u32): usize {
    const needed = this.length + extra;
    if (needed > this.capacity) this.grow(needed);
    return this.data + this.length;
  }

  grow(needed: u32): void {
    let capacity = this.capacity;
    while (capacity < needed) capacity = capacity < 0x40000000 ? capacity << 1 : needed;
    this.data = heap.realloc(this.data, capacity);
    this.capacity = capacity;
  }

  @inline append(source: usize, length: u32): u32 {
    const at = this.length;
    memory.copy(this.reserve(length), source, length);
    this.length = at + length;
    return at;
  }

  @inline u8(value: u8): void {
    store<u8>(this.reserve(1), value);
    this.length += 1;
  }

  @inline u16(value: u16): void {
    store<u16>(this.reserve(2), value);
    this.length += 2;
  }

  @inline u32(value: u32): void {
    store<u32>(this.reserve(4), value);
    this.length += 4;
  }

  @inline u64(value: u64): void {
    store<u64>(this.reserve(8), value);
    this.length += 8;
  }

  @inline f64(value: f64): void {
    store<f64>(this.reserve(8), value);
    this.length += 8;
  }

  dispose(): void {
    heap.free(this.data);
    heap.free(changetype<usize>(this));
  }
}
