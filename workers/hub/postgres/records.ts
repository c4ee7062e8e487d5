import { MillraceError } from "../../errors.ts";
import type { HubRecord, RecordWrite } from "../records.ts";
import type { PostgresDatabase, Session } from "./connection.ts";

const COLUMNS = "SELECT kind, name, revision, body FROM records";
/** How a transaction that was overtaken ends. */
const OVERTAKEN = "E_OVERTAKEN";

/** As `HubRecords`, in a database that several hubs share. */
export class PostgresRecords {
  readonly #db: PostgresDatabase;

  constructor(db: PostgresDatabase) {
    this.#db = db;
  }

  async read(kind: string, name: string): Promise<HubRecord | null> {
    const [row] = await this.#db.rows<HubRecord>(`${COLUMNS} WHERE kind = $1 AND name = $2`, [kind, name]);
    return row ?? null;
  }

  list(kind: string): Promise<HubRecord[]> {
    return this.#db.rows<HubRecord>(`${COLUMNS} WHERE kind = $1 ORDER BY name`, [kind]);
  }

  /** All of them, or none: then one was written by another meanwhile. */
  async write(writes: readonly RecordWrite[]): Promise<boolean> {
    try {
      await this.#db.transaction(async (session) => {
        for (const each of writes)
          if ((await writeOne(session, each)) !== 1) throw new MillraceError(OVERTAKEN, "written by another");
      });
      return true;
    } catch (cause) {
      if (cause instanceof MillraceError && cause.code === OVERTAKEN) return false;
      throw cause;
    }
  }
}

function writeOne(session: Session, { kind, name, revision, body }: RecordWrite): Promise<number> {
  if (body === null)
    return session.run("DELETE FROM records WHERE kind = $1 AND name = $2 AND revision = $3", [
      kind,
      name,
      revision,
    ]);
  if (revision === 0)
    return session.run(
      "INSERT INTO records (kind, name, revision, body) VALUES ($1, $2, 1, $3) ON CONFLICT DO NOTHING",
      [kind, name, body],
    );
  return session.run(
    "UPDATE records SET revision = revision + 1, body = $4 WHERE kind = $1 AND name = $2 AND revision = $3",
    [kind, name, revision, body],
  );
}
