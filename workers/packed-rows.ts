import type { PackedRows } from "./messages.ts";
import { countResults, groupsOf, type ResultGroup, splitResults } from "./result-rows.ts";

/**
 * Packed rows (`result-rows.ts`) as UTF-8 in buffers of their own. Texts would live on every heap that they pass until they are durable,
 * which is longer than a young generation lasts, so that each firing had the old ones marked; buffers are outside of heaps.
 */

/** Of a piece, about 500 rows: written, published and taken into a commit as one, so that a commit can take few of them. */
const PIECE_BYTES = 64 * 1024;
const LINE_FEED = 10;

const encoder = new TextEncoder();
/** What is gathered until a piece is full; of one `RowPieces` at a time, for `take` leaves nothing in it. */
const scratch = new Uint8Array(PIECE_BYTES);

/** Gathers packed texts into pieces. */
export class RowPieces {
  #pieces: PackedRows[] = [];
  #length = 0;
  #count = 0;
  /** Of the last row. */
  #head = "";

  /** `text`: of so many rows, at least one. Rows under the head of those before them go on without it. */
  add(text: string, count: number): void {
    const length = Buffer.byteLength(text);
    if (this.#length + 1 + length > PIECE_BYTES) this.#cut();
    if (length > PIECE_BYTES) {
      for (const piece of piecesOf(text)) this.#pieces.push(piece);
      return;
    }
    const head = lastHead(text);
    const isMore = this.#length > 0 && head === this.#head && text.startsWith(head);
    if (this.#length > 0) scratch[this.#length++] = LINE_FEED;
    const { written } = encoder.encodeInto(
      isMore ? text.slice(head.length) : text,
      scratch.subarray(this.#length),
    );
    this.#length += written;
    this.#count += count;
    this.#head = head;
  }

  take(): readonly PackedRows[] {
    this.#cut();
    return this.#pieces.splice(0);
  }

  #cut(): void {
    if (this.#length === 0) return;
    this.#pieces.push({ bytes: scratch.slice(0, this.#length), count: this.#count });
    this.#length = 0;
    this.#count = 0;
  }
}

/** With the line feed behind it. */
function lastHead(text: string): string {
  const at = text.lastIndexOf("\n\t") + 1;
  return text.slice(at, text.indexOf("\n", at) + 1);
}

/** The rows of a packed text in pieces; none when it is empty. */
export function piecesOf(text: string): PackedRows[] {
  return splitResults(text, PIECE_BYTES).map(packedOf);
}

export function packedOf(text: string): PackedRows {
  return { bytes: encoder.encode(text), count: countResults(text) };
}

/** The packed text. */
export function textOf(packed: PackedRows): string {
  return asBuffer(packed).toString("utf8");
}

/** The groups, their lines with a character for each byte: `Buffer.from(lines, "latin1")` has the bytes, as JSON in UTF-8. */
export function bytewiseGroups(packed: PackedRows): ResultGroup[] {
  return groupsOf(asBuffer(packed).toString("latin1"));
}

/** The bytes, not copied. */
export function asBuffer({ bytes }: PackedRows): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
