import { createHmac, createSecretKey, hkdfSync, type KeyObject, randomBytes } from "node:crypto";
import { MillraceError } from "../errors.ts";
import { isEnvelope, keyIdOf, openBytes, sealBytes } from "./envelope.ts";
import { KEY_BYTES, type MasterKey, type MasterKeys } from "./master-key.ts";
import { type Seal, type Stored, sealError } from "./seal.ts";

/**
 * Values under one data key at most. NIST SP 800-38D, 8.3, allows 2^32 with random nonces; half of it leaves room for
 * uses that were not counted because a transaction was rolled back.
 */
const USES_OF_A_KEY = 2 ** 31;
/** Uses are counted in the store in such portions, ahead of them: a crash wastes one at most. */
const USES_RESERVED = 2 ** 20;
/** More than one transaction can seal. */
const USES_OF_A_TRANSACTION = 2 ** 19;
/** HMAC-SHA-256, cut: 128 bits, so that two texts never share a name. */
const NAME_BYTES = 16;
/** Names remembered, since results of the same keys come again and again; then they are forgotten all at once. */
const NAMES_KEPT = 20_000;

/** `data` keys seal values, the `name` key names texts that are compared. */
export type KeyPurpose = "data" | "name";

/** A key as the store keeps it: sealed with a master key. */
export interface WrappedKey {
  readonly id: number;
  readonly purpose: KeyPurpose;
  /** The master key's id. */
  readonly master: string;
  readonly wrapped: Uint8Array;
  /** Values that may have been sealed with it. */
  readonly uses: number;
}

/** Where wrapped keys are kept. */
export interface KeyShelf {
  /** By id. */
  keys(): readonly WrappedKey[];
  add(key: WrappedKey): void;
  rewrap(id: number, master: string, wrapped: Uint8Array): void;
  countUses(id: number, uses: number): void;
  /** Whether values that were stored before there was a key are left; afterwards nothing that is not sealed is given out. */
  hasPlain(): boolean;
  /** In one transaction that is durable when this returns. */
  atomically<T>(work: () => T): T;
}

/** The keys of one store, opened. */
export class KeyRing implements Seal {
  readonly isOn = true;
  readonly #shelf: KeyShelf;
  #masters: MasterKeys;
  readonly #dataKeys = new Map<number, KeyObject>();
  #nameKey: KeyObject | null = null;
  #names = new Map<string, Buffer>();
  #current: CurrentKey | null = null;

  constructor(masters: MasterKeys, shelf: KeyShelf) {
    this.#masters = masters;
    this.#shelf = shelf;
    this.#load();
  }

  /** Of the master key that new keys are wrapped with. */
  get masterId(): string {
    return this.#masters.current.id;
  }

  bytes(place: string, plain: Uint8Array): Uint8Array {
    const { id, key } = this.#use();
    return sealBytes(key, id, place, plain);
  }

  text(place: string, plain: string): Uint8Array {
    return this.bytes(place, Buffer.from(plain));
  }

  openBytes(place: string, stored: Uint8Array): Uint8Array {
    if (!isEnvelope(stored)) return this.#plain(place, stored);
    const id = keyIdOf(stored);
    const key = this.#dataKey(id);
    if (key === undefined) throw sealError(place, `the store has no data key ${id}`);
    const plain = openBytes(key, place, stored);
    if (plain === null) throw sealError(place, "it was changed or moved since it was sealed");
    return plain;
  }

  openText(place: string, stored: Stored): string {
    if (typeof stored === "string") return this.#plain(place, stored);
    return Buffer.from(this.openBytes(place, stored)).toString();
  }

  name(domain: string, text: string): Uint8Array {
    const named = `${domain}\0${text}`;
    const known = this.#names.get(named);
    if (known !== undefined) return known;
    if (this.#nameKey === null) throw sealError("a name", "the store has no key for names yet");
    const name = createHmac("sha256", this.#nameKey).update(named).digest().subarray(0, NAME_BYTES);
    if (this.#names.size >= NAMES_KEPT) this.#names = new Map();
    this.#names.set(named, name);
    return name;
  }

  /** Also opens keys that these wrap: what a reader must know before the writer turns to them. */
  learn(masters: MasterKeys): void {
    this.#masters = masters;
  }

  /**
   * Sees to it that a transaction finds keys with uses left. Call it before each, never within one: a key that a
   * rollback took back must not have sealed anything.
   */
  prepare(): void {
    if (this.#nameKey === null) this.#nameKey = this.#make("name").key;
    const current = this.#current;
    if (current !== null && current.uses + USES_OF_A_TRANSACTION <= current.reserved) return;
    if (current === null || current.uses + USES_RESERVED > USES_OF_A_KEY) this.#turnToNewKey();
    else this.#reserve(current);
  }

  /** Whether the store has keys that a previous master key wraps: it was changed while the node was down. */
  wrapsByOther(): boolean {
    return this.#shelf.keys().some(({ master }) => master !== this.masterId);
  }

  /** Wraps every key with the current master key, all or none, and seals from now on with a new data key. */
  rewrap(masters: MasterKeys): void {
    const { current } = masters;
    this.#shelf.atomically(() => {
      for (const key of this.#shelf.keys()) {
        if (key.master === current.id) continue;
        const plain = unwrap(masterOf(masters, key.master), key);
        if (plain === null) throw sealError(`key ${key.id}`, "no key that was given opens it");
        this.#shelf.rewrap(key.id, current.id, wrap(current, key, plain));
      }
    });
    this.#masters = masters;
    this.#turnToNewKey();
  }

  #plain<T>(place: string, value: T): T {
    if (this.#shelf.hasPlain()) return value;
    throw sealError(place, "it is not sealed");
  }

  #use(): { readonly id: number; readonly key: KeyObject } {
    const current = this.#current;
    if (current === null || current.uses >= current.reserved)
      throw new MillraceError("E_SEAL", "nothing can be sealed before a key was prepared for it");
    current.uses++;
    return current;
  }

  #turnToNewKey(): void {
    const { id, key } = this.#make("data");
    const current = { id, key, uses: 0, reserved: 0 };
    this.#reserve(current);
    this.#dataKeys.set(id, key);
    this.#current = current;
  }

  #reserve(current: CurrentKey): void {
    const uses = current.uses + USES_RESERVED;
    this.#shelf.atomically(() => this.#shelf.countUses(current.id, uses));
    current.reserved = uses;
  }

  #dataKey(id: number): KeyObject | undefined {
    // A reader learns of new keys when it meets what they seal.
    if (!this.#dataKeys.has(id)) this.#load();
    return this.#dataKeys.get(id);
  }

  /** Opens what can be opened; the newest data key is gone on with. */
  #load(): void {
    for (const key of this.#shelf.keys()) {
      const plain = unwrap(masterOf(this.#masters, key.master), key);
      if (plain === null || this.#dataKeys.has(key.id)) continue;
      const opened = createSecretKey(plain);
      if (key.purpose === "name") this.#nameKey = opened;
      else {
        this.#dataKeys.set(key.id, opened);
        this.#current = { id: key.id, key: opened, uses: key.uses, reserved: key.uses };
      }
    }
  }

  #make(purpose: KeyPurpose): { readonly id: number; readonly key: KeyObject } {
    const master = this.#masters.current;
    const plain = randomBytes(KEY_BYTES);
    const id = this.#shelf.atomically(() => {
      const named = { id: 1 + Math.max(0, ...this.#shelf.keys().map((key) => key.id)), purpose };
      this.#shelf.add({ ...named, master: master.id, wrapped: wrap(master, named, plain), uses: 0 });
      return named.id;
    });
    return { id, key: createSecretKey(plain) };
  }
}

interface CurrentKey {
  readonly id: number;
  readonly key: KeyObject;
  uses: number;
  /** As the store has counted them. */
  reserved: number;
}

export function masterOf({ current, previous }: MasterKeys, id: string): MasterKey | undefined {
  return [current, ...previous].find((master) => master.id === id);
}

type NamedKey = Pick<WrappedKey, "id" | "purpose">;

function wrap(master: MasterKey, key: NamedKey, plain: Uint8Array): Uint8Array {
  return sealBytes(wrappingKey(master), 0, placeOf(key), plain);
}

/** null when there is no such master key, or what is wrapped was changed. */
export function unwrap(
  master: MasterKey | undefined,
  key: NamedKey & { readonly wrapped: Uint8Array },
): Buffer | null {
  if (master === undefined || !isEnvelope(key.wrapped)) return null;
  return openBytes(wrappingKey(master), placeOf(key), key.wrapped);
}

function placeOf({ id, purpose }: NamedKey): string {
  return `keys/${purpose}/${id}`;
}

/** Not the key itself, whose only other use is its id. */
function wrappingKey({ key }: MasterKey): KeyObject {
  return createSecretKey(Buffer.from(hkdfSync("sha256", key, "", "millrace key wrapping", KEY_BYTES)));
}
