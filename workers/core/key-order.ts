/** Ranks below it, and rows: both fit into one double, whose order is that of the ranks. */
const ROWS = 2 ** 26;
/** Keys that are ranked, by those that a window has: with more of them, new ones are not put among them. */
const MOST_RANKED = 4;

/**
 * The order of keys by their texts, as the store has results. A window's rows that come in this order are written one behind the other;
 * in any other, each portion of them touches all pages of the window again: 10,000 rows in portions of 64 KiB are 2,400 pages of 8 KiB in
 * the log instead of 370, and 2.4 times the processor time.
 *
 * Keys are ranked once. Invariant: `#sorted` has the ranked keys in the order of their texts.
 */
export class KeyOrder {
  readonly #generation: () => number;
  readonly #textOf: (key: number) => string;
  #known = -1;
  #sorted: number[] = [];
  /** By key: its place in `#sorted` + 1; 0, or not there: it has none. */
  #ranks = new Uint32Array(0);

  /** @param generation another number whenever key numbers have changed their meaning */
  constructor(generation: () => number, textOf: (key: number) => string) {
    this.#generation = generation;
    this.#textOf = textOf;
  }

  /** The indexes of `keys`, no two of which are the same, in the order of their texts. */
  of(keys: Uint32Array): Uint32Array {
    if (this.#generation() !== this.#known) {
      this.#known = this.#generation();
      this.#sorted = [];
      this.#ranks = new Uint32Array(0);
    }
    const fresh = keys.filter((key) => !this.#ranks[key]);
    if (fresh.length > 0) {
      if (this.#sorted.length > MOST_RANKED * keys.length || keys.length >= ROWS) return this.#byText(keys);
      this.#rank(fresh);
    }
    return this.#sorted.length > MOST_RANKED * keys.length ? this.#sortedByRank(keys) : this.#laidOut(keys);
  }

  /** For few of the keys that are ranked. */
  #sortedByRank(keys: Uint32Array): Uint32Array {
    const places = new Float64Array(keys.length);
    for (let row = 0; row < keys.length; row++) places[row] = this.#ranks[keys[row]!]! * ROWS + row;
    places.sort();
    const rows = new Uint32Array(keys.length);
    for (let place = 0; place < keys.length; place++) rows[place] = places[place]! % ROWS;
    return rows;
  }

  /** For many: each row goes to the place of its key. */
  #laidOut(keys: Uint32Array): Uint32Array {
    const rowOf = new Uint32Array(this.#sorted.length);
    for (let row = 0; row < keys.length; row++) rowOf[this.#ranks[keys[row]!]! - 1] = row + 1;
    const rows = new Uint32Array(keys.length);
    let count = 0;
    for (const row of rowOf) if (row > 0) rows[count++] = row - 1;
    return rows;
  }

  #byText(keys: Uint32Array): Uint32Array {
    const texts = Array.from(keys, this.#textOf);
    return Uint32Array.from(keys.keys()).sort((a, b) => compare(texts[a]!, texts[b]!));
  }

  /** Cost: the logarithm of the new keys for each of them, and a look at each that was ranked. */
  #rank(fresh: Uint32Array): void {
    const added = Array.from(fresh).sort((a, b) => compare(this.#textOf(a), this.#textOf(b)));
    const before = this.#sorted;
    const all: number[] = [];
    let next = 0;
    for (const key of added) {
      const text = this.#textOf(key);
      while (next < before.length && this.#textOf(before[next]!) < text) all.push(before[next++]!);
      all.push(key);
    }
    while (next < before.length) all.push(before[next++]!);
    const greatest = all.reduce((most, key) => Math.max(most, key), 0);
    if (greatest >= this.#ranks.length) this.#ranks = new Uint32Array(Math.ceil((greatest + 1) * 1.5));
    for (let place = 0; place < all.length; place++) this.#ranks[all[place]!] = place + 1;
    this.#sorted = all;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
