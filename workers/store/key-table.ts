import { existsSync, rmSync, statSync } from "node:fs";
import Database from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import { KeyRing, type KeyShelf, masterOf, unwrap, type WrappedKey } from "../seal/key-ring.ts";
import type { MasterKeys } from "../seal/master-key.ts";
import { NO_SEAL, type Seal } from "../seal/seal.ts";
import { databaseFile } from "./data-dir.ts";
import type { Connection } from "./database.ts";

/** The second is the spare: each change goes into both. */
const TABLES = ["seal_keys", "seal_keys_spare"] as const;
/** When only the file is yet to be rewritten, all rows are sealed. */
const HAS_PLAIN = "SELECT 1 FROM seal_progress WHERE kind <> 'rewrite'";
const HAS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?";

/** The wrapped keys in the database itself, so that a copy of it is whole. */
class KeyTable implements KeyShelf {
  readonly #db: Connection;

  constructor(db: Connection) {
    this.#db = db;
  }

  keys(): readonly WrappedKey[] {
    const keys = keysOf(this.#db, "seal_keys");
    const spares = keysOf(this.#db, "seal_keys_spare");
    // Where they differ, whoever has the master key takes the one that opens.
    return [...keys, ...spares.filter((spare) => !keys.some((key) => isSame(key, spare)))];
  }

  add({ id, purpose, master, wrapped, uses }: WrappedKey): void {
    for (const table of TABLES) {
      this.#db
        .prepare(`INSERT INTO ${table} (id, purpose, master, wrapped, uses) VALUES (?, ?, ?, ?, ?)`)
        .run(id, purpose, master, wrapped, uses);
    }
  }

  rewrap(id: number, master: string, wrapped: Uint8Array): void {
    for (const table of TABLES)
      this.#db.prepare(`UPDATE ${table} SET master = ?, wrapped = ? WHERE id = ?`).run(master, wrapped, id);
  }

  countUses(id: number, uses: number): void {
    for (const table of TABLES) this.#db.prepare(`UPDATE ${table} SET uses = ? WHERE id = ?`).run(uses, id);
  }

  hasPlain(): boolean {
    return this.#db.prepare(HAS_PLAIN).get() !== undefined;
  }

  atomically<T>(work: () => T): T {
    return this.#db.transaction(work).immediate();
  }
}

function keysOf(db: Connection, table: (typeof TABLES)[number]): WrappedKey[] {
  if (db.prepare(HAS_TABLE).get(table) === undefined) return [];
  const rows = db
    .prepare(`SELECT id, purpose, master, wrapped, uses FROM ${table} ORDER BY id`)
    .all() as (WrappedKey & { readonly id: number | null })[];
  // Where damage took the table's own definition, its ids are no longer in its rows: the other table has them.
  return rows.filter(({ id }) => id !== null);
}

/** Each key as it opens, if it does: the spare's where the row is lost or damaged. */
function storedKeys(db: Connection, masters: MasterKeys | null): WrappedKey[] {
  const keys = new Map(keysOf(db, "seal_keys").map((key) => [key.id, key]));
  for (const spare of keysOf(db, "seal_keys_spare")) {
    const key = keys.get(spare.id);
    if (key === undefined || (!opens(key, masters) && opens(spare, masters))) keys.set(spare.id, spare);
  }
  return [...keys.values()].sort((a, b) => a.id - b.id);
}

function opens(key: WrappedKey, masters: MasterKeys | null): boolean {
  return masters !== null && unwrap(masterOf(masters, key.master), key) !== null;
}

/** The keys of which a row is lost or damaged, as they open. */
export function damagedKeys(db: Connection, masters: MasterKeys | null): WrappedKey[] {
  const rows = TABLES.map((table) => keysOf(db, table));
  return storedKeys(db, masters).filter((key) =>
    rows.some((table) => !table.some((row) => row.id === key.id && isSame(row, key))),
  );
}

/** Puts damaged or lost rows of keys right from the others. @returns the keys' ids */
export function mendKeys(db: Connection, masters: MasterKeys | null): number[] {
  const differing = damagedKeys(db, masters);
  if (differing.length === 0) return [];
  db.transaction(() => {
    for (const { id, purpose, master, wrapped, uses } of differing) {
      for (const table of TABLES) {
        db.prepare(
          // By its rowid, which is its id as long as the table's definition is whole, and is so again when that is.
          `INSERT OR REPLACE INTO ${table} (rowid, purpose, master, wrapped, uses) VALUES (?, ?, ?, ?, ?)`,
        ).run(id, purpose, master, wrapped, uses);
      }
    }
  }).immediate();
  return differing.map(({ id }) => id);
}

/** Uses may differ by a portion: what counts is what opens. */
function isSame(a: WrappedKey, b: WrappedKey): boolean {
  return a.purpose === b.purpose && a.master === b.master && Buffer.compare(a.wrapped, b.wrapped) === 0;
}

/** The keys of a database that is open for writing. @throws MillraceError E_KEY_MISSING, E_KEY_WRONG, E_KEY_DAMAGED */
export function openKeyRing(db: Connection, masters: MasterKeys): KeyRing {
  checkKeys(storedKeys(db, masters), masters, db.name);
  mendKeys(db, masters);
  return new KeyRing(masters, new KeyTable(db));
}

/** What a connection that only reads opens values with. @throws as `openKeyRing` */
export function openReadingSeal(db: Connection, masters: MasterKeys | null): Seal | KeyRing {
  const keys = storedKeys(db, masters);
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
      keys = storedKeys(db, masters);
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
