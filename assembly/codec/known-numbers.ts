import { Dictionary } from "../memory/dictionary";

/** What may be kept with one dictionary. */
const MAX_BYTES: usize = 4 << 20;
/** The longest signature: lengths of nine literals, and 256 bytes of these. */
export const MAX_SIGNATURE: u32 = 18 + 256;

const DIGITS_SHIFT: u64 = 57;
const VALUE_MASK: u64 = ((<u64>1) << DIGITS_SHIFT) - 1;
const DIGITS_MASK: u64 = (<u64>31) << DIGITS_SHIFT;
const LEADING_ZERO: u64 = (<u64>1) << 62;
/** Numbers of more digits are not remembered. */
export const MAX_KNOWN_DIGITS: u32 = 17;

/**
 * The numbers in a dictionary's texts by one template, kept with it from block to block: so that a text is taken apart once.
 * A word holds a number, how many digits it has, and whether they begin with a zero; 0 is a text not yet looked at.
 *
 * Invariant: words are of the texts with the same id in the dictionary that this stands in.
 */
@unmanaged
export class KnownNumbers {
  slots: u32;
  /** Texts there is room for. */
  capacity: u32;
  signatureLength: u32;
  unused: u32;

  @inline get signature(): usize {
    return changetype<usize>(this) + offsetof<KnownNumbers>();
  }

  /** The first word of a text; the others of the same text follow. */
  @inline word(id: u32): usize {
    return changetype<usize>(this) + WORDS + ((<usize>id * this.slots) << 3);
  }
}

/** Where words begin. */
const WORDS: usize = 16 + 280;

@inline
export function wordOf(value: u64, digits: u32, hasLeadingZero: bool): u64 {
  return value | ((<u64>digits) << DIGITS_SHIFT) | (hasLeadingZero ? LEADING_ZERO : 0);
}

@inline
export function valueOf(word: u64): i64 {
  return <i64>(word & VALUE_MASK);
}

@inline
export function hasLeadingZeroIn(words: u64): bool {
  return (words & LEADING_ZERO) != 0;
}

/** Of the XOR of words with one of them, collected by OR: whether all have as many digits. */
@inline
export function hasOneLengthIn(differences: u64): bool {
  return (differences & DIGITS_MASK) == 0;
}

/** What is known of a dictionary's texts by the template of that signature; null where it would take too much memory. */
export function knownNumbers(dictionary: Dictionary, signature: usize, length: u32, slots: u32): KnownNumbers {
  const none = changetype<KnownNumbers>(0);
  const texts = dictionary.count;
  let known = changetype<KnownNumbers>(dictionary.notes);
  if (changetype<usize>(known) != 0 && known.slots == slots && known.capacity >= texts) {
    if (known.signatureLength == length && memory.compare(known.signature, signature, length) == 0) return known;
    memory.fill(known.word(0), 0, (<usize>known.capacity * slots) << 3);
  } else {
    const before = known;
    const capacity = texts + (texts >> 1) + 64;
    const size = (<usize>capacity * slots) << 3;
    if (size > MAX_BYTES) return none;
    known = changetype<KnownNumbers>(heap.alloc(WORDS + size));
    known.slots = slots;
    known.capacity = capacity;
    memory.fill(known.word(0), 0, size);
    if (changetype<usize>(before) != 0) {
      const isSame =
        before.slots == slots &&
        before.signatureLength == length &&
        memory.compare(before.signature, signature, length) == 0;
      if (isSame) memory.copy(known.word(0), before.word(0), (<usize>before.capacity * slots) << 3);
      heap.free(changetype<usize>(before));
    }
    dictionary.notes = changetype<usize>(known);
  }
  known.signatureLength = length;
  memory.copy(known.signature, signature, length);
  return known;
}
