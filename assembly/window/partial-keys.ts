import { ByteBuffer } from "../memory/bytes";
import { KeyTable } from "./key-table";
import { coverText, KnownTexts, UNKNOWN_KEY } from "./text-keys";

/** What is behind the keys of a partial. */
export function keysEnd(at: usize): usize {
  const texts: usize = load<u64>(at) == 0 ? 0 : <usize>load<u32>(at, 8) << 2;
  return at + 16 + texts + load<u32>(at, 12);
}

/** The keys of the partial at hand: their numbers, looked for when they are needed, and their bytes. */
@unmanaged
export class PartialKeys {
  keys: KeyTable;
  texts: KnownTexts;
  numbers: ByteBuffer; // u32 by the partial's number, or UNKNOWN_KEY
  /** Where each key's length stands, once one was asked for: u32. */
  places: ByteBuffer;
  count: u32;
  /** Where the lengths and bytes of all begin. */
  bytesAt: usize;
  /** Texts by the partial's number, u32, or 0. */
  textsAt: usize;
  /** Their numbers; null without texts. */
  known: ByteBuffer;

  static create(keys: KeyTable): PartialKeys {
    const self = changetype<PartialKeys>(heap.alloc(offsetof<PartialKeys>()));
    self.keys = keys;
    self.texts = KnownTexts.create();
    self.numbers = ByteBuffer.create(4096);
    self.places = ByteBuffer.create(1024);
    self.count = 0;
    self.bytesAt = 0;
    self.textsAt = 0;
    self.known = changetype<ByteBuffer>(0);
    return self;
  }

  dispose(): void {
    this.texts.dispose();
    this.numbers.dispose();
    this.places.dispose();
    heap.free(changetype<usize>(this));
  }

  /** Reads what a partial says of its keys, see partial.ts; returns what is behind it. */
  read(at: usize): usize {
    const identity = load<u64>(at);
    const count = load<u32>(at, 8);
    const bytes = load<u32>(at, 12);
    at += 16;
    this.count = count;
    this.places.reset();
    this.numbers.reset();
    const numbers = this.numbers.reserve(count << 2);
    this.textsAt = 0;
    if (identity == 0) memory.fill(numbers, 0xff, <usize>count << 2);
    else {
      this.textsAt = at;
      this.readTexts(identity, numbers);
      at += <usize>count << 2;
    }
    this.bytesAt = at;
    return at + bytes;
  }

  private readTexts(identity: u64, numbers: usize): void {
    const known = this.texts.of(identity, this.keys.generation);
    this.known = known;
    const count = this.count;
    let greatest: u32 = 0;
    for (let k: u32 = 0; k < count; k++) greatest = max(greatest, load<u32>(this.textsAt + (<usize>k << 2)));
    coverText(known, greatest);
    for (let k: u32 = 0; k < count; k++) {
      const text = load<u32>(this.textsAt + (<usize>k << 2));
      store<u32>(numbers + (<usize>k << 2), load<u32>(known.data + (<usize>text << 2)));
    }
  }

  /** The number of a key among the windows' keys. */
  @inline numberOf(key: u32): u32 {
    const number = load<u32>(this.numbers.data + (<usize>key << 2));
    return number != UNKNOWN_KEY ? number : this.find(key);
  }

  /** The same of one that is not known yet. */
  find(key: u32): u32 {
    const at = this.placeOf(key);
    const number = this.keys.intern(at + 4, load<u32>(at));
    store<u32>(this.numbers.data + (<usize>key << 2), number);
    if (this.textsAt != 0) {
      store<u32>(this.known.data + (<usize>load<u32>(this.textsAt + (<usize>key << 2)) << 2), number);
    }
    return number;
  }

  /** Where the key's length, u32, stands in the partial, with its bytes behind. */
  placeOf(key: u32): usize {
    const places = this.places;
    if (places.length == 0) {
      places.reserve(this.count << 2);
      let at = this.bytesAt;
      for (let k: u32 = 0; k < this.count; k++) {
        places.u32(<u32>at);
        at += 4 + load<u32>(at);
      }
    }
    return load<u32>(places.data + (<usize>key << 2));
  }

  bytes(): f64 {
    return this.texts.bytes();
  }
}
