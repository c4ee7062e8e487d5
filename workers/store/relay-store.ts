import type { Statement } from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import { relayPlace } from "../seal/places.ts";
import type { Seal } from "../seal/seal.ts";
import type { Connection } from "./database.ts";
import { prepareAll } from "./prepare-all.ts";
import type {
  NextRelayedTask,
  RelayedBatch,
  RelayedEdge,
  RelayedOutcome,
  SettleRelayedTask,
  StoreRelayedTask,
  WaitingBatch,
} from "./relay-operations.ts";

const SQL = {
  isKnown: "SELECT 1 FROM relayed_keys WHERE edge = ? AND key = ?",
  insertKey: "INSERT INTO relayed_keys (edge, key, at_us) VALUES (?, ?, ?)",
  dropKeys:
    "DELETE FROM relayed_keys WHERE (edge, key) IN (SELECT k.edge, k.key FROM relayed_keys k WHERE k.at_us < ?" +
    " AND NOT EXISTS (SELECT 1 FROM relayed r WHERE r.edge = k.edge AND r.key = k.key) LIMIT ?)",
  insert:
    "INSERT INTO relayed (id, edge, key, class, hops, rows, bytes, at_us, is_sealed, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  countReceived:
    "INSERT INTO relayed_edges (edge, received, received_rows) VALUES (?, 1, ?) ON CONFLICT DO UPDATE" +
    " SET received = received + 1, received_rows = received_rows + excluded.received_rows",
  countDuplicate:
    "INSERT INTO relayed_edges (edge, duplicates) VALUES (?, 1) ON CONFLICT DO UPDATE SET duplicates = duplicates + 1",
  countForwarded:
    "UPDATE relayed_edges SET forwarded = forwarded + 1, forwarded_rows = forwarded_rows + ? WHERE edge = ?",
  next:
    "SELECT id, edge, key, class, hops, rows, at_us AS atUs, is_sealed AS isSealed, body FROM relayed" +
    " WHERE class = ? AND reason IS NULL AND id NOT IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT 1",
  read: "SELECT edge, rows FROM relayed WHERE id = ?",
  remove: "DELETE FROM relayed WHERE id = ?",
  park: "UPDATE relayed SET reason = ? WHERE id = ?",
  unpark: "UPDATE relayed SET reason = NULL WHERE reason IS NOT NULL",
  bytes: "SELECT coalesce(sum(bytes), 0) AS bytes FROM relayed",
  edges:
    "SELECT e.edge, received, received_rows AS receivedRows, forwarded, forwarded_rows AS forwardedRows, duplicates," +
    " count(r.id) - count(r.reason) AS waiting, coalesce(sum(r.bytes), 0) AS waitingBytes, count(r.reason) AS parked," +
    " min(r.at_us) AS oldestUs FROM relayed_edges e LEFT JOIN relayed r ON r.edge = e.edge GROUP BY e.edge ORDER BY e.edge",
  plain: "SELECT id, edge, key, body FROM relayed WHERE is_sealed = 0 LIMIT 10",
  sealRow: "UPDATE relayed SET body = ?, is_sealed = 1 WHERE id = ?",
} as const;

/** An edge settles a batch within its longest backoff of the answer; a week is far beyond. */
const KEY_KEPT_US = 7 * 86_400e6;
/** Old keys forgotten with each new one at most. */
const KEYS_DROPPED = 2;

type Row = Omit<WaitingBatch, "hops"> & { readonly hops: string; readonly isSealed: number };

/**
 * Batches of other edges, until the hub has them. Each is known by (edge, key) in the transaction that stores it, so one that
 * comes again stores nothing; what is held is never given up: when there is no room, edges keep what they have. Each
 * method is one transaction.
 */
export class RelayStore {
  readonly #db: Connection;
  readonly #seal: Seal;
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  #nextId: number;
  /** Of all that is held. */
  #bytes: number;

  constructor(db: Connection, seal: Seal) {
    this.#db = db;
    this.#seal = seal;
    this.#sql = prepareAll(db, SQL);
    const last = db.prepare(
      "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'relayed'), 0) AS id",
    );
    this.#nextId = (last.get() as { id: number }).id + 1;
    this.#bytes = this.#measure();
  }

  /** Seals what was written before there was a key. */
  open(): void {
    this.#seal.prepare();
    if (!this.#seal.isOn) return;
    this.#db.transaction(() => {
      for (;;) {
        const rows = this.#sql.plain.all() as Pick<Row, "id" | "edge" | "key" | "body">[];
        for (const row of rows) this.#sql.sealRow.run(this.#seal.bytes(relayPlace(row), row.body), row.id);
        if (rows.length === 0) return;
      }
    })();
  }

  store({ batches, capBytes, nowUs }: StoreRelayedTask): RelayedOutcome[] {
    this.#seal.prepare();
    try {
      return this.#db.transaction(() => batches.map((batch) => this.#store(batch, capBytes, nowUs)))();
    } catch (cause) {
      this.#bytes = this.#measure();
      throw cause;
    }
  }

  /** The oldest of the first class that has one; null: nothing waits. One that does not open is set aside. */
  next({ classes, except }: NextRelayedTask): WaitingBatch | null {
    for (const kind of classes) {
      for (;;) {
        const row = this.#sql.next.get(kind, JSON.stringify(except)) as Row | undefined;
        if (row === undefined) break;
        const { isSealed, hops, body, ...batch } = row;
        const plain = isSealed === 0 ? body : this.#openBody(row);
        if (plain !== null)
          return { ...batch, hops: JSON.parse(hops) as string[], body: new Uint8Array(plain) };
      }
    }
    return null;
  }

  /** null: it was changed, moved, or sealed by a key that is not there. What is behind it must not wait for it. */
  #openBody(row: Row): Uint8Array | null {
    try {
      return this.#seal.openBytes(relayPlace(row), row.body);
    } catch (cause) {
      if (!(cause instanceof MillraceError)) throw cause;
      this.#sql.park.run(`cannot be opened: ${cause.message}`, row.id);
      return null;
    }
  }

  settle(outcomes: readonly SettleRelayedTask[]): void {
    this.#db.transaction(() => {
      for (const { id, reason } of outcomes) {
        const row = this.#sql.read.get(id) as { edge: string; rows: number } | undefined;
        if (row === undefined) continue;
        if (reason !== null) this.#sql.park.run(reason, id);
        else {
          this.#sql.countForwarded.run(row.rows, row.edge);
          this.#sql.remove.run(id);
        }
      }
    })();
    this.#bytes = this.#measure();
  }

  /** What was set aside is to be sent again. @returns how many */
  unpark(): number {
    return this.#sql.unpark.run().changes;
  }

  edges(): RelayedEdge[] {
    return this.#sql.edges.all() as RelayedEdge[];
  }

  #store(
    { edge, key, class: kind, hops, rows, body }: RelayedBatch,
    capBytes: number,
    nowUs: number,
  ): RelayedOutcome {
    if (this.#sql.isKnown.get(edge, key) !== undefined) {
      this.#sql.countDuplicate.run(edge);
      return "duplicate";
    }
    if (this.#bytes + body.length > capBytes) return "full";
    this.#sql.insertKey.run(edge, key, nowUs);
    this.#sql.dropKeys.run(nowUs - KEY_KEPT_US, KEYS_DROPPED);
    const id = this.#nextId++;
    const stored = this.#seal.isOn ? this.#seal.bytes(relayPlace({ id, edge, key }), body) : body;
    const isSealed = Number(this.#seal.isOn);
    this.#sql.insert.run(
      id,
      edge,
      key,
      kind,
      JSON.stringify(hops),
      rows,
      body.length,
      nowUs,
      isSealed,
      stored,
    );
    this.#sql.countReceived.run(edge, rows);
    this.#bytes += body.length;
    return "stored";
  }

  #measure(): number {
    return (this.#sql.bytes.get() as { bytes: number }).bytes;
  }
}
