import { MillraceError } from "../errors.ts";
import type { AlertCursor } from "../store/alert-reader.ts";
import type { ResultCursor } from "../store/reader.ts";
import type { EventCursor, LateCursor } from "./tasks.ts";

type Part = string | number;

/** How a place in one list is written as opaque text for a URL, and read back. */
export interface CursorForm<Cursor> {
  encode(cursor: Cursor): string;
  /** @throws MillraceError E_CURSOR when the text is no place in this list. */
  decode(text: string): Cursor;
}

export const EVENT_CURSOR: CursorForm<EventCursor> = form(
  "e",
  ({ timeUs, seq, row, rank }) => [String(timeUs), seq, row, rank],
  ([time, seq, row, rank]) => {
    const timeUs = typeof time === "string" && /^-?\d{1,18}$/.test(time) ? BigInt(time) : null;
    return timeUs !== null && isInteger(seq) && isInteger(row) && isInteger(rank)
      ? { timeUs, seq, row, rank }
      : null;
  },
);

export const RESULT_CURSOR: CursorForm<ResultCursor> = form(
  "r",
  ({ startUs, key, endUs, revision }) => [startUs, key, endUs, revision],
  ([startUs, key, endUs, revision]) =>
    isInteger(startUs) && isInteger(endUs) && isInteger(revision) && typeof key === "string"
      ? { startUs, key, endUs, revision }
      : null,
);

export const LATE_CURSOR: CursorForm<LateCursor> = form(
  "l",
  ({ id, row }) => [id, row],
  ([id, row]) => (isInteger(id) && isInteger(row) ? { id, row } : null),
);

export const ALERT_CURSOR: CursorForm<AlertCursor> = form(
  "a",
  ({ sinceUs, alert, key, id, revision }) => [sinceUs, alert, key, id, revision],
  ([sinceUs, alert, key, id, revision]) => {
    const areTexts = typeof alert === "string" && typeof key === "string" && typeof id === "string";
    return areTexts && isInteger(sinceUs) && isInteger(revision)
      ? { sinceUs, alert, key, id, revision }
      : null;
  },
);

export const ID_CURSOR: CursorForm<number> = form(
  "i",
  (id) => [id],
  ([id]) => (isInteger(id) ? id : null),
);

export function isInteger(part: Part | undefined): part is number {
  return Number.isInteger(part);
}

export function form<Cursor>(
  list: string,
  write: (cursor: Cursor) => readonly Part[],
  read: (parts: readonly (Part | undefined)[]) => Cursor | null,
): CursorForm<Cursor> {
  return {
    encode: (cursor) => Buffer.from(JSON.stringify([list, ...write(cursor)])).toString("base64url"),
    decode: (text) => {
      const [name, ...parts] = parse(text);
      const cursor = name === list ? read(parts) : null;
      if (cursor !== null) return cursor;
      throw new MillraceError(
        "E_CURSOR",
        "after: not a place in this list; take it from the Link header of the page before, or leave it out",
      );
    },
  };
}

function parse(text: string): readonly (Part | undefined)[] {
  const bytes = Buffer.from(text, "base64url");
  // Node skips characters that are no base64, so a damaged cursor could pass for another.
  if (bytes.toString("base64url") !== text) return [];
  try {
    const parts: unknown = JSON.parse(bytes.toString());
    return Array.isArray(parts) ? (parts as Part[]) : [];
  } catch {
    return [];
  }
}
