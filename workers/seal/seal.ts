import { MillraceError } from "../errors.ts";

/**
 * What stands between the store and its rows. `place` names the row and what it says in the plain: a value that was
 * moved to another place does not open. All methods are synchronous and cost a few µs and about 0.5 ns a byte.
 */
export interface Seal {
  readonly isOn: boolean;
  /** Call it before a transaction that seals, never within one. */
  prepare(): void;
  bytes(place: string, plain: Uint8Array): Uint8Array;
  text(place: string, plain: string): string | Uint8Array;
  /** @throws MillraceError E_SEAL when it was not sealed for this place with a key of this store */
  openBytes(place: string, stored: Uint8Array): Uint8Array;
  /** @throws MillraceError E_SEAL */
  openText(place: string, stored: Stored): string;
  /**
   * What stands for a text in columns that are compared for equality: the same for the same text of the same `domain`,
   * and of no use without the key.
   */
  name(domain: string, text: string): string | Uint8Array;
}

/** A text column's value: a text in the plain, bytes when it is sealed. */
export type Stored = string | Uint8Array;

/** Without a key. A sealed value that turns up all the same is refused rather than given out as if it were data. */
export const NO_SEAL: Seal = {
  isOn: false,
  prepare: () => {},
  bytes: (_place, plain) => plain,
  text: (_place, plain) => plain,
  openBytes: (_place, stored) => stored,
  openText: (place, stored) => {
    if (typeof stored === "string") return stored;
    throw sealError(place, "it is sealed and no key was given");
  },
  name: (_domain, text) => text,
};

export function sealError(place: string, why: string): MillraceError {
  return new MillraceError("E_SEAL", `${place} cannot be opened: ${why}`);
}
