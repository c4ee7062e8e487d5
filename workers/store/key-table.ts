import { existsSync, rmSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import { KeyRing, type KeyShelf, masterOf, unwrap, type WrappedKey } from "../seal/key-ring.ts";
import type { MasterKeys } from "../seal/master-key.ts";
import { NO_SEAL, type Seal } from "../seal/seal.ts";
import { databaseFile } from "./data-dir.ts";
import type { Connection } from "./database.ts";

const ALL_KEYS = "SELECT id, purpose, master, wrapped, uses FROM seal_keys ORDER BY id";
/** When only the file is yet to be rewritten, all rows are sealed. */
const HAS_PLAIN = "SELECT 1 FROM seal_progress WHERE kind <> 'rewrite'";
const HAS_TABLE = "SELECT count(*) AS n FROM sqlite_master WHERE type = 'table' AND name = 'seal_keys'";

/** The wrapped keys in the database itself, so that a copy of it is whole. */
class KeyTable implements KeyShelf {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  keys(): readonly WrappedKey[] {
    return storedKeys(this.#db);
  }

  add({ id, purpose, master, wrapped, uses }: WrappedKey): void {
    this.#db
      .prepare("INSERT INTO seal_keys (id, purpose, master, wrapped, uses) VALUES (?, ?, ?, ?, ?)")
      .run(id, purpose, master, wrapped, uses);
  }

  rewrap(id: number, master: string, wrapped: Uint8Array): void {
    this.#db.prepare("UPDATE seal_keys SET master = ?, wrapped = ? WHERE id = ?").run(master, wrapped, id);
  }

  countUses(id: number, uses: number): void {
    this.#db.prepare("UPDATE seal_keys SET uses = ? WHERE id = ?").run(uses, id);
  }

  hasPlain(): boolean {
    return this.#db.prepare(HAS_PLAIN).get() !== undefined;
  }

  atomically<T>(work: () => T): T {
    return this.#db.transaction(work).immediate();
  }
}

function storedKeys(db: Connection): WrappedKey[] {
  const { n } = db.prepare(HAS_TABLE).get() as { n: number };
  return n === 0 ? [] : (db.prepare(ALL_KEYS).all() as WrappedKey[]);
}

/** The keys of an open database. @throws MillraceError E_KEY_MISSING, E_KEY_WRONG, E_KEY_DAMAGED */
export function openKeyRing(db: Connection, masters: MasterKeys): KeyRing {
  checkKeys(storedKeys(db), masters, db.name);
  return new KeyRing(masters, new KeyTable(db));
}

/** What a connection that only reads opens values with. @throws as `openKeyRing` */
export function openReadingSeal(db: Connection, masters: MasterKeys | null): Seal | KeyRing {
  const keys = storedKeys(db);
  checkKeys(keys, masters, db.name);
  // A key may be configured before the first start with it: then nothing is sealed yet.
  return masters === null || keys.length === 0 ? NO_SEAL : new KeyRing(masters, new KeyTable(db));
}

/**
 * Refuses a data directory that these keys do not open, before anything in it is touched: the database is not opened for
 * writing, migrated or recovered.
 * @throws MillraceError E_KEY_MISSING, E_KEY_WRONG, E_KEY_DAMAGED
 */
export function refuseWrongKeys(dir: string, masters: MasterKeys | null): void {
  const file = databaseFile(dir);
  if (!existsSync(file) || statSync(file).size === 0) return;
  const left = [`${file}-wal`, `${file}-shm`].filter((each) => !existsSync(each));
  let keys: readonly WrappedKey[];
  try {
    const db = new Database(file, { readonly: true });
    try {
      keys = storedKeys(db);
    } finally {
      db.close();
    }
  } catch {
    // It is damaged, or none of ours: who opens it for writing says so.
    return;
  } finally {
    // A reader makes these, empty, and leaves them. Nobody else has the directory: the caller holds its lock.
    for (const each of left) rmSync(each, { force: true });
  }
  checkKeys(keys, masters, file);
}

function checkKeys(keys: readonly WrappedKey[], masters: MasterKeys | null, file: string): void {
  if (keys.length === 0) return;
  const wanted = [...new Set(keys.map(({ master }) => master))];
  const name = `${wanted.length === 1 ? "key" : "keys"} ${wanted.join(", ")}`;
  if (masters === null) {
    throw new MillraceError(
      "E_KEY_MISSING",
      `${file} is encrypted and wants ${name}, but the configuration has no encryption section; ` +
        "add it with that key. Nothing was changed",
    );
  }
  const missing = wanted.filter((id) => masterOf(masters, id) === undefined);
  if (missing.length > 0) {
    const given = [masters.current, ...masters.previous].map(({ id }) => id).join(", ");
    throw new MillraceError(
      "E_KEY_WRONG",
      `${file} is encrypted and wants ${name}, but the configuration gives ${given}; ` +
        "put the key it wants into encryption, or into encryption.previous to go on with the new one. Nothing was changed",
    );
  }
  const damaged = keys.filter((key) => unwrap(masterOf(masters, key.master), key) === null);
  if (damaged.length === 0) return;
  throw new MillraceError(
    "E_KEY_DAMAGED",
    `${file} has keys that were changed since they were stored (${damaged.map(({ id }) => id).join(", ")}); ` +
      "what they seal cannot be read: restore a backup",
  );
}
