import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
} from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../../errors.ts";
import type { MasterKeys } from "../../seal/master-key.ts";
import type { Seal } from "../../seal/seal.ts";
import { BlockInspector } from "../block-inspector.ts";
import { databaseFile, lockDataDir } from "../data-dir.ts";
import { type Connection, openForWriting } from "../database.ts";
import { explainFailure } from "../failure.ts";
import { mendKeys, openReadingSeal } from "../key-table.ts";
import { examine, type Finding } from "./examine.ts";
import { PageFile } from "./page-file.ts";
import { finishSalvage, forgetMarker, syncDir, workshopOf } from "./salvage-place.ts";
import { readSchema, type TableShape } from "./schema-pages.ts";
import { continueSequences, SEQUENCES } from "./sequences.ts";
import { TreeReader, type TreeRow } from "./tree.ts";

/** What was made of a database that SQLite cannot read. */
export interface Salvage {
  /** The damaged files' name, beside the new one; null: it was not there any more. */
  readonly keptAs: string | null;
  /** Rows taken over, by table. */
  readonly rows: Readonly<Record<string, number>>;
  /** Rows that were seen and could not be read, and pages that are none. */
  readonly damagedRows: number;
  readonly damagedPages: number;
  /** What was put right in the write-ahead log. */
  readonly mended: readonly string[];
  readonly findings: readonly Finding[];
  /** It is encrypted and the keys do not open it: what is sealed was taken over without a look at it. */
  readonly isSealed: boolean;
}

export interface SalvageOptions {
  readonly dir: string;
  /** null: none were given. */
  readonly masters: MasterKeys | null;
  readonly nowUs: number;
}

/** Damaged databases kept for a look at them. */
const DAMAGED_KEPT = 2;
/** In the order in which they get another name: without its log the old database would be taken for a whole one that has less. */
const SUFFIXES = ["", "-wal", "-shm"] as const;
/** Share of pages: beyond it the disk itself is to be looked at. */
const MOST_UNREADABLE = 0.25;
const ROWS_PER_TRANSACTION = 5_000;
const KEYS = "seal_keys";
/** Where the old one is lost: a hub then takes what comes for that of another data directory. */
const NEW_INCARNATION = "INSERT OR IGNORE INTO sync_node VALUES (1, lower(hex(randomblob(16))), 0)";

/**
 * Makes a new database of what can be read of a damaged one, page by page, without SQLite: rows of every table whose pages
 * are whole, whatever is wrong with the pages above them or with the head of the file. Blocks are decoded, damaged ones
 * set aside, counts compared, and what is missing goes into the loss ledger. The old files are kept beside it. Needs as
 * much free space as the data has. Cost: the file is read once, in order, and every block is decoded.
 * @throws MillraceError E_DATA_DIR_LOCKED, E_DISK_FULL; then everything is as before
 */
export async function salvage({ dir, masters, nowUs }: SalvageOptions): Promise<Salvage> {
  const inspector = await BlockInspector.create();
  const lock = lockDataDir(dir);
  const workshop = workshopOf(dir);
  try {
    finishSalvage(dir);
    mkdirSync(workshop, { recursive: true });
    const copied = copyRows(databaseFile(dir), workshop);
    const db = openForWriting(workshop);
    let findings: readonly Finding[];
    let isSealed: boolean;
    try {
      mendKeys(db, masters);
      const seal = sealOf(db, masters);
      isSealed = seal === null;
      ({ findings } = examine(db, { inspector, seal, mode: "repair", nowUs }));
      db.pragma("wal_checkpoint(TRUNCATE)");
    } finally {
      db.close();
    }
    const keptAs = exchange(dir, workshop, nowUs);
    return { ...copied, findings, keptAs, isSealed };
  } catch (cause) {
    if (existsSync(databaseFile(dir))) rmSync(workshop, { recursive: true, force: true });
    throw explainFailure(cause, databaseFile(dir));
  } finally {
    lock.close();
  }
}

/** null when the keys that were given are not those that it wants. */
function sealOf(db: Connection, masters: MasterKeys | null): Seal | null {
  try {
    return openReadingSeal(db, masters);
  } catch (cause) {
    if (cause instanceof MillraceError) return null;
    throw cause;
  }
}

function copyRows(file: string, workshop: string): Omit<Salvage, "findings" | "keptAs" | "isSealed"> {
  const pages = new PageFile(file);
  const trees = new TreeReader(pages);
  try {
    const { version, roots, shapes } = readSchema(pages, trees);
    openForWriting(workshop, version).close();
    const db = new Database(databaseFile(workshop));
    const rows: Record<string, number> = {};
    try {
      db.pragma("synchronous = OFF");
      db.pragma("foreign_keys = OFF");
      // What an empty database begins with: rows that were found count.
      for (const name of shapes.keys()) if (name !== SEQUENCES) db.exec(`DELETE FROM "${name}"`);
      const sequences: TreeRow[] = [];
      const owners = [...trees.owners(roots)].sort(([a], [b]) => a - b);
      const hasKeys = owners.some(([page, table]) => table === KEYS && [...trees.rows(page)].length > 0);
      const inserts = new Map([...shapes].map(([name, shape]) => [name, new Insert(db, shape, hasKeys)]));
      let open = 0;
      db.exec("BEGIN");
      for (const [page, table] of owners) {
        const insert = inserts.get(table);
        if (insert === undefined) continue;
        for (const row of trees.rows(page)) {
          if (table === SEQUENCES) {
            sequences.push(row);
            continue;
          }
          if (insert.run(row)) rows[table] = (rows[table] ?? 0) + 1;
          else trees.damagedRows++;
          if (++open % ROWS_PER_TRANSACTION === 0) db.exec("COMMIT; BEGIN");
        }
      }
      db.exec("COMMIT");
      continueSequences(db, sequences);
      if (shapes.has("sync_node")) db.exec(NEW_INCARNATION);
    } finally {
      db.close();
    }
    refuseDeadDisk(file, pages);
    const { damagedRows, damagedPages } = trees;
    return { rows, damagedRows, damagedPages, mended: pages.wal?.mended ?? [] };
  } finally {
    pages.close();
  }
}

/** A disk that answers nothing may answer tomorrow: then nothing is to be replaced by what it gave. */
function refuseDeadDisk(file: string, { unreadablePages, pages }: PageFile): void {
  if (unreadablePages <= pages * MOST_UNREADABLE) return;
  throw new MillraceError(
    "E_STORE_UNREADABLE",
    `the disk of ${file} does not give ${unreadablePages} of ${pages} pages; check the disk, nothing was changed`,
  );
}

/** Puts rows of one table into the new database, if they are of its form. */
class Insert {
  readonly #db: Database.Database;
  readonly #shape: TableShape;
  readonly #hasKeys: boolean;
  readonly #statements = new Map<number, Database.Statement<unknown[]>>();

  constructor(db: Database.Database, shape: TableShape, hasKeys: boolean) {
    this.#db = db;
    this.#hasKeys = hasKeys;
    this.#shape = shape;
  }

  /** False: it is no row of this table, or there is one of that key already. */
  run({ rowid, values }: TreeRow): boolean {
    const { columns, rowidColumn, isWithoutRowid } = this.#shape;
    if (values.length === 0 || values.length > columns.length || isWithoutRowid !== (rowid === null))
      return false;
    const cells = values.map((value, index) => (columns[index]!.name === rowidColumn ? rowid : value));
    if (!cells.every((cell, index) => fits(cell, columns[index]!.type, this.#hasKeys))) return false;
    try {
      const own = isWithoutRowid ? [] : [rowid];
      return this.#statement(cells.length).run(...own, ...cells).changes > 0;
    } catch {
      // Not null, or unique, where a torn page says otherwise.
      return false;
    }
  }

  #statement(cells: number): Database.Statement<unknown[]> {
    let statement = this.#statements.get(cells);
    if (statement === undefined) {
      const { name, columns, isWithoutRowid } = this.#shape;
      const names = [
        ...(isWithoutRowid ? [] : ["rowid"]),
        ...columns.slice(0, cells).map((each) => each.name),
      ];
      const marks = names.map(() => "?").join(", ");
      statement = this.#db.prepare(
        `INSERT OR IGNORE INTO "${name}" (${names.map((each) => `"${each}"`).join(", ")}) VALUES (${marks})`,
      );
      this.#statements.set(cells, statement);
    }
    return statement;
  }
}

/** `hasKeys`: texts may be sealed. */
function fits(cell: TreeRow["values"][number], type: string, hasKeys: boolean): boolean {
  if (cell === null) return true;
  if (type === "TEXT") return typeof cell === "string" || (hasKeys && Buffer.isBuffer(cell));
  if (type === "BLOB") return Buffer.isBuffer(cell);
  return typeof cell === "number" || typeof cell === "bigint";
}

/** The damaged files get another name, then the new one takes theirs: whoever is interrupted in between can go on. */
function exchange(dir: string, workshop: string, nowUs: number): string | null {
  const made = databaseFile(workshop);
  const file = databaseFile(dir);
  const fd = openSync(made, "r+");
  fsyncSync(fd);
  closeSync(fd);
  syncDir(workshop);
  const stamp = new Date(nowUs / 1000).toISOString().replaceAll(":", "");
  const keptAs = `${file}.damaged-${stamp}`;
  for (const suffix of SUFFIXES) {
    if (!existsSync(file + suffix)) continue;
    renameSync(file + suffix, keptAs + suffix);
    syncDir(dir);
  }
  renameSync(made, file);
  rmSync(workshop, { recursive: true, force: true });
  forgetMarker(dir);
  syncDir(dir);
  forgetOldDamaged(dir);
  return keptAs;
}

function forgetOldDamaged(dir: string): void {
  const stamps = new Set(
    readdirSync(dir).flatMap((name) => /^millrace\.db\.damaged-[^-]+-[^-]+-[^-]+/.exec(name)?.[0] ?? []),
  );
  for (const old of [...stamps].sort().slice(0, -DAMAGED_KEPT)) {
    for (const suffix of SUFFIXES) rmSync(join(dir, old + suffix), { force: true });
  }
}
