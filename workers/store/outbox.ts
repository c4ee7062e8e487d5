import type { Statement } from "better-sqlite3";
import type { AlertRow, PackedRows, ResultRow } from "../messages.ts";
import { asBuffer, textOf } from "../packed-rows.ts";
import { packResults, unpackResults } from "../result-rows.ts";
import { outboxPlace } from "../seal/places.ts";
import type { Seal } from "../seal/seal.ts";
import type { ClearedResults } from "../sync/rows.ts";
import type { Codec } from "../zstd.ts";
import type { Connection } from "./database.ts";
import { SyncBackfill } from "./sync-backfill.ts";

export type OutboxClass = "results" | "alerts";

/** Below this compressing a text takes more than it gives. */
const MIN_COMPRESSED_BYTES = 1_024;
const ZSTD_LEVEL = 1;

/**
 * Rows that sinks are still to get, written in the transaction of the rows themselves. Without sinks it takes nothing.
 * Results are as `result-rows.ts` packs them, alerts are NDJSON; what a backfill clears is a row of its own.
 */
export class Outbox {
  readonly #seal: Seal;
  readonly #plain: Statement<unknown[]>;
  readonly #sealRow: Statement<unknown[]>;
  /** Ids are taken before the row is written, for its seal names it. One that was rolled back is not given again. */
  #nextId: number;
  readonly #insert: Statement<unknown[]>;
  readonly #queue: Statement<unknown[]>;
  /** Given with the sinks; without one texts stay as they are. */
  codec: Codec | null = null;
  readonly backfill: SyncBackfill;
  /** Ids of the sinks. */
  sinks: readonly number[] = [];

  constructor(db: Connection, seal: Seal) {
    this.#seal = seal;
    this.#insert = db.prepare(
      "INSERT INTO outbox (id, class, at_us, rows, codec, bytes, left_sinks, is_sealed, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    );
    this.#plain = db.prepare("SELECT id, class, data FROM outbox WHERE is_sealed = 0 LIMIT 100");
    this.#sealRow = db.prepare("UPDATE outbox SET data = ?, is_sealed = 1 WHERE id = ?");
    const last = db.prepare(
      "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'outbox'), 0) AS id",
    );
    this.#nextId = (last.get() as { id: number }).id + 1;
    this.backfill = new SyncBackfill(db, seal, this);
    this.#queue = db.prepare("INSERT INTO outbox_queue (sink, class, id) VALUES (?, ?, ?)");
  }

  prepare(): void {
    this.#seal.prepare();
  }

  addPacked(packed: PackedRows, nowUs: number): void {
    if (this.sinks.length === 0 || packed.count === 0) return;
    if (this.backfill.isOn) this.#addWhileFed(unpackResults(textOf(packed)), nowUs);
    else this.#add("results", packed.count, asBuffer(packed), nowUs, this.sinks);
  }

  addResults(rows: readonly ResultRow[], nowUs: number): void {
    if (this.sinks.length === 0 || rows.length === 0) return;
    if (this.backfill.isOn) this.#addWhileFed(rows, nowUs);
    else this.#addRows(rows, nowUs, this.sinks);
  }

  addCleared(query: string, fromUs: number, nowUs: number): void {
    if (this.sinks.length === 0) return;
    const cleared: ClearedResults = { clear: query, fromUs };
    this.#add("results", 1, Buffer.from(JSON.stringify(cleared)), nowUs, this.sinks);
  }

  addAlerts(rows: readonly AlertRow[], nowUs: number): void {
    if (!this.backfill.isOn) {
      this.#addAlerts(rows, nowUs, this.sinks);
      return;
    }
    const finds = (sink: number, row: AlertRow): boolean => this.backfill.findsAlert(sink, row);
    for (const { sinks, rows: written } of this.#bySinks(rows, finds)) this.#addAlerts(written, nowUs, sinks);
  }

  /** What was stored before the sink was there. */
  addResultsFor(sink: number, rows: readonly ResultRow[], nowUs: number): void {
    if (rows.length > 0) this.#addRows(rows, nowUs, [sink]);
  }

  addAlertsFor(sink: number, rows: readonly AlertRow[], nowUs: number): void {
    this.#addAlerts(rows, nowUs, [sink]);
  }

  #addWhileFed(rows: readonly ResultRow[], nowUs: number): void {
    const finds = (sink: number, row: ResultRow): boolean => this.backfill.findsResult(sink, row);
    for (const { sinks, rows: written } of this.#bySinks(rows, finds)) this.#addRows(written, nowUs, sinks);
  }

  #addRows(rows: readonly ResultRow[], nowUs: number, sinks: readonly number[]): void {
    this.#add("results", rows.length, Buffer.from(packResults(rows)), nowUs, sinks);
  }

  /** Rows that the backfill of a sink is going to find are left to it; the others together, as far as they go to the same. */
  #bySinks<Row>(
    rows: readonly Row[],
    finds: (sink: number, row: Row) => boolean,
  ): { readonly sinks: readonly number[]; readonly rows: readonly Row[] }[] {
    const groups = new Map<string, { sinks: readonly number[]; rows: Row[] }>();
    for (const row of rows) {
      const sinks = this.sinks.filter((sink) => !finds(sink, row));
      if (sinks.length === 0) continue;
      const group = groups.get(sinks.join()) ?? { sinks, rows: [] };
      group.rows.push(row);
      groups.set(sinks.join(), group);
    }
    return [...groups.values()];
  }

  #addAlerts(rows: readonly AlertRow[], nowUs: number, sinks: readonly number[]): void {
    if (sinks.length === 0 || rows.length === 0) return;
    const lines = rows.map(({ isTold: _told, seq: _seq, ...row }) => JSON.stringify(row));
    this.#add("alerts", rows.length, Buffer.from(lines.join("\n")), nowUs, sinks);
  }

  /** Seals what was written before there was a key. Within a transaction. */
  sealPlain(): void {
    if (!this.#seal.isOn) return;
    for (;;) {
      const rows = this.#plain.all() as { id: number; class: OutboxClass; data: Buffer }[];
      for (const { id, class: kind, data } of rows)
        this.#sealRow.run(this.#seal.bytes(outboxPlace(kind, id), data), id);
      if (rows.length === 0) return;
    }
  }

  #add(kind: OutboxClass, rows: number, plain: Buffer, nowUs: number, sinks: readonly number[]): void {
    const codec = plain.length < MIN_COMPRESSED_BYTES ? null : this.codec;
    const packed = codec?.compress(plain, ZSTD_LEVEL) ?? plain;
    const isPacked = packed.length < plain.length;
    const data = isPacked ? packed : plain;
    const form = isPacked ? "zstd" : "none";
    const id = this.#nextId++;
    const stored = this.#seal.isOn ? this.#seal.bytes(outboxPlace(kind, id), data) : data;
    const sealed = Number(this.#seal.isOn);
    this.#insert.run(id, kind, nowUs, rows, form, data.length, sinks.length, sealed, stored);
    for (const sink of sinks) this.#queue.run(sink, kind, id);
  }
}
