import { setTimeout as sleep } from "node:timers/promises";
import type { Sql, TransactionSql } from "postgres";
import { MillraceError } from "../../errors.ts";
import { isPassing } from "./failure.ts";
import { POSTGRES_MIGRATIONS } from "./migrations.ts";

const SCHEMA = "millrace";
/** `extract(epoch …)` is exact from here on. */
const OLDEST_VERSION = 14;
const CONNECT_TIMEOUT_S = 5;
/** A statement that takes longer is given up, and what it was part of with it. */
const STATEMENT_TIMEOUT_MS = 60_000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 50;
/** Held while the schema is made or changed: hubs that start together do it one after the other. */
const MIGRATION_LOCK = 0x4d524842;

export type Value = string | number | null;

/** One connection's view: that of a transaction, or of the pool. */
export interface Session {
  /** Rows of a statement, which is prepared at its first use. */
  rows<Row>(sql: string, parameters?: readonly Value[]): Promise<Row[]>;
  /** How many rows a statement touched. */
  run(sql: string, parameters?: readonly Value[]): Promise<number>;
  /** Takes the bytes of a COPY … FROM STDIN. */
  copyInto(sql: string): Promise<NodeJS.WritableStream>;
}

/** A pool of connections to a hub's database. */
export class PostgresDatabase implements Session {
  /** The server and database, without user and password. */
  readonly where: string;
  readonly #sql: Sql;

  private constructor(sql: Sql, where: string) {
    this.#sql = sql;
    this.where = where;
  }

  /** Connects when it is first needed. @throws MillraceError E_DATABASE_URL */
  static async create(url: string, connections: number): Promise<PostgresDatabase> {
    const where = placeOf(url);
    const { default: postgres } = await import("postgres");
    const sql = postgres(url, {
      max: connections,
      connect_timeout: CONNECT_TIMEOUT_S,
      onnotice: () => undefined,
      // The first attempt after a server was away comes soon.
      backoff: (attempt) => Math.min(2, 0.05 * 2 ** attempt),
      connection: {
        application_name: "millrace-hub",
        search_path: SCHEMA,
        statement_timeout: STATEMENT_TIMEOUT_MS,
      },
    });
    return new PostgresDatabase(sql, where);
  }

  rows<Row>(sql: string, parameters: readonly Value[] = []): Promise<Row[]> {
    return this.#retried(() => sessionOf(this.#sql).rows<Row>(sql, parameters));
  }

  run(sql: string, parameters: readonly Value[] = []): Promise<number> {
    return this.#retried(() => sessionOf(this.#sql).run(sql, parameters));
  }

  copyInto(sql: string): Promise<NodeJS.WritableStream> {
    return sessionOf(this.#sql).copyInto(sql);
  }

  /**
   * All of it or nothing. Runs again after what passes: a lost connection, a deadlock; should the connection be lost while it
   * commits, it may run twice, so it must notice that it ran.
   */
  transaction<T>(run: (session: Session) => Promise<T>): Promise<T> {
    return this.#retried(async () => {
      const begun = await this.#sql.begin(async (transaction) => ({
        value: await run(sessionOf(transaction)),
      }));
      return (begun as { value: T }).value;
    });
  }

  /** Makes the schema, or brings it to this release. @throws MillraceError E_STORE_NEWER, E_STORE_VERSION */
  async migrate(): Promise<void> {
    const [server] = await this.rows<{ version: number; encoding: string }>(
      "SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('server_encoding') AS encoding",
    );
    if (server === undefined || server.version < OLDEST_VERSION || server.encoding !== "UTF8") {
      const found = `${this.where} is release ${server?.version} with encoding ${server?.encoding}`;
      throw new MillraceError(
        "E_STORE_VERSION",
        `${found}; the hub needs PostgreSQL ${OLDEST_VERSION} or later and a database with encoding UTF8`,
      );
    }
    await this.transaction(async (session) => {
      await session.rows("SELECT pg_advisory_xact_lock($1)", [MIGRATION_LOCK]);
      const [there] = await session.rows("SELECT 1 FROM pg_namespace WHERE nspname = $1", [SCHEMA]);
      if (there === undefined) await session.run(`CREATE SCHEMA ${SCHEMA}`);
      await session.run(
        "CREATE TABLE IF NOT EXISTS migrations (number integer PRIMARY KEY, at timestamptz NOT NULL DEFAULT now())",
      );
      const [{ version } = { version: 0 }] = await session.rows<{ version: number }>(
        "SELECT coalesce(max(number), 0) AS version FROM migrations",
      );
      if (version > POSTGRES_MIGRATIONS.length) {
        throw new MillraceError(
          "E_STORE_NEWER",
          `${this.where} was written by a later release (schema ${version}, this one knows ${POSTGRES_MIGRATIONS.length}); ` +
            "start that release, or give this one its own database",
        );
      }
      for (const [index, migration] of POSTGRES_MIGRATIONS.entries()) {
        if (index < version) continue;
        for (const statement of statementsOf(migration)) await session.run(statement);
        await session.run("INSERT INTO migrations (number) VALUES ($1)", [index + 1]);
      }
    });
  }

  async close(): Promise<void> {
    await this.#sql.end({ timeout: CONNECT_TIMEOUT_S });
  }

  async #retried<T>(run: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await run();
      } catch (cause) {
        if (cause instanceof MillraceError || attempt >= ATTEMPTS || !isPassing(cause)) throw cause;
        await sleep(FIRST_PAUSE_MS * 2 ** attempt * (0.5 + Math.random()));
      }
    }
  }
}

/** @throws MillraceError E_DATABASE_URL */
export function placeOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed !== null && /^postgres(ql)?:$/.test(parsed.protocol)) return `${parsed.host}${parsed.pathname}`;
  throw new MillraceError(
    "E_DATABASE_URL",
    "store.postgres is no address of a database; write it like postgres://user:password@host:5432/database",
  );
}

function sessionOf(sql: Sql | TransactionSql): Session {
  const query = (text: string, parameters: readonly Value[]) =>
    sql.unsafe(text, [...parameters], { prepare: true });
  return {
    rows: async <Row>(text: string, parameters: readonly Value[] = []) =>
      (await query(text, parameters)) as unknown as Row[],
    run: async (text, parameters = []) => (await query(text, parameters)).count,
    copyInto: (text) => sql.unsafe(text).writable(),
  };
}

/** A migration's statements: each ends with `;` at the end of a line. */
function statementsOf(migration: string): string[] {
  return migration
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
}
