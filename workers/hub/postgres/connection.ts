import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Sql, TransactionSql } from "postgres";
import { MillraceError } from "../../errors.ts";
import { isLost, isPassing } from "./failure.ts";
import { POSTGRES_MIGRATIONS } from "./migrations.ts";

const SCHEMA = "millrace";
/** `extract(epoch …)` is exact from here on. */
const OLDEST_VERSION = 14;
const CONNECT_TIMEOUT_S = 5;
/** A statement that takes longer is given up, and what it was part of with it. */
const STATEMENT_TIMEOUT_MS = 60_000;
/** Nothing heard for so much longer: the line is dead, though nobody said so. */
const GRACE_MS = 5_000;
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
  /** Gives a COPY … FROM STDIN its bytes, made as they are taken. */
  copyInto(sql: string, bytes: Iterable<Buffer>): Promise<void>;
}

/**
 * A pool of connections to a hub's database. Once a connection was lost nothing more is said on it, and the pool is
 * exchanged for a new one: `postgres` (3.4) throws where nobody can catch it when it is to write to a socket that is gone, as
 * with the ROLLBACK of a transaction that was cut off, and may never write again on a connection that had something to say.
 */
export class PostgresDatabase implements Session {
  /** The server and database, without user and password. */
  readonly where: string;
  readonly #open: () => Sql;
  readonly #silenceMs: number;
  #sql: Sql;

  private constructor(open: () => Sql, where: string, silenceMs: number) {
    this.#open = open;
    this.#sql = open();
    this.where = where;
    this.#silenceMs = silenceMs;
  }

  /**
   * Connects when it is first needed. A server that says nothing for `silenceMs` in the middle of something is given up.
   * @throws MillraceError E_DATABASE_URL
   */
  static async create(
    url: string,
    connections: number,
    silenceMs = STATEMENT_TIMEOUT_MS + GRACE_MS,
  ): Promise<PostgresDatabase> {
    const where = placeOf(url);
    const { default: postgres } = await import("postgres");
    const open = (): Sql =>
      postgres(url, {
        max: connections,
        connect_timeout: CONNECT_TIMEOUT_S,
        onnotice: () => undefined,
        // Arrays are never read; asked for at each connection, their types would fail where nobody can catch it.
        fetch_types: false,
        // The first attempt after a server was away comes soon.
        backoff: (attempt) => Math.min(2, 0.05 * 2 ** attempt),
        connection: {
          application_name: "millrace-hub",
          search_path: SCHEMA,
          statement_timeout: STATEMENT_TIMEOUT_MS,
        },
      });
    return new PostgresDatabase(open, where, silenceMs);
  }

  rows<Row>(sql: string, parameters: readonly Value[] = []): Promise<Row[]> {
    return this.#retried((pool) => this.#watched((line) => line.session(pool).rows<Row>(sql, parameters)));
  }

  run(sql: string, parameters: readonly Value[] = []): Promise<number> {
    return this.#retried((pool) => this.#watched((line) => line.session(pool).run(sql, parameters)));
  }

  copyInto(sql: string, bytes: Iterable<Buffer>): Promise<void> {
    return this.transaction((session) => session.copyInto(sql, bytes));
  }

  /**
   * All of it or nothing. Runs again after what passes: a lost connection, a deadlock; should the connection be lost while it
   * commits, it may run twice, so it must notice that it ran.
   */
  transaction<T>(run: (session: Session) => Promise<T>): Promise<T> {
    return this.#retried((pool) =>
      this.#watched(async (line) => {
        const begun = await pool.begin(async (transaction) => ({
          value: await run(line.session(transaction)),
        }));
        return (begun as { value: T }).value;
      }),
    );
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

  /** Fails as soon as the line is found to be lost: what is said on it then has no end. */
  async #watched<T>(run: (line: Line) => Promise<T>): Promise<T> {
    const line = new Line(this.#silenceMs, this.where);
    try {
      return await Promise.race([run(line), line.lost]);
    } finally {
      line.end();
    }
  }

  async #retried<T>(run: (pool: Sql) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const pool = this.#sql;
      try {
        return await run(pool);
      } catch (cause) {
        if (isLost(cause) && pool === this.#sql) {
          this.#sql = this.#open();
          // What others have under way on it ends first; nothing new is begun there.
          void pool.end({ timeout: CONNECT_TIMEOUT_S }).catch(() => undefined);
        }
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

/** The line that one statement or transaction goes over. */
class Line {
  /** Rejects when the line is lost, or stands still for too long. */
  readonly lost: Promise<never>;
  readonly #timer: NodeJS.Timeout;
  #lose: (cause: unknown) => void = () => undefined;
  #isOver = false;

  constructor(silenceMs: number, where: string) {
    this.lost = new Promise<never>((_, reject) => {
      this.#lose = reject;
    });
    this.lost.catch(() => undefined);
    this.#timer = setTimeout(() => {
      const detail = `it has said nothing for ${silenceMs / 1_000} s`;
      this.#end(
        new MillraceError("E_STORE_UNAVAILABLE", `PostgreSQL at ${where} cannot be reached (${detail})`),
      );
    }, silenceMs);
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  session(sql: Sql | TransactionSql): Session {
    const query = (text: string, parameters: readonly Value[]) =>
      sql.unsafe(text, [...parameters], { prepare: true });
    return {
      rows: <Row>(text: string, parameters: readonly Value[] = []) =>
        this.#said(async () => (await query(text, parameters)) as unknown as Row[]),
      run: (text, parameters = []) => this.#said(async () => (await query(text, parameters)).count),
      copyInto: (text, bytes) =>
        this.#said(async () => {
          const stream = Readable.from(this.#heard(bytes), { highWaterMark: 2 });
          await pipeline(stream, await sql.unsafe(text).writable());
        }),
    };
  }

  /** Never ends once the line is lost: nothing may follow on it, no ROLLBACK either, which the server does by itself. */
  async #said<T>(say: () => Promise<T>): Promise<T> {
    if (this.#isOver) return NEVER;
    this.#timer.refresh();
    try {
      const answer = await say();
      if (this.#isOver) return await NEVER;
      this.#timer.refresh();
      return answer;
    } catch (cause) {
      if (!isLost(cause)) throw cause;
      this.#end(cause);
      return NEVER;
    }
  }

  *#heard(bytes: Iterable<Buffer>): Generator<Buffer, void, void> {
    for (const portion of bytes) {
      this.#timer.refresh();
      yield portion;
    }
  }

  #end(cause: unknown): void {
    this.end();
    this.#lose(cause);
  }
}

const NEVER = new Promise<never>(() => undefined);

/** A migration's statements: each ends with `;` at the end of a line. */
function statementsOf(migration: string): string[] {
  return migration
    .split(/;\s*$/m)
    .map((statement) => statement.trim())
    .filter((statement) => statement !== "");
}
