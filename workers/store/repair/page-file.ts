import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { mendWal, type WalReport } from "./wal-file.ts";

/** Of databases that Millrace makes; where the head of the file does not tell. */
const DEFAULT_PAGE_BYTES = 8192;
const MAGIC = "SQLite format 3\0";

/**
 * The pages of a database file without SQLite, which refuses a damaged one: those in the write-ahead log in front of
 * those in the file. A page that the disk cannot give is null.
 */
export class PageFile {
  readonly pageBytes: number;
  /** Bytes of a page that are used. */
  readonly usableBytes: number;
  readonly pages: number;
  readonly wal: WalReport | null;
  readonly #fd: number;
  readonly #walBytes: Buffer | null;
  readonly #inWal = new Map<number, number>();
  /** Pages that the disk did not give. */
  unreadablePages = 0;

  constructor(file: string) {
    this.#fd = openSync(file, "r");
    const head = Buffer.alloc(100);
    readSync(this.#fd, head, 0, 100, 0);
    const isHead = head.toString("latin1", 0, 16) === MAGIC;
    const stated = head.readUInt16BE(16) === 1 ? 65_536 : head.readUInt16BE(16);
    const isPossible = isHead && stated >= 512 && (stated & (stated - 1)) === 0;
    this.pageBytes = isPossible ? stated : DEFAULT_PAGE_BYTES;
    this.usableBytes = this.pageBytes - (isPossible && head[20]! < 64 ? head[20]! : 0);
    const walFile = `${file}-wal`;
    // A copy: what is on the disk stays as it is.
    this.#walBytes = existsSync(walFile) ? readFileSync(walFile) : null;
    this.wal = this.#walBytes === null ? null : mendWal(this.#walBytes, this.pageBytes);
    let pages = Math.floor(fstatSync(this.#fd).size / this.pageBytes);
    if (this.wal !== null && this.wal.pageBytes === this.pageBytes) {
      for (const { page, pagesAfter, at } of this.wal.frames) {
        this.#inWal.set(page, at);
        pages = Math.max(pages, page, pagesAfter);
      }
    }
    this.pages = pages;
  }

  /** A page by its number, from 1 on: a copy. */
  read(page: number): Buffer | null {
    if (page < 1 || page > this.pages) return null;
    const bytes = Buffer.alloc(this.pageBytes);
    const at = this.#inWal.get(page);
    if (at !== undefined && this.#walBytes !== null) {
      this.#walBytes.copy(bytes, 0, at, at + this.pageBytes);
      return bytes;
    }
    try {
      const read = readSync(this.#fd, bytes, 0, this.pageBytes, (page - 1) * this.pageBytes);
      return read === this.pageBytes ? bytes : null;
    } catch {
      // A bad sector, say: what stood there is lost, and counted where its rows are missed.
      this.unreadablePages++;
      return null;
    }
  }

  close(): void {
    closeSync(this.#fd);
  }
}
