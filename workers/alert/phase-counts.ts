import type { Phase } from "./machine.ts";

/** Keys of an alert by where they stand. */
export class PhaseCounts {
  readonly #keys = { idle: 0, pending: 0, firing: 0 };

  get counts(): { readonly pending: number; readonly firing: number } {
    const { pending, firing } = this.#keys;
    return { pending, firing };
  }

  move(from: Phase["kind"], to: Phase["kind"]): void {
    this.#keys[from]--;
    this.#keys[to]++;
  }
}
