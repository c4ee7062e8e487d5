import type { ResultRow } from "../messages.ts";
import { resultPlace } from "./places.ts";
import type { Seal, Stored } from "./seal.ts";
import { joinTexts, splitTexts } from "./texts.ts";

/** A row of results as the table has it. */
export interface StoredResult extends Omit<ResultRow, "key" | "values" | "retracted"> {
  readonly key: Stored;
  readonly values: Stored;
  readonly retracted: number;
}

/** What stands for a result's key in the columns of the primary key. */
export function resultKeyName(seal: Seal, query: string, key: string): Stored {
  return seal.name(`results/${query}`, key);
}

/** The rows in the order of the primary key as the table has it: unsorted, inserts cost twice as much. */
export function sortByName(seal: Seal, rows: readonly ResultRow[]): ResultRow[] {
  const named = rows.map((row) => ({ row, name: resultKeyName(seal, row.query, row.key) as Uint8Array }));
  named.sort((a, b) => {
    if (a.row.query !== b.row.query) return a.row.query < b.row.query ? -1 : 1;
    return a.row.startUs - b.row.startUs || Buffer.compare(a.name, b.name);
  });
  return named.map(({ row }) => row);
}

/** The columns of `results`, sealed: the key column has the key's name, the value both the key and the values. */
export function sealResult(seal: Seal, row: ResultRow): unknown[] {
  const { query, startUs, endUs, key, revision, kind, values } = row;
  const isRetracted = row.retracted === true;
  const name = resultKeyName(seal, query, key);
  const sealed = seal.text(resultPlace(row, name, isRetracted), joinTexts(key, values));
  return [query, startUs, endUs, name, revision, kind, sealed, Number(isRetracted)];
}

/** @throws MillraceError E_SEAL */
export function openResult(seal: Seal, row: StoredResult): ResultRow {
  const { retracted, ...rest } = row;
  const marks = retracted === 0 ? {} : { retracted: true as const };
  const place = resultPlace(row, row.key, retracted !== 0);
  const [key = "", values = ""] = splitTexts(seal.openText(place, row.values), 2);
  return { ...rest, key, values, ...marks };
}
