import type { BlockItem, RowsItem, RowsKind } from "./batch.ts";

/** What of a batch goes where rows are kept: those of one stream or query, or of one kind. */
export interface OutgoingTable {
  readonly kind: "events" | "downsampled" | RowsKind;
  /** The stream or query; null for all else. */
  readonly name: string | null;
  readonly rows: number;
  /** Of the earliest: when events arrived, a result's window began, an alert's step or a loss happened. */
  readonly atUs: number;
  /** NDJSON or Parquet. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Of each row of `events` as NDJSON: its event time, µs. */
  readonly timesUs: Float64Array<ArrayBuffer> | null;
}

/** Which of a node's data a sink gets; null: all of it. */
export interface Selection {
  readonly streams: readonly string[] | null;
  readonly queries: readonly string[] | null;
  readonly kinds: readonly ("events" | RowsKind)[] | null;
}

export const EVERYTHING: Selection = { streams: null, queries: null, kinds: null };

const utf8 = new TextEncoder();
const decoder = new TextDecoder();

/** The items that a sink gets, or as much of them as it does. */
export function selectItems<T extends BlockItem | RowsItem>(items: readonly T[], selection: Selection): T[] {
  const { streams, queries, kinds } = selection;
  if (streams === null && queries === null && kinds === null) return [...items];
  return items.flatMap((item): T[] => {
    const kind = item.kind === "block" ? "events" : item.kind;
    if (kinds !== null && !kinds.includes(kind)) return [];
    if (item.kind === "block") return streams === null || streams.includes(item.stream) ? [item] : [];
    if (item.kind !== "results" || queries === null) return [item];
    const lines = linesOf(item.ndjson).filter((line) => {
      const row = JSON.parse(line) as { readonly query?: string; readonly clear?: string };
      return queries.includes(row.query ?? row.clear ?? "");
    });
    const ndjson = utf8.encode(lines.map((line) => `${line}\n`).join(""));
    return lines.length === 0 ? [] : [{ ...item, rows: lines.length, ndjson }];
  });
}

/** The lines of NDJSON, without their ends. */
export function linesOf(ndjson: Uint8Array): string[] {
  const lines = decoder.decode(ndjson).split("\n");
  lines.pop();
  return lines;
}
