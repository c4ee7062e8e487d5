import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import postgres from "postgres";
import { linesOf, type OutgoingTable } from "../../../workers/sync/outgoing-table.ts";
import { formatTime } from "../../../workers/time-format.ts";
import type { PostgresTarget } from "../../config/sink-config.ts";
import { rejected, unreachable } from "../failure-text.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import { inTime } from "./in-time.ts";
import { rowStatements, SCHEMA_LOCK, schemaStatements } from "./postgres-schema.ts";
import type { SinkParts } from "./sink-parts.ts";

type Sql = ReturnType<typeof postgres>;

/** A batch is settled within an edge's longest backoff of the answer; a month is far beyond. */
const KEY_KEPT = "30 days";
/** Old keys forgotten with each new one at most. */
const KEYS_DROPPED = 2;
/** Lines handed to a COPY at once. */
const COPY_LINES = 1_000;
const IDLE_SECONDS = 60;
/** Rows that the table takes with no change: data exceptions, constraints, limits. Other classes are of the server. */
const REJECTED_CLASSES = new Set(["22", "23", "54"]);
const NO_TABLE = new Set(["42P01", "3F000"]);

/**
 * Rows in a PostgreSQL: events by COPY, all else by its names. Each batch is one transaction, which
 * also writes its key: what is delivered again changes nothing.
 */
export class PostgresSink implements Sink {
  readonly name: string;
  readonly form = "ndjson";
  readonly #parts: SinkParts<PostgresTarget>;
  readonly #rows: ReturnType<typeof rowStatements>;
  readonly #schema: string;
  #sql: Sql | null = null;
  #isMade: boolean;

  constructor(parts: SinkParts<PostgresTarget>) {
    this.name = parts.name;
    this.#parts = parts;
    // As the configuration takes them, names hold no quotes.
    this.#schema = `"${parts.target.schema}"`;
    this.#rows = rowStatements(this.#schema);
    this.#isMade = !parts.target.creates;
  }

  async deliver(batch: OutgoingBatch, signal: AbortSignal): Promise<Delivery> {
    const sql = this.#open();
    try {
      return await inTime(this.#write(sql, batch), this.#parts.timeoutMs, signal);
    } catch (cause) {
      const state = stateOf(cause);
      if (REJECTED_CLASSES.has(state.slice(0, 2))) return rejected(cause);
      if (NO_TABLE.has(state)) this.#isMade = !this.#parts.target.creates;
      // What was answered came over a line that is well.
      if (state === "") this.#drop(sql);
      return unreachable(cause);
    }
  }

  async probe(signal: AbortSignal): Promise<boolean> {
    const sql = this.#open();
    try {
      await inTime(Promise.resolve(sql`SELECT 1`), this.#parts.timeoutMs, signal);
      return true;
    } catch {
      this.#drop(sql);
      return false;
    }
  }

  async close(): Promise<void> {
    const sql = this.#sql;
    this.#sql = null;
    await sql?.end({ timeout: 0 });
  }

  async #write(sql: Sql, { key, tables, rows, incarnation }: OutgoingBatch): Promise<Delivery> {
    const { edge } = this.#parts;
    const schema = this.#schema;
    if (!this.#isMade) await this.#make(sql);
    return await sql.begin(async (transaction): Promise<Delivery> => {
      const inserted = await transaction.unsafe(
        `INSERT INTO ${schema}.batches (edge, key, rows) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
        [edge, key, rows],
      );
      if (inserted.count === 0) return { kind: "delivered", stored: 0, isDuplicate: true };
      await transaction.unsafe(
        `DELETE FROM ${schema}.batches WHERE (edge, key) IN (SELECT edge, key FROM ${schema}.batches` +
          ` WHERE edge = $1 AND at < now() - interval '${KEY_KEPT}' LIMIT ${KEYS_DROPPED})`,
        [edge],
      );
      for (const table of tables) {
        if (table.kind === "events" || table.kind === "downsampled") {
          await copyEvents(transaction, schema, table, edge);
        } else {
          const array = `[${linesOf(table.body).join(",")}]`;
          for (const statement of this.#rows[table.kind]) {
            const parameters = statement.includes("$2") ? [array, incarnation] : [array];
            await transaction.unsafe(statement, parameters);
          }
        }
      }
      return { kind: "delivered", stored: rows, isDuplicate: false };
    });
  }

  async #make(sql: Sql): Promise<void> {
    await sql.begin(async (transaction) => {
      await transaction.unsafe("SELECT pg_advisory_xact_lock($1)", [SCHEMA_LOCK]);
      for (const statement of schemaStatements(this.#schema)) await transaction.unsafe(statement);
    });
    this.#isMade = true;
  }

  #open(): Sql {
    const { target, timeoutMs } = this.#parts;
    this.#sql ??= postgres(target.url, {
      connect_timeout: Math.ceil(timeoutMs / 1_000),
      idle_timeout: IDLE_SECONDS,
      // The runner says when to try again.
      backoff: false,
      prepare: false,
      // It asks for types as it connects, and nobody would catch it when the line is cut meanwhile.
      fetch_types: false,
      onnotice: () => undefined,
      connection: { application_name: "millrace" },
    });
    return this.#sql;
  }

  #drop(sql: Sql): void {
    if (this.#sql === sql) this.#sql = null;
    void sql.end({ timeout: 0 }).catch(() => undefined);
  }
}

/**
 * Events by way of a table of texts, which takes any line: what the last step refuses is told as the error of a statement,
 * while the end of a COPY that fails is not told at all.
 */
async function copyEvents(
  transaction: postgres.TransactionSql,
  schema: string,
  table: OutgoingTable,
  edge: string,
): Promise<void> {
  await transaction.unsafe("CREATE TEMP TABLE IF NOT EXISTS incoming (ts text, event text) ON COMMIT DROP");
  await transaction.unsafe("TRUNCATE incoming");
  const copy = await transaction.unsafe("COPY incoming (ts, event) FROM STDIN").writable();
  await pipeline(Readable.from(copyLines(table, edge)), copy);
  await transaction.unsafe(
    `INSERT INTO ${schema}.${table.kind} (edge, stream, ts, event)` +
      " SELECT $1, $2, ts::timestamptz, event::jsonb FROM incoming",
    [edge, table.name],
  );
}

/** Rows of COPY's text format: a tab between columns, a backslash in front of what means something. */
function* copyLines({ body, timesUs }: OutgoingTable, edge: string): Generator<string> {
  const tail = `"edge":${JSON.stringify(edge)}}`;
  const lines = linesOf(body);
  for (let at = 0; at < lines.length; at += COPY_LINES) {
    let portion = "";
    for (let row = at; row < Math.min(lines.length, at + COPY_LINES); row++) {
      // The edge has a column of its own.
      const event = `${lines[row]!.slice(0, -tail.length).replace(/,$/, "")}}`;
      portion += `${formatTime(timesUs![row]!)}\t${event.replaceAll("\\", "\\\\")}\n`;
    }
    yield portion;
  }
}

/** The SQLSTATE; empty where it was not the server that said something. */
function stateOf(cause: unknown): string {
  return cause instanceof postgres.PostgresError ? cause.code : "";
}
