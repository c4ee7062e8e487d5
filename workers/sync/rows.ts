import { type HybridTime, readHybridTime } from "../attributes/hybrid-clock.ts";
import type { AlertRow, AlertState, ResultRow } from "../messages.ts";
import { unpackResults } from "../result-rows.ts";
import { BatchError } from "./batch-format.ts";

/**
 * Rows as a batch holds them: JSON objects a line, times in µs. Keys and values are texts of JSON within them, so that a
 * number with more digits than a double holds comes through as it was written.
 */

/** Takes back all results of a query whose windows start at or after a time, as far as they were sent before it. */
export interface ClearedResults {
  readonly clear: string;
  readonly fromUs: number;
}

export type SentAlert = Omit<AlertRow, "isTold">;

export interface SentLoss {
  /** null: of no stream. */
  readonly stream: string | null;
  readonly fromUs: number;
  readonly toUs: number;
  readonly count: number;
  readonly bytes: number;
  readonly reason: string;
  readonly atUs: number;
  readonly kind: string;
  /** The query or alert, where it is not a stream's. */
  readonly subject: string | null;
}

/** An attribute of a device as it was set, or that it was removed. */
export interface SentAttribute extends HybridTime {
  readonly device: string;
  readonly attribute: string;
  /** A text of JSON; null: it was removed. */
  readonly value: string | null;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** From rows as `result-rows.ts` packs them, or from what was cleared, which is JSON already. */
export function encodeResults(packed: string): Uint8Array {
  if (packed.startsWith("{")) return encodeLines([packed]);
  return encodeLines(unpackResults(packed).map((row) => JSON.stringify(row)));
}

export function encodeObjects(rows: readonly object[]): Uint8Array {
  return encodeLines(rows.map((row) => JSON.stringify(row)));
}

/** @throws BatchError E_BATCH_CORRUPT */
export function decodeResults(ndjson: Uint8Array): (ResultRow | ClearedResults)[] {
  return decodeLines(ndjson).map((row) => {
    if ("clear" in row) return { clear: text(row, "clear"), fromUs: integer(row, "fromUs") };
    const kind = row.kind;
    if (kind !== "early" && kind !== "on-time" && kind !== "late") throw corrupt("kind");
    return {
      query: text(row, "query"),
      startUs: integer(row, "startUs"),
      endUs: integer(row, "endUs"),
      key: json(row, "key"),
      values: json(row, "values"),
      revision: integer(row, "revision"),
      kind,
      ...(row.retracted === true ? { retracted: true as const } : {}),
    };
  });
}

/** @throws BatchError E_BATCH_CORRUPT */
export function decodeAlerts(ndjson: Uint8Array): SentAlert[] {
  return decodeLines(ndjson).map((row) => ({
    alert: text(row, "alert"),
    severity: text(row, "severity"),
    definition: text(row, "definition"),
    key: json(row, "key"),
    state: alertState(row.state),
    sinceUs: integer(row, "sinceUs"),
    atUs: integer(row, "atUs"),
    value: json(row, "value"),
    id: text(row, "id"),
    revision: integer(row, "revision"),
    isRetracted: row.isRetracted === true,
  }));
}

/** @throws BatchError E_BATCH_CORRUPT */
export function decodeLosses(ndjson: Uint8Array): SentLoss[] {
  return decodeLines(ndjson).map((row) => ({
    stream: textOrNull(row, "stream"),
    fromUs: integer(row, "fromUs"),
    toUs: integer(row, "toUs"),
    count: integer(row, "count"),
    bytes: integer(row, "bytes"),
    reason: text(row, "reason"),
    atUs: integer(row, "atUs"),
    kind: text(row, "kind"),
    subject: textOrNull(row, "subject"),
  }));
}

/** @throws BatchError E_BATCH_CORRUPT */
export function decodeAttributes(ndjson: Uint8Array): SentAttribute[] {
  return decodeLines(ndjson).map((row) => ({
    device: text(row, "device"),
    attribute: text(row, "attribute"),
    value: row.value === null ? null : json(row, "value"),
    ...hybridTime(row),
  }));
}

type Row = Readonly<Record<string, unknown>>;

function encodeLines(lines: readonly string[]): Uint8Array {
  return encoder.encode(lines.map((line) => `${line}\n`).join(""));
}

function decodeLines(ndjson: Uint8Array): Row[] {
  try {
    const lines = decoder.decode(ndjson).split("\n");
    if (lines.pop() !== "") throw corrupt("the last line");
    return lines.map((line) => {
      const row: unknown = JSON.parse(line);
      if (typeof row !== "object" || row === null) throw corrupt("a row");
      return row as Row;
    });
  } catch (cause) {
    throw cause instanceof BatchError ? cause : corrupt("a line of JSON");
  }
}

function text(row: Row, member: string): string {
  const value = row[member];
  if (typeof value === "string") return value;
  throw corrupt(member);
}

function textOrNull(row: Row, member: string): string | null {
  return row[member] === null ? null : text(row, member);
}

/** A text that goes out as JSON again, so it must be some. */
function json(row: Row, member: string): string {
  const value = text(row, member);
  try {
    JSON.parse(value);
    return value;
  } catch {
    throw corrupt(member);
  }
}

function integer(row: Row, member: string): number {
  const value = row[member];
  if (typeof value === "number" && Number.isInteger(value)) return value;
  throw corrupt(member);
}

function hybridTime({ ms, counter }: Row): HybridTime {
  try {
    return readHybridTime(ms, counter);
  } catch {
    throw corrupt("ms or counter");
  }
}

function alertState(value: unknown): AlertState {
  if (value === "pending" || value === "firing" || value === "resolved") return value;
  throw corrupt("state");
}

function corrupt(what: string): BatchError {
  return new BatchError("E_BATCH_CORRUPT", `${what} of a row cannot be read`);
}
