import { statfsSync, statSync } from "node:fs";
import type { Statement } from "better-sqlite3";
import type { BufferUse } from "./buffer-operations.ts";
import { databaseFile } from "./data-dir.ts";
import type { Connection } from "./database.ts";
import { Reserve } from "./reserve.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
/** With 80 % of the disk: the default of buffer.cap. */
const DEFAULT_CAP_BYTES = 10 * 1024 * MIB;
const DEFAULT_CAP_SHARE = 0.8;
/** Of the cap, each within its limits: what the write-ahead log may take, what is kept for deleting, a commit's room. */
const WAL_SHARE = 1 / 16;
const WAL_LIMITS = [512 * KIB, 16 * MIB] as const;
/** Of a log shorter than the most: from here on it is moved, since the commit that passes this still has to fit. */
const MOVED_SHARE = 3 / 4;
/** Moved to the front of the file in one transaction: each page of it stands in the log, as may its predecessor. */
const MOST_BYTES_MOVED = 512 * KIB;
const LEAST_PAGES_MOVED = 4;
const MOVED_LOG_SHARE = 1 / 8;
/** Of a page at the most, what is its own; the rest is a row's data. */
const PAGE_OWN_BYTES = 192;
/** In front of each page in the log. */
const FRAME_HEADER_BYTES = 24;
/** The log's index grows by a region for so many pages of the log. */
const REGION_PAGES = 4_062;
const REGION_BYTES = 32 * KIB;
const RESERVE_SHARE = 1 / 64;
const RESERVE_LIMITS = [256 * KIB, 4 * MIB] as const;
const HEADROOM_SHARE = 1 / 64;
const HEADROOM_LIMITS = [256 * KIB, 8 * MIB] as const;
/** Free pages kept in the file for what comes next: more than a level frees in one go, or the file would breathe. */
const SLACK_SHARE = 1 / 16;
const SLACK_LIMITS = [512 * KIB, 256 * MIB] as const;

/** Bytes of a file system. Tests bring their own. */
export type DiskProbe = (dir: string) => { readonly totalBytes: number; readonly freeBytes: number };

export function probeDisk(dir: string): ReturnType<DiskProbe> {
  const { bsize, blocks, bavail } = statfsSync(dir);
  return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
}

/** What a transaction does: pages that it writes, and those among them that were not in use before. */
export interface Pages {
  readonly written: number;
  readonly taken: number;
}

/**
 * Measures what the store takes on disk, and gives what it does not need back to it. Near the cap that is done for every commit, so
 * it makes no statement each time: one that is not needed any more keeps its memory until the collector finds it, which sees little
 * of what it holds.
 */
export class Space {
  readonly reserve: Reserve;
  readonly #dir: string;
  readonly #db: Connection;
  readonly #probe: DiskProbe;
  readonly #pageBytes: number;
  readonly #canShrink: boolean;
  readonly #pageCount: Statement<unknown[]>;
  readonly #freeCount: Statement<unknown[]>;
  readonly #emptyLog: Statement<unknown[]>;
  readonly #usualTimeoutMs: number;
  #capBytes: number;

  constructor(db: Connection, dir: string, probe: DiskProbe = probeDisk) {
    this.#db = db;
    this.#dir = dir;
    this.#probe = probe;
    this.reserve = new Reserve(dir);
    this.#pageBytes = db.pragma("page_size", { simple: true }) as number;
    // 2 is INCREMENTAL. A file made without it only uses its free pages again.
    this.#canShrink = db.pragma("auto_vacuum", { simple: true }) === 2;
    this.#pageCount = db.prepare("PRAGMA page_count").pluck();
    this.#freeCount = db.prepare("PRAGMA freelist_count").pluck();
    this.#emptyLog = db.prepare("PRAGMA wal_checkpoint(TRUNCATE)");
    this.#usualTimeoutMs = db.pragma("busy_timeout", { simple: true }) as number;
    this.#capBytes = this.#defaultCap();
  }

  /** @param bytes null: the default */
  limitTo(bytes: number | null): void {
    this.#capBytes = bytes ?? this.#defaultCap();
    const isFull = this.walLimitBytes === WAL_LIMITS[1];
    const movedBytes = isFull ? this.walLimitBytes : this.walLimitBytes * MOVED_SHARE;
    this.#db.pragma(`wal_autocheckpoint = ${Math.floor(movedBytes / this.#pageBytes)}`);
    this.#db.pragma(`journal_size_limit = ${this.walLimitBytes}`);
  }

  get capBytes(): number {
    return this.#capBytes;
  }

  /** Of a page in the log, with its header. */
  get frameBytes(): number {
    return this.#pageBytes + FRAME_HEADER_BYTES;
  }

  /** Pages that so many bytes of data take. */
  pagesOf(bytes: number): number {
    return Math.ceil(bytes / (this.#pageBytes - PAGE_OWN_BYTES));
  }

  /** Whether pages that are free can be given back to the disk. */
  get canShrink(): boolean {
    return this.#canShrink;
  }

  /** A commit that makes the write-ahead log larger moves it into the database. */
  get walLimitBytes(): number {
    return this.#share(WAL_SHARE, WAL_LIMITS);
  }

  /** Room that commits of senders leave: what is derived from their events must find its place. */
  get headroomBytes(): number {
    return this.#share(HEADROOM_SHARE, HEADROOM_LIMITS);
  }

  /** Cost: some 30 µs; reads no data. */
  measure(): BufferUse {
    const databaseBytes = (this.#pageCount.get() as number) * this.#pageBytes;
    const freeBytes = (this.#freeCount.get() as number) * this.#pageBytes;
    const file = databaseFile(this.#dir);
    const walBytes = sizeOf(`${file}-wal`);
    const indexBytes = sizeOf(`${file}-shm`);
    const reserveBytes = this.reserve.bytes;
    const diskFreeBytes = this.#probe(this.#dir).freeBytes;
    const fixedBytes = indexBytes + reserveBytes;
    // The log counts at its limit, for it grows to that again and again while the file does not shrink.
    const usedBytes = databaseBytes - freeBytes + fixedBytes + Math.max(walBytes, this.walLimitBytes);
    // Pages of the file may stand in the log alone as yet: what the file has on disk is what the disk can tell.
    const onDiskBytes = Math.min(databaseBytes, sizeOf(file)) + walBytes + fixedBytes;
    const capacityBytes = Math.min(this.#capBytes, onDiskBytes + diskFreeBytes);
    const { capBytes } = this;
    return {
      usedBytes,
      capacityBytes,
      capBytes,
      databaseBytes,
      freeBytes,
      walBytes,
      reserveBytes,
      fixedBytes,
      diskFreeBytes,
    };
  }

  /**
   * What the files would take beyond the cap at the most while a transaction is made and moved out of the log: it stands in
   * the log as a whole before it takes free pages, or new ones. 0: they stay within it.
   */
  excess(use: BufferUse, { written, taken }: Pages): number {
    const growth = Math.max(0, taken * this.#pageBytes - use.freeBytes);
    return this.#beyond(use.databaseBytes + growth, use.walBytes + written * this.frameBytes);
  }

  /**
   * The same in the middle of a transaction: of what is there now, and what is to come.
   * @param held pages that it has written which are not in the log's file yet
   */
  excessNow({ written, taken }: Pages, held: number): number {
    const databasePages =
      (this.#pageCount.get() as number) + Math.max(0, taken - (this.#freeCount.get() as number));
    const walBytes = sizeOf(`${databaseFile(this.#dir)}-wal`);
    return this.#beyond(databasePages * this.#pageBytes, walBytes + (held + written) * this.frameBytes);
  }

  #beyond(databaseBytes: number, walBytes: number): number {
    const logBytes = Math.max(this.walLimitBytes, walBytes);
    const regions = Math.ceil(logBytes / this.frameBytes / REGION_PAGES);
    const indexBytes = Math.max(sizeOf(`${databaseFile(this.#dir)}-shm`), regions * REGION_BYTES);
    // A reserve that was given away is filled again.
    const reserveBytes = Math.max(this.reserve.bytes, this.#share(RESERVE_SHARE, RESERVE_LIMITS));
    return Math.max(0, databaseBytes + logBytes + indexBytes + reserveBytes - this.#capBytes);
  }

  /** Fills the reserve where the disk has room for it several times over. */
  keepReserve(use: BufferUse): void {
    const bytes = this.#share(RESERVE_SHARE, RESERVE_LIMITS);
    if (this.reserve.bytes === bytes || use.diskFreeBytes < 4 * bytes) return;
    try {
      this.reserve.fill(bytes);
    } catch {
      // No room after all: tried again when there is more.
    }
  }

  /**
   * Gives some free pages at the file's end back to the disk: those beyond what is kept, or as many as the log needs
   * to grow to its limit within the cap and on the disk. @param atLeast bytes that are to be given back @returns whether
   * any were
   */
  shrink(use: BufferUse, atLeast = 0): boolean {
    if (!this.#canShrink || use.freeBytes === 0) return false;
    const growth = Math.max(0, this.walLimitBytes - use.walBytes);
    const grownBytes = use.databaseBytes + use.walBytes + use.fixedBytes + growth;
    const missing = Math.max(
      atLeast,
      grownBytes - use.capBytes,
      growth + this.headroomBytes / 2 - use.diskFreeBytes,
      use.freeBytes - this.#share(SLACK_SHARE, SLACK_LIMITS),
    );
    const wanted = Math.ceil(Math.min(missing, use.freeBytes) / this.#pageBytes);
    if (wanted <= 0) return false;
    const most = Math.floor((this.walLimitBytes * MOVED_LOG_SHARE) / (2 * this.#pageBytes));
    const pages = Math.min(MOST_BYTES_MOVED / this.#pageBytes, Math.max(LEAST_PAGES_MOVED, most));
    this.#db.exec(`PRAGMA incremental_vacuum(${Math.min(wanted, pages)})`);
    return true;
  }

  /**
   * Moves the write-ahead log into the database and cuts its file. While a reader looks at an older state, as much as can
   * be is moved. @param waitMs for such readers at most @returns whether the log is empty
   */
  emptyLog(waitMs = 0): boolean {
    // SQLite obeys these when it compiles them, so each is compiled anew; as `exec` they leave nothing behind.
    this.#db.exec(`PRAGMA busy_timeout = ${waitMs}`);
    try {
      const row = this.#emptyLog.get() as { busy: number } | undefined;
      return row?.busy === 0;
    } finally {
      this.#db.exec(`PRAGMA busy_timeout = ${this.#usualTimeoutMs}`);
    }
  }

  #share(share: number, [least, most]: readonly [number, number]): number {
    return Math.min(most, Math.max(least, Math.floor(this.#capBytes * share)));
  }

  #defaultCap(): number {
    const { totalBytes } = this.#probe(this.#dir);
    return Math.min(DEFAULT_CAP_BYTES, Math.floor(totalBytes * DEFAULT_CAP_SHARE));
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}
