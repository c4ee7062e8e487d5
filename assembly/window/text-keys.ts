import { ByteBuffer } from "../memory/bytes";

/** Dictionaries that are remembered: one for each lane and stream that sends, and some that are on their way out. */
const MAX_REMEMBERED: u32 = 16;
/** What a text is that has not been seen yet. */
export const UNKNOWN_KEY: u32 = 0xffffffff;

/** The keys of one dictionary's texts. */
@unmanaged
class TextKeys {
  identity: u64;
  /** Grows with every use. */
  usedAt: u64;
  numbers: ByteBuffer; // u32 by text
}

const SIZE: u32 = offsetof<TextKeys>();

/**
 * Numbers of keys by the texts that lanes know them as. A lane keeps its texts from batch to batch, so most keys of a
 * partial have been looked for before; their bytes stand in each partial all the same, so that nothing depends on which
 * partials came before. Forgotten whenever numbers change their meaning.
 */
@unmanaged
export class KnownTexts {
  entries: ByteBuffer; // TextKeys
  generation: u32;
  uses: u64;

  static create(): KnownTexts {
    const self = changetype<KnownTexts>(heap.alloc(offsetof<KnownTexts>()));
    self.entries = ByteBuffer.create(SIZE * 2);
    self.generation = 0;
    self.uses = 0;
    return self;
  }

  dispose(): void {
    this.clear();
    this.entries.dispose();
    heap.free(changetype<usize>(this));
  }

  private clear(): void {
    for (let i: u32 = 0; i < this.count; i++) this.at(i).numbers.dispose();
    this.entries.reset();
  }

  @inline private get count(): u32 {
    return this.entries.length / SIZE;
  }

  @inline private at(index: u32): TextKeys {
    return changetype<TextKeys>(this.entries.data + index * SIZE);
  }

  /** The numbers of a dictionary's texts while keys are of that generation: `UNKNOWN_KEY` for those that are new. */
  of(identity: u64, generation: u32): ByteBuffer {
    if (this.generation != generation) {
      this.clear();
      this.generation = generation;
    }
    const count = this.count;
    let oldest: u32 = 0;
    for (let i: u32 = 0; i < count; i++) {
      const known = this.at(i);
      if (known.identity == identity) {
        known.usedAt = ++this.uses;
        return known.numbers;
      }
      if (known.usedAt < this.at(oldest).usedAt) oldest = i;
    }
    if (count < MAX_REMEMBERED) {
      this.entries.reserve(SIZE);
      this.entries.length += SIZE;
      oldest = count;
      this.at(oldest).numbers = ByteBuffer.create(1024);
    }
    const made = this.at(oldest);
    made.identity = identity;
    made.usedAt = ++this.uses;
    made.numbers.reset();
    return made.numbers;
  }

  bytes(): f64 {
    let sum: f64 = 0;
    for (let i: u32 = 0; i < this.count; i++) sum += <f64>this.at(i).numbers.capacity;
    return sum;
  }
}

/** Makes room for a text's number. */
export function coverText(numbers: ByteBuffer, text: u32): void {
  const wanted = (text + 1) << 2;
  if (wanted <= numbers.length) return;
  memory.fill(numbers.reserve(wanted - numbers.length), 0xff, wanted - numbers.length);
  numbers.length = wanted;
}
