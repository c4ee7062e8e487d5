import Database from "better-sqlite3";
import { MIGRATIONS } from "../migrations.ts";
import type { PageFile } from "./page-file.ts";
import { SEQUENCES } from "./sequences.ts";
import type { TreeReader } from "./tree.ts";

/** How the rows of a table are stored. */
export interface TableShape {
  readonly name: string;
  /** In the order of the record. */
  readonly columns: readonly { readonly name: string; readonly type: string }[];
  /** The column that is the rowid by another name. */
  readonly rowidColumn: string | null;
  readonly isWithoutRowid: boolean;
}

export interface FoundSchema {
  /** `user_version`. */
  readonly version: number;
  /** The root page of each table. */
  readonly roots: ReadonlyMap<number, string>;
  readonly shapes: ReadonlyMap<string, TableShape>;
}

const USER_VERSION_AT = 60;

/**
 * The tables of a damaged database: by its own list of them, else where the same release puts them. With auto_vacuum roots
 * stand at the front, in the order of their making, so they are the same in every database of a release.
 */
export function readSchema(pages: PageFile, trees: TreeReader): FoundSchema {
  const stated = pages.read(1)?.readUInt32BE(USER_VERSION_AT) ?? 0;
  const version = stated >= 1 && stated <= MIGRATIONS.length ? stated : MIGRATIONS.length;
  const { roots: usual, shapes } = usualSchema(version);
  const found = new Map<string, number>();
  for (const [page] of trees.owners(new Map([[1, "schema"]]))) {
    for (const { values } of trees.rows(page)) {
      const [type, name, , root] = values;
      if (type === "table" && typeof name === "string" && typeof root === "number" && shapes.has(name))
        found.set(name, root);
    }
  }
  const roots = new Map<number, string>();
  for (const [name, root] of found) roots.set(root, name);
  for (const [name, root] of usual) if (!found.has(name) && !roots.has(root)) roots.set(root, name);
  return { version, roots, shapes };
}

/** Tables and indexes that are not as this release makes them: a flipped bit in a name, which SQLite's own check does not find. */
export function damagedDefinitions(db: Database.Database): string[] {
  const version = db.pragma("user_version", { simple: true }) as number;
  const definitions = (of: Database.Database) =>
    of.prepare("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all() as {
      name: string;
      sql: string;
    }[];
  const usual = new Database(":memory:");
  try {
    for (const migration of MIGRATIONS.slice(0, version)) usual.exec(migration);
    const found = new Map(definitions(db).map(({ name, sql }) => [name, sql]));
    return definitions(usual).flatMap(({ name, sql }) => (found.get(name) === sql ? [] : [name]));
  } finally {
    usual.close();
  }
}

function usualSchema(version: number): {
  readonly roots: ReadonlyMap<string, number>;
  readonly shapes: ReadonlyMap<string, TableShape>;
} {
  const db = new Database(":memory:");
  try {
    db.pragma("auto_vacuum = INCREMENTAL");
    for (const migration of MIGRATIONS.slice(0, version)) db.exec(migration);
    const tables = db
      .prepare("SELECT name, rootpage AS root, sql FROM sqlite_master WHERE type = 'table'")
      .all() as { name: string; root: number; sql: string }[];
    const own = tables.filter(({ name }) => name === SEQUENCES || !name.startsWith("sqlite_"));
    return {
      roots: new Map(own.map(({ name, root }) => [name, root])),
      shapes: new Map(own.map(({ name, sql }) => [name, shapeOf(db, name, sql)])),
    };
  } finally {
    db.close();
  }
}

function shapeOf(db: Database.Database, name: string, sql: string): TableShape {
  const info = db.pragma(`table_info(${name})`) as { name: string; type: string; pk: number }[];
  const keys = info.filter(({ pk }) => pk > 0).sort((a, b) => a.pk - b.pk);
  const isWithoutRowid = /WITHOUT ROWID/i.test(sql);
  const ordered = isWithoutRowid ? [...keys, ...info.filter(({ pk }) => pk === 0)] : info;
  const [key] = keys;
  const isAlias = !isWithoutRowid && keys.length === 1 && key?.type === "INTEGER";
  return {
    name,
    columns: ordered.map((column) => ({ name: column.name, type: column.type })),
    rowidColumn: isAlias ? (key?.name ?? null) : null,
    isWithoutRowid,
  };
}
