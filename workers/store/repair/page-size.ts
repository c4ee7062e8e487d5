import { closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { PAGE_BYTES } from "../database.ts";

/**
 * The size of a database's pages, where its head may be damaged: https://www.sqlite.org/fileformat2.html#b_tree_pages tells what a
 * page begins with.
 */

/** Of databases that were made before pages were small. */
const OLDER_PAGE_BYTES = 8192;
const MAGIC = "SQLite format 3\0";
const HEAD_BYTES = 100;
const NODE_TYPES: readonly number[] = [2, 5, 10, 13];
const LEAST_LEAF_TYPE = 8;
/** A gap in a page that is shorter than a free block counts as a fragment: so many bytes at most. */
const MOST_FRAGMENTED_BYTES = 60;
/** Looked at, at the most: the first 64 MiB. */
const LOOKS = 8_192;

/** As the first bytes of a database file say; null: they are none, or damaged. */
export function statedPageBytes(head: Buffer): number | null {
  if (head.toString("latin1", 0, MAGIC.length) !== MAGIC) return null;
  const stated = head.readUInt16BE(16) === 1 ? 65_536 : head.readUInt16BE(16);
  return stated >= 512 && (stated & (stated - 1)) === 0 ? stated : null;
}

/** Of one of the two sizes, that of which the pages are: in the middle of the larger, no page of the smaller begins. */
export function likelyPageBytes(fd: number): number {
  const { size } = fstatSync(fd);
  const page = Buffer.alloc(PAGE_BYTES);
  for (let look = 0; look < LOOKS; look++) {
    const at = look * OLDER_PAGE_BYTES + PAGE_BYTES;
    if (at + PAGE_BYTES > size) break;
    if (isRead(fd, page, at) && isNode(page)) return PAGE_BYTES;
  }
  return size < OLDER_PAGE_BYTES ? PAGE_BYTES : OLDER_PAGE_BYTES;
}

/** Of a database file that nobody has open; of one that is not there, as it would be made. */
export function pageBytesOf(file: string): number {
  if (!existsSync(file)) return PAGE_BYTES;
  const fd = openSync(file, "r");
  try {
    const head = Buffer.alloc(HEAD_BYTES);
    const stated = isRead(fd, head, 0) ? statedPageBytes(head) : null;
    return stated ?? likelyPageBytes(fd);
  } finally {
    closeSync(fd);
  }
}

/** Whether all of it was there, and the disk gave it. */
function isRead(fd: number, into: Buffer, at: number): boolean {
  try {
    return readSync(fd, into, 0, into.length, at) === into.length;
  } catch {
    // A bad sector: another place tells as much.
    return false;
  }
}

/** Whether it is a node of a tree: by chance, one of 10^10 is that is none. */
function isNode(page: Buffer): boolean {
  const type = page[0]!;
  if (!NODE_TYPES.includes(type)) return false;
  const cells = page.readUInt16BE(3);
  const contentFrom = page.readUInt16BE(5);
  const placesFrom = type >= LEAST_LEAF_TYPE ? 8 : 12;
  const placesTo = placesFrom + 2 * cells;
  if (contentFrom < placesTo || contentFrom > page.length || page[7]! > MOST_FRAGMENTED_BYTES) return false;
  const freeBlock = page.readUInt16BE(1);
  if (freeBlock !== 0 && (freeBlock < contentFrom || freeBlock >= page.length)) return false;
  if (cells === 0) return contentFrom === page.length;
  for (let at = placesFrom; at < placesTo; at += 2) {
    const place = page.readUInt16BE(at);
    if (place < contentFrom || place >= page.length) return false;
  }
  return true;
}
