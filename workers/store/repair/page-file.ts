import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";
import { likelyPageBytes, statedPageBytes } from "./page-size.ts";
import { mendWal, type WalReport } from "./wal-file.ts";

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
    const stated = statedPageBytes(head);
    this.pageBytes = stated ?? likelyPageBytes(this.#fd);
    this.usableBytes = this.pageBytes - (stated !== null && head[20]! < 64 ? head[20]! : 0);
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
