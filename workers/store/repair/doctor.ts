import { existsSync } from "node:fs";
import { MillraceError } from "../../errors.ts";
import type { MasterKeys } from "../../seal/master-key.ts";
import { BlockInspector } from "../block-inspector.ts";
import { type DataDirLock, databaseFile, lockDataDir } from "../data-dir.ts";
import { type Connection, openForReading, openForWriting } from "../database.ts";
import { explainFailure } from "../failure.ts";
import { damagedKeys, mendKeys, openReadingSeal, refuseWrongKeys } from "../key-table.ts";
import { MIGRATIONS } from "../migrations.ts";
import { type Examination, examine, type Finding } from "./examine.ts";
import { mendLog } from "./mend-log.ts";
import { PageFile } from "./page-file.ts";
import { type Salvage, salvage } from "./salvage.ts";
import { finishSalvage, isMarkedDamaged } from "./salvage-place.ts";
import { damagedDefinitions } from "./schema-pages.ts";

/** What a look at a store has shown. */
export interface Diagnosis {
  readonly file: string;
  readonly findings: readonly StoreFinding[];
  readonly blocks: number;
  readonly events: number;
  readonly checkpoints: number;
  /** When the database had to be made anew. */
  readonly salvage: Salvage | null;
}

export type StoreFinding =
  | Finding
  | {
      readonly check: "database" | "log" | "release";
      readonly message: string;
      readonly isRepaired: boolean;
    };

export interface DoctorOptions {
  readonly dir: string;
  /** null: the configuration has none. */
  readonly masters: MasterKeys | null;
  /** `repair` puts right what can be; `look` changes nothing. */
  readonly mode: "look" | "repair";
  readonly nowUs: number;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Lines of SQLite's own check that are passed on. */
const INTEGRITY_LINES = 20;

/**
 * Looks at the store of a stopped node: SQLite's own check, every block, every state, every count, checkpoints, and the
 * write-ahead log. Cost: every page is read and every block decoded.
 * @throws MillraceError E_NO_STORE, E_DATA_DIR_LOCKED while a node runs, E_STORE_NEWER, or as `explainFailure`;
 * E_KEY_MISSING, E_KEY_WRONG, E_KEY_DAMAGED with nothing changed
 */
export async function diagnose(options: DoctorOptions): Promise<Diagnosis> {
  const file = databaseFile(options.dir);
  const isThere = existsSync(file) || (options.mode === "repair" && existsSync(options.dir));
  if (!isThere)
    throw new MillraceError("E_NO_STORE", `there is no store in ${options.dir}: ${file} is not there`);
  const inspector = await BlockInspector.create();
  return options.mode === "repair" ? repair(options, file, inspector) : look(options, file, inspector);
}

async function look(options: DoctorOptions, file: string, inspector: BlockInspector): Promise<Diagnosis> {
  const lock = lockStopped(options.dir);
  try {
    const findings: StoreFinding[] = [];
    refuseWrongKeys(options.dir, options.masters);
    if (isMarkedDamaged(options.dir)) findings.push(found("database", "a running node met damage in it"));
    for (const what of logProblems(file)) findings.push(found("log", what));
    const nothing = { blocks: 0, events: 0, checkpoints: 0 };
    let examination: Omit<Examination, "findings"> = nothing;
    try {
      const db = openForReading(options.dir);
      try {
        findings.push(...integrity(db));
        const version = db.pragma("user_version", { simple: true }) as number;
        if (version > MIGRATIONS.length) throw newer(file, version);
        if (version < MIGRATIONS.length) {
          const message = `it was written by an earlier release (schema ${version} of ${MIGRATIONS.length}); the next start or --repair brings it up to date, and then blocks and counts can be looked at`;
          findings.push(found("release", message));
        } else {
          findings.push(...damagedKeys(db, options.masters).map(({ id }) => damagedKey(id, false)));
          const { findings: more, ...counts } = examine(db, {
            ...options,
            inspector,
            seal: openReadingSeal(db, options.masters),
            mode: "look",
          });
          findings.push(...more);
          examination = counts;
        }
      } finally {
        db.close();
      }
    } catch (cause) {
      const { code, message } = explainFailure(cause, file);
      if (code !== "E_STORE_UNREADABLE" && code !== "E_STORE_UNFINISHED") throw cause;
      // One that was not made to its end is, as one of an earlier release, for the next start to finish.
      findings.push(found(code === "E_STORE_UNFINISHED" ? "release" : "database", message));
    }
    return { file, findings, ...examination, salvage: null };
  } finally {
    lock.close();
  }
}

async function repair(options: DoctorOptions, file: string, inspector: BlockInspector): Promise<Diagnosis> {
  const { dir, masters, nowUs } = options;
  const findings: StoreFinding[] = [];
  const first = lockStopped(dir);
  try {
    finishSalvage(dir);
    refuseWrongKeys(dir, masters);
    for (const what of mendLog(file, nowUs)) findings.push({ check: "log", message: what, isRepaired: true });
    // What was hidden behind the damage may have been the keys.
    refuseWrongKeys(dir, masters);
  } finally {
    first.close();
  }
  const isSound = !isMarkedDamaged(dir) && existsSync(file) && isReadable(dir, findings);
  const salvaged = isSound ? null : await salvage(options);
  if (salvaged !== null) {
    findings.push({
      check: "database",
      message: `the database was made anew of what could be read (${salvaged.damagedRows} rows and ${salvaged.damagedPages} pages could not); the old one is ${salvaged.keptAs ?? "gone"}`,
      isRepaired: true,
    });
    findings.push(...salvaged.findings);
  }
  const lock = lockStopped(dir);
  try {
    const db = openForWriting(dir);
    try {
      findings.push(...mendKeys(db, masters).map((id) => damagedKey(id, true)));
      const seal = openReadingSeal(db, masters);
      const { findings: more, ...counts } = examine(db, { ...options, inspector, seal });
      db.pragma("wal_checkpoint(TRUNCATE)");
      return { file, findings: [...findings, ...more], ...counts, salvage: salvaged };
    } finally {
      db.close();
    }
  } finally {
    lock.close();
  }
}

function isReadable(dir: string, findings: StoreFinding[]): boolean {
  try {
    const db = openForWriting(dir);
    try {
      const problems = integrity(db);
      findings.push(...problems.map((problem) => ({ ...problem, isRepaired: true })));
      return problems.length === 0;
    } finally {
      db.close();
    }
  } catch (cause) {
    const { code, message } = explainFailure(cause, dir);
    if (code !== "E_STORE_UNREADABLE") throw cause;
    findings.push({ check: "database", message, isRepaired: true });
    return false;
  }
}

interface IntegrityRow {
  readonly integrity_check: string;
}

function integrity(db: Connection): StoreFinding[] {
  const damaged = damagedDefinitions(db).map((name) =>
    found("database", `the definition of ${name} is damaged`),
  );
  const rows = db.pragma(`integrity_check(${INTEGRITY_LINES})`) as IntegrityRow[];
  const problems = rows
    .filter(({ integrity_check }) => integrity_check !== "ok")
    .map(({ integrity_check }) => found("database", integrity_check.replaceAll("\n", "; ")));
  return [...damaged, ...problems];
}

/** Without touching it. */
function logProblems(file: string): readonly string[] {
  if (!existsSync(file) || !existsSync(`${file}-wal`)) return [];
  const pages = new PageFile(file);
  try {
    return pages.wal?.mended.map((what) => `${what} (in a copy)`) ?? [];
  } finally {
    pages.close();
  }
}

function lockStopped(dir: string): DataDirLock {
  try {
    return lockDataDir(dir);
  } catch (cause) {
    if (!(cause instanceof MillraceError && cause.code === "E_DATA_DIR_LOCKED")) throw cause;
    const message = `a node uses ${dir}; stop it first: what is written while it is looked at would look like damage`;
    throw new MillraceError("E_DATA_DIR_LOCKED", message, { cause });
  }
}

function newer(file: string, version: number): MillraceError {
  const message = `${file} was written by a later release (schema ${version}, this one knows ${MIGRATIONS.length}); look at it with that release`;
  return new MillraceError("E_STORE_NEWER", message);
}

function damagedKey(id: number, isRepaired: boolean): StoreFinding {
  const message = `a row of the data key ${id} is damaged or lost; the key is kept twice and the other one is whole`;
  return { check: "keys", message, isRepaired };
}

function found(check: "database" | "log" | "release", message: string): StoreFinding {
  return { check, message, isRepaired: false };
}
