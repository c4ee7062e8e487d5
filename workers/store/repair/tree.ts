import type { PageFile } from "./page-file.ts";
import { type CellValue, readRecord, readVarint } from "./record.ts";

/** A row of a b-tree, by the file format's page types (https://www.sqlite.org/fileformat2.html#b_tree_pages). */
export interface TreeRow {
  /** null in trees without rowids. */
  readonly rowid: number | null;
  readonly values: readonly CellValue[];
}

const TABLE_LEAF = 0x0d;
const TABLE_INTERIOR = 0x05;
const INDEX_LEAF = 0x0a;
const INDEX_INTERIOR = 0x02;
/** Deeper, and it is a circle. */
const MAX_DEPTH = 24;
const BTREE_ROOT = 1;
const BTREE_PAGE = 5;

type PageKind = "table-leaf" | "table-interior" | "index-leaf" | "index-interior";
const KINDS = new Map<number, PageKind>([
  [TABLE_LEAF, "table-leaf"],
  [TABLE_INTERIOR, "table-interior"],
  [INDEX_LEAF, "index-leaf"],
  [INDEX_INTERIOR, "index-interior"],
]);

interface TreePage {
  readonly kind: PageKind;
  readonly bytes: Buffer;
  /** Places of the cells within the page. */
  readonly cells: readonly number[];
  /** Of interior pages. */
  readonly rightmost: number;
}

/** Reads b-trees of a damaged database as far as they go. */
export class TreeReader {
  readonly #file: PageFile;
  /** Rows that were seen and could not be read, pages that are no page of a tree. */
  damagedRows = 0;
  damagedPages = 0;

  constructor(file: PageFile) {
    this.#file = file;
  }

  /**
   * Whose each page is: by the trees from their roots down, and, where a page above is damaged, by the pointer map, which
   * names the parent of each page. Free pages are nobody's: rows that were deleted do not come back.
   */
  owners<Owner>(roots: ReadonlyMap<number, Owner>): Map<number, Owner> {
    const owners = new Map<number, Owner>();
    for (const [root, owner] of roots) this.#descend(root, owner, owners, 0);
    for (let page = 3; page <= this.#file.pages; page++) {
      if (owners.has(page)) continue;
      const owner = this.#ownerAbove(page, owners);
      if (owner !== null && this.#open(page) !== null) owners.set(page, owner);
    }
    return owners;
  }

  /** The rows that stand in a page itself. */
  *rows(page: number): Generator<TreeRow> {
    const opened = this.#open(page);
    if (opened === null || opened.kind === "table-interior") return;
    for (const at of opened.cells) {
      try {
        yield this.#row(opened, at);
      } catch {
        this.damagedRows++;
      }
    }
  }

  #descend<Owner>(page: number, owner: Owner, owners: Map<number, Owner>, depth: number): void {
    if (depth > MAX_DEPTH || page < 1 || page > this.#file.pages || owners.has(page)) return;
    owners.set(page, owner);
    const opened = this.#open(page);
    if (opened === null) {
      this.damagedPages++;
      return;
    }
    if (opened.kind === "table-leaf" || opened.kind === "index-leaf") return;
    for (const at of opened.cells) {
      if (at + 4 <= opened.bytes.length)
        this.#descend(opened.bytes.readUInt32BE(at), owner, owners, depth + 1);
    }
    this.#descend(opened.rightmost, owner, owners, depth + 1);
  }

  #ownerAbove<Owner>(page: number, owners: ReadonlyMap<number, Owner>): Owner | null {
    let at = page;
    for (let depth = 0; depth < MAX_DEPTH; depth++) {
      const entry = this.#mapEntry(at);
      if (entry === null || entry.type === BTREE_ROOT || entry.type !== BTREE_PAGE) return null;
      at = entry.parent;
      const owner = owners.get(at);
      if (owner !== undefined) return owner;
    }
    return null;
  }

  #mapPage: { readonly number: number; readonly bytes: Buffer | null } | null = null;

  /** https://www.sqlite.org/fileformat2.html#pointer_map_or_ptrmap_pages */
  #mapEntry(page: number): { readonly type: number; readonly parent: number } | null {
    const perMap = Math.floor(this.#file.usableBytes / 5) + 1;
    const number = Math.floor((page - 2) / perMap) * perMap + 2;
    if (page === number) return null;
    if (this.#mapPage?.number !== number) this.#mapPage = { number, bytes: this.#file.read(number) };
    const { bytes } = this.#mapPage;
    const at = 5 * (page - number - 1);
    if (bytes === null || at + 5 > bytes.length) return null;
    return { type: bytes[at]!, parent: bytes.readUInt32BE(at + 1) };
  }

  #open(page: number): TreePage | null {
    const bytes = this.#file.read(page);
    if (bytes === null) return null;
    const head = page === 1 ? 100 : 0;
    const kind = KINDS.get(bytes[head]!);
    if (kind === undefined) return null;
    const isInterior = kind === "table-interior" || kind === "index-interior";
    const count = bytes.readUInt16BE(head + 3);
    const array = head + (isInterior ? 12 : 8);
    if (array + count * 2 > bytes.length) return null;
    const cells = Array.from({ length: count }, (_, index) => bytes.readUInt16BE(array + index * 2));
    return { kind, bytes, cells, rightmost: isInterior ? bytes.readUInt32BE(head + 8) : 0 };
  }

  #row({ kind, bytes }: TreePage, cell: number): TreeRow {
    let at = kind === "index-interior" ? cell + 4 : cell;
    const [payloadBytes, length] = readVarint(bytes, at);
    at += length;
    let rowid: number | null = null;
    if (kind === "table-leaf") {
      const [id, idLength] = readVarint(bytes, at);
      rowid = id;
      at += idLength;
    }
    const payload = this.#payload(bytes, at, payloadBytes, kind === "table-leaf");
    return { rowid, values: readRecord(payload) };
  }

  /** What of a payload stands in the page follows from its length; the rest is in a chain of pages. */
  #payload(bytes: Buffer, at: number, length: number, isTable: boolean): Buffer {
    const usable = this.#file.usableBytes;
    const most = isTable ? usable - 35 : Math.floor(((usable - 12) * 64) / 255) - 23;
    if (length < 0 || length > this.#file.pages * usable) throw new RangeError("no such length");
    if (length <= most) {
      if (at + length > bytes.length) throw new RangeError("beyond the page");
      return bytes.subarray(at, at + length);
    }
    const least = Math.floor(((usable - 12) * 32) / 255) - 23;
    const surplus = least + ((length - least) % (usable - 4));
    const local = surplus <= most ? surplus : least;
    if (at + local + 4 > bytes.length) throw new RangeError("beyond the page");
    const payload = Buffer.alloc(length);
    bytes.copy(payload, 0, at, at + local);
    let filled = local;
    let next = bytes.readUInt32BE(at + local);
    while (filled < length && next !== 0) {
      const page = this.#file.read(next);
      // A blob with a hole keeps its row: its own checksum tells of the hole.
      if (page === null) break;
      page.copy(payload, filled, 4, Math.min(usable, 4 + length - filled));
      filled += usable - 4;
      next = page.readUInt32BE(0);
    }
    return payload;
  }
}
