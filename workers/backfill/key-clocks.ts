import { readKeyHeads } from "../query/partial-groups.ts";

/** A key and how far its clock will go. */
interface KnownKey {
  readonly key: Uint8Array<ArrayBuffer>;
  /** Its greatest event time, µs. */
  greatestUs: number;
}

/**
 * Where keys have clocks: how far each goes with the events before an entry of the log. Read in the order of event time,
 * events would move them too far too early: so they are known first, and moved no further than that.
 */
export class KeyClocks {
  readonly #keys = new Map<string, KnownKey>();
  readonly #boundUs: number;

  constructor(boundUs: number) {
    this.#boundUs = boundUs;
  }

  /** How many keys there are. */
  get size(): number {
    return this.#keys.size;
  }

  /** Takes in a partial of keyed windows: events that `where` leaves out count too. */
  take(partial: Uint8Array<ArrayBuffer>): void {
    for (const { id, key, greatestUs } of readKeyHeads(partial)) {
      const known = this.#keys.get(id);
      if (known === undefined) this.#keys.set(id, { key, greatestUs });
      else if (greatestUs > known.greatestUs) known.greatestUs = greatestUs;
    }
  }

  /** Every key with its clock, where no event before `timeUs` is to come; null: none at all. */
  *at(timeUs: number | null): Generator<{ readonly key: Uint8Array; readonly clockUs: bigint }> {
    for (const { key, greatestUs } of this.#keys.values()) {
      const clockUs = greatestUs - this.#boundUs;
      yield { key, clockUs: BigInt(timeUs === null ? clockUs : Math.min(clockUs, timeUs)) };
    }
  }
}
