import { Dictionary } from "../memory/dictionary";
import { ByteBuffer } from "../memory/bytes";

/** Keys in no pane that are kept all the same: they may come again in the next window, and renumbering empties caches. */
const MAX_SPARE: u32 = 16384;

/** Keys by number, with a count of the panes that each is in, so that keys nobody sends any more are let go. */
@unmanaged
export class KeyTable {
  dictionary: Dictionary;
  uses: ByteBuffer; // u32 by number
  live: u32;
  /** Grows whenever numbers change their meaning. */
  generation: u32;

  static create(): KeyTable {
    const self = changetype<KeyTable>(heap.alloc(offsetof<KeyTable>()));
    self.dictionary = Dictionary.create();
    self.uses = ByteBuffer.create(4096);
    self.live = 0;
    self.generation = 0;
    return self;
  }

  dispose(): void {
    this.dictionary.dispose();
    this.uses.dispose();
    heap.free(changetype<usize>(this));
  }

  clear(): void {
    this.dictionary.reset();
    this.uses.reset();
    this.live = 0;
    this.generation++;
  }

  @inline intern(bytes: usize, length: u32): u32 {
    const key = this.dictionary.intern(bytes, length);
    if (key << 2 == this.uses.length) this.uses.u32(0);
    return key;
  }

  /** One more pane has the key. */
  @inline retain(key: u32): void {
    const place = this.uses.data + (<usize>key << 2);
    const uses = load<u32>(place);
    if (uses == 0) this.live++;
    store<u32>(place, uses + 1);
  }

  @inline release(key: u32): void {
    const place = this.uses.data + (<usize>key << 2);
    const uses = load<u32>(place) - 1;
    if (uses == 0) this.live--;
    store<u32>(place, uses);
  }

  @inline isLive(key: u32): bool {
    return load<u32>(this.uses.data + (<usize>key << 2)) != 0;
  }

  @inline isMostlyDead(): bool {
    return this.dictionary.count > (this.live << 1) + MAX_SPARE;
  }

  /** Drops the keys that are in no pane. Returns the new numbers by the old ones (u32; the caller frees them). */
  compact(): usize {
    const old = this.dictionary;
    const numbers = heap.alloc((<usize>old.count << 2) + 1);
    const uses = ByteBuffer.create(4096);
    this.dictionary = Dictionary.create();
    for (let key: u32 = 0; key < old.count; key++) {
      const count = load<u32>(this.uses.data + (<usize>key << 2));
      if (count == 0) continue;
      store<u32>(numbers + (<usize>key << 2), this.dictionary.intern(old.pointer(key), old.length(key)));
      uses.u32(count);
    }
    old.dispose();
    this.uses.dispose();
    this.uses = uses;
    this.generation++;
    return numbers;
  }

  /** Bytes of memory. */
  bytes(): f64 {
    const dictionary = this.dictionary;
    return <f64>dictionary.capacity * 32 + <f64>dictionary.bytes.capacity + <f64>dictionary.tableMask * 4;
  }
}
