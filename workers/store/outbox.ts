import type { Statement } from "better-sqlite3";
import type { AlertRow, ResultRow } from "../messages.ts";
import { packResults } from "../result-rows.ts";
import type { ClearedResults } from "../sync/rows.ts";
import type { Codec } from "../zstd.ts";
import type { Connection } from "./database.ts";

export type OutboxClass = "results" | "alerts";

/** Below this compressing a text takes more than it gives. */
const MIN_COMPRESSED_BYTES = 1_024;
const ZSTD_LEVEL = 1;

/**
 * Rows that sinks are still to get, written in the transaction of the rows themselves. Without sinks it takes nothing.
 * Results are as `result-rows.ts` packs them, alerts are NDJSON; what a backfill clears is a row of its own.
 */
export class Outbox {
  readonly #insert: Statement<unknown[]>;
  readonly #queue: Statement<unknown[]>;
  /** Given with the sinks; without one texts stay as they are. */
  codec: Codec | null = null;
  /** Ids of the sinks. */
  sinks: readonly number[] = [];

  constructor(db: Connection) {
    this.#insert = db.prepare(
      "INSERT INTO outbox (class, at_us, rows, codec, bytes, left_sinks, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
    );
    this.#queue = db.prepare("INSERT INTO outbox_queue (sink, class, id) VALUES (?, ?, ?)");
  }

  addPacked(text: string, nowUs: number): void {
    if (this.sinks.length === 0 || text === "") return;
    let rows = 1;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) rows++;
    this.#add("results", rows, text, nowUs);
  }

  addResults(rows: readonly ResultRow[], nowUs: number): void {
    if (this.sinks.length > 0 && rows.length > 0) this.addPacked(packResults(rows), nowUs);
  }

  addCleared(query: string, fromUs: number, nowUs: number): void {
    if (this.sinks.length === 0) return;
    const cleared: ClearedResults = { clear: query, fromUs };
    this.#add("results", 1, JSON.stringify(cleared), nowUs);
  }

  addAlerts(rows: readonly AlertRow[], nowUs: number): void {
    if (this.sinks.length === 0 || rows.length === 0) return;
    const lines = rows.map(({ isTold: _told, ...row }) => JSON.stringify(row));
    this.#add("alerts", rows.length, lines.join("\n"), nowUs);
  }

  #add(kind: OutboxClass, rows: number, text: string, nowUs: number): void {
    const plain = Buffer.from(text);
    const codec = plain.length < MIN_COMPRESSED_BYTES ? null : this.codec;
    const packed = codec?.compress(plain, ZSTD_LEVEL) ?? plain;
    const isPacked = packed.length < plain.length;
    const data = isPacked ? packed : plain;
    const form = isPacked ? "zstd" : "none";
    const { lastInsertRowid } = this.#insert.run(
      kind,
      nowUs,
      rows,
      form,
      data.length,
      this.sinks.length,
      data,
    );
    for (const sink of this.sinks) this.#queue.run(sink, kind, lastInsertRowid);
  }
}
