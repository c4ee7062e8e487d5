import { readHeader } from "../../core/codec.ts";
import { MillraceError } from "../../errors.ts";
import type { SchemaField } from "../../messages.ts";
import { mergeSchemas } from "../../schema.ts";
import { blockPlace, latePlace, schemaPlace, timeSourcesPlace } from "../../seal/places.ts";
import { NO_SEAL, type Seal, type Stored } from "../../seal/seal.ts";
import type { BlockFault, BlockInspector } from "../block-inspector.ts";
import { type BlockRow, storedBlock } from "../block-row.ts";
import { HAS_LOST_STATE, RESTORE_STATES } from "../block-states.ts";
import { CheckpointStore } from "../checkpoint-store.ts";
import { type BlockPlace, CorruptBlocks } from "../corrupt-blocks.ts";
import type { Connection } from "../database.ts";
import { checkBalance, type LossKind, recordLoss, type StreamLedger } from "../ledger.ts";
import { NEXT_SEQ } from "../next-seq.ts";
import { prepareStatements } from "../statements.ts";

/** Something that is not as it should be. */
export interface Finding {
  readonly check:
    | "keys"
    | "streams"
    | "blocks"
    | "late"
    | "states"
    | "checkpoints"
    | "counters"
    | "ledger"
    | "references";
  readonly message: string;
  readonly isRepaired: boolean;
}

export interface Examination {
  readonly findings: readonly Finding[];
  /** Looked at. */
  readonly blocks: number;
  readonly events: number;
  readonly checkpoints: number;
}

export interface ExamineOptions {
  readonly inspector: BlockInspector;
  /** null: it is encrypted and there is no key. What is sealed is not looked at. */
  readonly seal: Seal | null;
  /** `repair` puts right what can be, and says so; `look` changes nothing. */
  readonly mode: "look" | "repair";
  readonly nowUs: number;
  readonly onProgress?: (done: number, total: number) => void;
}

const STATES = ["pending", "syncing", "synced"];
const PROGRESS_EVERY = 64;
const BLOCK = "count, min_us, max_us, codec, encoded_bytes, data";

/** A place of a sink from here on is damage: no log has come so far, and numbers are no longer exact soon after. */
const BEYOND_SEQS = 2 ** 52;

/** Looks at every row that other rows or counts depend on. The database must have this release's schema. */
export function examine(db: Connection, options: ExamineOptions): Examination {
  return new Examiner(db, options).run();
}

class Examiner {
  readonly #db: Connection;
  readonly #options: ExamineOptions;
  readonly #seal: Seal;
  readonly #findings: Finding[] = [];
  /** Streams whose row was lost and made anew. */
  readonly #recovered = new Set<number>();
  #blocks = 0;
  #events = 0;
  #done = 0;
  #total = 0;

  constructor(db: Connection, options: ExamineOptions) {
    this.#db = db;
    this.#options = options;
    this.#seal = options.seal ?? NO_SEAL;
  }

  run(): Examination {
    this.#total = this.#number("SELECT (SELECT count(*) FROM blocks) + (SELECT count(*) FROM late)");
    if (this.#options.mode === "repair") this.#seal.prepare();
    this.#orphans();
    if (this.#options.seal !== null) {
      this.#schemas();
      this.#inspect("log");
      this.#inspect("late");
    }
    this.#states();
    const checkpoints = this.#checkpoints();
    this.#counters();
    this.#references();
    this.#ledger();
    return { findings: this.#findings, blocks: this.#blocks, events: this.#events, checkpoints };
  }

  /** Every block names a stream that is there. */
  #orphans(): void {
    const orphans = this.#db
      .prepare(
        "SELECT stream_id AS id, min(seq) AS seq, count(*) AS blocks FROM blocks WHERE stream_id NOT IN (SELECT id FROM streams) GROUP BY 1",
      )
      .all() as { id: number; seq: number; blocks: number }[];
    for (const { id, blocks } of orphans) {
      const known = this.#nameInBlocks(id);
      const isFree =
        known !== null && this.#number("SELECT count(*) FROM streams WHERE name = ?", known) === 0;
      const name = isFree ? known : `recovered-${id}`;
      this.#report("streams", `${blocks} blocks are of stream ${name}, whose row is lost`, () =>
        this.#db.prepare("INSERT INTO streams (id, name) VALUES (?, ?)").run(id, name),
      );
      this.#recovered.add(id);
    }
  }

  /** What is known of every stream's fields can be read. */
  #schemas(): void {
    type Row = { id: number; name: string; version: number; schema: Stored; timeSources: Stored };
    const rows = this.#db
      .prepare("SELECT id, name, schema_version AS version, schema, time_sources AS timeSources FROM streams")
      .all() as Row[];
    for (const { id, name, version: known, schema, timeSources } of rows) {
      const hasTimes = this.#isArray(timeSourcesPlace(id), timeSources);
      if (this.#isArray(schemaPlace(id, known), schema) && hasTimes && !this.#recovered.has(id)) continue;
      this.#report("streams", `what is known of the fields of stream ${name} is damaged`, () => {
        const version = this.#number(
          "SELECT coalesce(max(version), 0) + 1 FROM schemas WHERE stream_id = ?",
          id,
        );
        const fields = this.#seal.text(schemaPlace(id, version), JSON.stringify(this.#schemaInBlocks(id)));
        const sources = hasTimes ? timeSources : "[]";
        this.#db
          .prepare("UPDATE streams SET schema = ?, schema_version = ?, time_sources = ? WHERE id = ?")
          .run(fields, version, sources, id);
        this.#db
          .prepare("INSERT INTO schemas (stream_id, version, fields, since_seq) VALUES (?, ?, ?, 0)")
          .run(id, version, fields);
      });
    }
    const versions = this.#db.prepare("SELECT stream_id AS id, version, fields FROM schemas").all();
    for (const { id, version, fields } of versions as { id: number; version: number; fields: Stored }[]) {
      if (this.#isArray(schemaPlace(id, version), fields)) continue;
      this.#report("streams", `version ${version} of the fields of stream number ${id} is damaged`, () =>
        this.#db.prepare("DELETE FROM schemas WHERE stream_id = ? AND version = ?").run(id, version),
      );
    }
  }

  #inspect(place: BlockPlace): void {
    const table = place === "log" ? "blocks" : "late";
    const own =
      place === "log"
        ? "seq AS id, seq, '' AS reason, 0 AS isTimeless, min_us"
        : "b.id, source_seq AS seq, reason, max_us IS NULL AS isTimeless, coalesce(min_us, 0) AS min_us";
    const id = place === "log" ? "b.seq" : "b.id";
    const next = this.#db.prepare(
      `SELECT ${own}, b.stream_id AS streamId, s.name AS stream, count, coalesce(max_us, 0) AS max_us, codec, encoded_bytes, data FROM ${table} b` +
        ` LEFT JOIN streams s ON s.id = b.stream_id WHERE ${id} > ? ORDER BY ${id} LIMIT 1`,
    );
    type Row = BlockRow & { id: number; streamId: number; seq: number; reason: string } & Named;
    let row = next.get(0) as Row | undefined;
    for (; row !== undefined; row = next.get(row.id) as Row | undefined) {
      if (++this.#done % PROGRESS_EVERY === 0) this.#options.onProgress?.(this.#done, this.#total);
      const { stream, streamId, reason, seq: at, count } = row;
      const sealedAs = place === "log" ? blockPlace(streamId, at) : latePlace(streamId, at, reason);
      const fault = this.#faultOf(row, sealedAs);
      if (place === "log") {
        this.#blocks++;
        this.#events += count;
      }
      if (fault === null) continue;
      const what = place === "log" ? "block" : "late block";
      this.#report(
        place === "log" ? "blocks" : "late",
        `${what} ${at} of stream ${stream ?? "?"} (${count} events): ${fault.message} (${fault.code})`,
        () => {
          const blocks = new CorruptBlocks(this.#db, prepareStatements(this.#db, this.#seal));
          blocks.setAside(place, [at], () => fault, this.#options.nowUs);
        },
      );
    }
    this.#options.onProgress?.(this.#done, this.#total);
  }

  #faultOf(row: BlockRow & Named, place: string): BlockFault | null {
    const block = storedBlock(row, this.#seal, place);
    // Releases before kept no times of late blocks.
    if (row.isTimeless !== 0) return null;
    return this.#options.inspector.inspect(block, row.stream ?? "");
  }

  #states(): void {
    const lost = "state NOT IN ('syncing', 'synced') OR seq NOT IN (SELECT seq FROM blocks)";
    const strays = this.#number(`SELECT count(*) FROM block_states WHERE ${lost}`);
    if (strays > 0)
      this.#report("states", `${strays} states are none that there is, or of no block`, () =>
        this.#db.prepare(`DELETE FROM block_states WHERE ${lost}`).run(),
      );
    const forgotten = this.#number(`SELECT count(*) FROM blocks WHERE ${HAS_LOST_STATE}`);
    if (forgotten > 0)
      this.#report("states", `the state of ${forgotten} blocks that sync has claimed is lost`, () =>
        this.#db.exec(RESTORE_STATES),
      );
    const marks = STATES.map(() => "?").join(", ");
    const unknown = this.#number(`SELECT count(*) FROM blocks WHERE state NOT IN (${marks})`, ...STATES);
    if (unknown === 0) return;
    this.#report("states", `${unknown} blocks are in a state that there is not`, () =>
      this.#db.prepare(`UPDATE blocks SET state = 'pending' WHERE state NOT IN (${marks})`).run(...STATES),
    );
  }

  #checkpoints(): number {
    const lastSeq = this.#number(`SELECT ${NEXT_SEQ} - 1`);
    const checkpoints = new CheckpointStore(this.#db, this.#seal);
    const damaged = checkpoints.findDamaged();
    const seqs = this.#db.prepare("SELECT seq FROM checkpoints ORDER BY seq").pluck().all() as number[];
    for (const seq of seqs) {
      if (seq <= lastSeq && !damaged.includes(seq)) continue;
      const why = damaged.includes(seq) ? "is damaged" : `is of a seq behind the end of the log, ${lastSeq}`;
      this.#report("checkpoints", `the checkpoint at ${seq} ${why}`, () =>
        seq > lastSeq
          ? this.#db.prepare("DELETE FROM checkpoints WHERE seq = ?").run(seq)
          : checkpoints.giveUp(seq),
      );
    }
    return seqs.length;
  }

  #counters(): void {
    const greatest = this.#number(
      "SELECT max((SELECT coalesce(max(seq), 0) FROM blocks), (SELECT coalesce(max(seq), 0) FROM watermarks)," +
        " (SELECT coalesce(max(seq), 0) FROM ticks), (SELECT coalesce(max(seq), 0) FROM configs)," +
        " (SELECT coalesce(max(source_seq), 0) FROM late)," +
        // What was sent and evicted is known by this alone; a seq that comes before it no sink would ever be given.
        " (SELECT coalesce(max(after_id), 0) FROM sync_positions WHERE flow LIKE 'stream %'" +
        `  AND typeof(after_id) = 'integer' AND after_id < ${BEYOND_SEQS}),` +
        " (SELECT coalesce(max(seq), 0) FROM corrupt_blocks WHERE place = 'log'))",
    );
    const deadLetters = this.#number("SELECT count(*) FROM dead_letters");
    const keys = this.#number("SELECT count(*) FROM idempotency");
    const row = this.#db
      .prepare(
        `SELECT ${NEXT_SEQ} AS nextSeq, dead_letters AS deadLetters, idempotency_keys AS keys FROM counters`,
      )
      .get() as { nextSeq: number; deadLetters: number; keys: number } | undefined;
    const isNext = row !== undefined && Number.isSafeInteger(row.nextSeq) && row.nextSeq > greatest;
    if (isNext && row.deadLetters === deadLetters && row.keys === keys) return;
    const stated =
      row === undefined
        ? "are not there"
        : `say next seq ${row.nextSeq}, ${row.deadLetters} dead letters, ${row.keys} keys`;
    const found = `there are seqs up to ${greatest}, ${deadLetters} dead letters, ${keys} keys`;
    this.#report("counters", `the counters ${stated}; ${found}`, () =>
      this.#db
        .prepare(
          "INSERT OR REPLACE INTO counters (id, next_seq, dead_letters, idempotency_keys) VALUES (1, ?, ?, ?)",
        )
        .run(isNext ? row.nextSeq : greatest + 1, deadLetters, keys),
    );
  }

  /** Every counter is what the tables hold, and `accepted` is the sum of what became of its events. */
  #ledger(): void {
    for (const { stream, counter, counted, found } of checkBalance(this.#db)) {
      const message = `stream ${stream}: ${counter} is counted as ${counted}, and the tables say ${found}`;
      this.#report("ledger", message, () => this.#settle(stream, counter, counted - found));
    }
    if (this.#options.mode === "look") return;
    // What was put right above may have moved the sum.
    for (const { stream, counter, counted, found } of checkBalance(this.#db))
      this.#settle(stream, counter, counted - found);
  }

  /** `excess`: by how much the counter is above what the tables hold. What is missing was lost to damage. */
  #settle(stream: string, counter: keyof StreamLedger, excess: number): void {
    type Row = { streamId: number; fromUs: number | null; toUs: number | null };
    const { streamId, fromUs, toUs } = this.#db
      .prepare(
        "SELECT id AS streamId, (SELECT min(min_us) FROM blocks WHERE stream_id = s.id) AS fromUs," +
          " (SELECT max(max_us) FROM blocks WHERE stream_id = s.id) AS toUs FROM streams s WHERE name = ?",
      )
      .get(stream) as Row;
    const add = (column: string, count: number): void => {
      this.#db.prepare(`UPDATE streams SET ${column} = ${column} + ? WHERE id = ?`).run(count, streamId);
    };
    const lose = (kind: LossKind): void => {
      const { nowUs: atUs } = this.#options;
      // Their times are not known: somewhere within those of the stream, or before now.
      const range = { fromUs: fromUs ?? 0, toUs: toUs ?? atUs };
      const loss = { streamId, ...range, count: excess, bytes: 0, reason: "corrupt", kind, atUs } as const;
      recordLoss(prepareStatements(this.#db), loss);
    };
    const loseOrAdd = (kind: LossKind, column: string): void => {
      if (excess > 0) lose(kind);
      else add(column, -excess);
    };
    switch (counter) {
      case "accepted":
        if (excess > 0) add("held", excess);
        loseOrAdd("events", "accepted");
        break;
      case "held":
        loseOrAdd("events", "held");
        break;
      case "late":
        loseOrAdd("late", "late");
        break;
      case "deadLettered":
        loseOrAdd("dead-letters", "dead_lettered");
        break;
      case "givenUp":
        add("given_up", -excess);
        break;
      case "downsampled":
      case "expired":
      case "corrupt":
        add(counter, -excess);
        break;
      default:
        throw new MillraceError("E_BALANCE", `the books of ${stream} do not balance in ${counter}`);
    }
  }

  /** Rows that belong to rows that are not there. */
  #references(): void {
    const rows = this.#db.pragma("foreign_key_check") as { table: string; rowid: number | null }[];
    for (const [table, of] of Map.groupBy(rows, (row) => row.table)) {
      this.#report("references", `${of.length} rows of ${table} belong to rows that are not there`, () => {
        const rowids = of.flatMap(({ rowid }) => (rowid === null ? [] : [rowid]));
        const drop = this.#db.prepare(
          rowids.length > 0
            ? `DELETE FROM ${table} WHERE rowid = ?`
            : `DELETE FROM ${table} WHERE stream_id NOT IN (SELECT id FROM streams)`,
        );
        if (rowids.length > 0) for (const rowid of rowids) drop.run(rowid);
        else drop.run();
      });
    }
  }

  #nameInBlocks(streamId: number): string | null {
    for (const bytes of this.#encodedBlocks(streamId)) {
      try {
        return readHeader(bytes).stream;
      } catch {
        // The next may tell.
      }
    }
    return null;
  }

  #schemaInBlocks(streamId: number): readonly SchemaField[] {
    let schema: readonly SchemaField[] = [];
    for (const bytes of this.#encodedBlocks(streamId)) {
      try {
        schema = mergeSchemas(schema, readHeader(bytes).schema);
      } catch {
        // A damaged block tells nothing; it is found when blocks are looked at.
      }
    }
    return schema;
  }

  *#encodedBlocks(streamId: number): Generator<Uint8Array> {
    if (this.#options.seal === null) return;
    const rows = this.#db.prepare(`SELECT seq, ${BLOCK} FROM blocks WHERE stream_id = ?`).iterate(streamId);
    for (const row of rows as IterableIterator<BlockRow & { readonly seq: number }>) {
      try {
        yield this.#options.inspector.encoded(storedBlock(row, this.#seal, blockPlace(streamId, row.seq)));
      } catch {
        // Damaged.
      }
    }
  }

  #isArray(place: string, stored: Stored): boolean {
    try {
      // As a stream begins: in the plain.
      return Array.isArray(JSON.parse(stored === "[]" ? stored : this.#seal.openText(place, stored)));
    } catch {
      return false;
    }
  }

  #report(check: Finding["check"], message: string, repair: () => unknown): void {
    const isRepaired = this.#options.mode === "repair";
    if (isRepaired) repair();
    this.#findings.push({ check, message, isRepaired });
  }

  #number(sql: string, ...values: readonly unknown[]): number {
    return this.#db
      .prepare(sql)
      .pluck()
      .get(...values) as number;
  }
}

interface Named {
  readonly stream: string | null;
  readonly isTimeless: number;
}
