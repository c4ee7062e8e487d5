import { AUDIT_SQL } from "./audit.ts";
import type { PostgresDatabase } from "./connection.ts";
import { codeOf, isPassing } from "./failure.ts";

const DAY_US = 86_400_000_000;
const DAY_MS = 86_400_000;
/** Of the years 0001 to 9999, which have a date of eight digits. */
const [FIRST_DAY, LAST_DAY] = [-719_162, 2_932_895];
/** Events of more days than this stand together in `event_rows_other`: every partition costs each query a little. */
const MAX_PARTITIONS = 4_000;
/** Made before they are needed, so that midnight costs nothing. */
const DAYS_AHEAD = 3;
/**
 * Of relations that another hub made meanwhile: by the table's name or its days, by its row type's name where the other was done
 * between the looks at the two, or by the catalogue's own index.
 */
const EXISTS = /^(42P07|42P17|42710|23505)$/;
/** Rows of the day stand in `event_rows_other` already, where they stay. */
const HAS_ROWS = "23514";
const SQL = {
  list:
    "SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid" +
    " WHERE i.inhparent = 'event_rows'::regclass AND c.relname ~ '^event_rows_[0-9]{8}$'",
  dropOther: "DELETE FROM event_rows_other WHERE time < at_us($1)",
} as const;

/**
 * The partitions of `event_rows`: one a day of event time (UTC), made when the day's first event comes. Dropping one is how
 * old events go: it frees their space at once and costs nothing.
 */
export class Partitions {
  readonly #db: PostgresDatabase;
  readonly #known = new Set<number>();
  #isFull = false;

  constructor(db: PostgresDatabase) {
    this.#db = db;
  }

  /** Makes what is missing of these days (since 1970); not within a transaction, which would keep others waiting. */
  async ensure(wanted: Iterable<number>): Promise<void> {
    const days = [...new Set(wanted)].filter(
      (day) => !this.#known.has(day) && day >= FIRST_DAY && day <= LAST_DAY,
    );
    if (days.length === 0 || this.#isFull) return;
    await this.#refresh();
    for (const day of days) {
      if (this.#known.has(day)) continue;
      if (this.#known.size >= MAX_PARTITIONS) {
        this.#isFull = true;
        return;
      }
      await this.#make(day);
      this.#known.add(day);
    }
  }

  /** Makes those of the days to come, and drops those whose events are all older than `beforeUs`. */
  async keep(nowUs: number, beforeUs: number | null): Promise<void> {
    this.#isFull = false;
    const today = Math.floor(nowUs / DAY_US);
    await this.ensure(Array.from({ length: DAYS_AHEAD + 1 }, (_, ahead) => today + ahead));
    if (beforeUs === null) return;
    await this.#db.run(AUDIT_SQL.expire, [Math.floor(beforeUs / DAY_US) * DAY_US]);
    await this.#refresh();
    for (const day of [...this.#known]) {
      if ((day + 1) * DAY_US > beforeUs) continue;
      await this.#db.run(`DROP TABLE IF EXISTS ${nameOf(day)}`);
      this.#known.delete(day);
    }
    await this.#db.run(SQL.dropOther, [Math.floor(beforeUs / DAY_US) * DAY_US]);
  }

  async #refresh(): Promise<void> {
    const rows = await this.#db.rows<{ name: string }>(SQL.list);
    this.#known.clear();
    for (const { name } of rows) this.#known.add(dayOf(name));
  }

  /** Attached once it stands, which, unlike making it in its place, waits for nobody who writes. */
  async #make(day: number): Promise<void> {
    const name = nameOf(day);
    const [from, to] = [day, day + 1].map((at) => `'${boundOf(at)}'`);
    try {
      await this.#db.transaction(async (session) => {
        await session.run(`CREATE TABLE ${name} (LIKE event_rows INCLUDING DEFAULTS INCLUDING CONSTRAINTS)`);
        await session.run(
          `ALTER TABLE event_rows ATTACH PARTITION ${name} FOR VALUES FROM (${from}) TO (${to})`,
        );
      });
    } catch (cause) {
      const code = codeOf(cause);
      if (isPassing(cause) || !(EXISTS.test(code) || code === HAS_ROWS)) throw cause;
    }
  }
}

/** `event_rows_20260131`. */
function nameOf(day: number): string {
  return `event_rows_${boundOf(day).slice(0, 10).replaceAll("-", "")}`;
}

function dayOf(name: string): number {
  const [, year, month, date] = /(\d{4})(\d{2})(\d{2})$/.exec(name) ?? [];
  return Date.parse(`${year}-${month}-${date}`) / DAY_MS;
}

function boundOf(day: number): string {
  return new Date(day * DAY_MS).toISOString();
}

/** Adds the days (since 1970) of event times in µs. */
export function addDays(times: BigInt64Array, days: Set<number>): void {
  const dayUs = BigInt(DAY_US);
  let [from, to] = [0n, -1n];
  for (const time of times) {
    if (time >= from && time < to) continue;
    const day = Math.floor(Number(time) / DAY_US);
    days.add(day);
    from = BigInt(day) * dayUs;
    to = from + dayUs;
  }
}
