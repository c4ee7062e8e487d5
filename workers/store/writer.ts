import type {
  CommitOperation,
  CommitOutcome,
  LogEntry,
  SchemaField,
  StoredBlock,
} from "../messages.ts";
import { mergeSchemas } from "../schema.ts";
import type { Statement } from "better-sqlite3";
import type { Connection } from "./database.ts";

/** Dead letters kept; the oldest beyond them are given up, with a row in the loss ledger. */
const MAX_DEAD_LETTERS = 100_000;
/** How long a producer may resend under the same key. */
const IDEMPOTENCY_RETENTION_US = 7 * 86_400 * 1_000_000;
const CHECKPOINTS_KEPT = 2;

/** What the store knows of a stream. */
export interface StoredStream {
  readonly stream: string;
  readonly schemaVersion: number;
  readonly schema: readonly SchemaField[];
  readonly counts: {
    readonly accepted: number;
    readonly deadLettered: number;
    readonly late: number;
    readonly clockSkewed: number;
    readonly blocks: number;
    readonly storedBytes: number;
  };
}

interface StreamRow {
  id: number;
  schemaVersion: number;
  schema: readonly SchemaField[];
}

interface BlockRow {
  seq: number;
  stream: string;
  arrival_us: number;
  count: number;
  min_us: number;
  max_us: number;
  codec: "none" | "zstd";
  encoded_bytes: number;
  data: Buffer;
}

type Block = CommitOperation & { kind: "block" };

/** The one writer. Every statement is prepared once. */
export class Writer {
  readonly #db: Connection;
  readonly #streams = new Map<string, StreamRow>();
  readonly #sql: ReturnType<typeof prepare>;
  #nextSeq: number;
  #deadLetters: number;

  constructor(db: Connection) {
    this.#db = db;
    this.#sql = prepare(db);
    this.#nextSeq = (this.#sql.readSequence.get() as { next: number }).next;
    this.#deadLetters = (this.#sql.countDeadLetters.get() as { n: number }).n;
    this.#loadStreams();
  }

  /** The greatest seq given out, 0 at first. */
  get lastSeq(): number {
    return this.#nextSeq - 1;
  }

  /**
   * Writes the operations in one transaction with one fsync. An operation under a known idempotency key writes
   * nothing. @throws SqliteError when the transaction failed: then none of them was written.
   */
  commit(operations: readonly CommitOperation[], nowUs: number): CommitOutcome[] {
    const before = { seq: this.#nextSeq, deadLetters: this.#deadLetters };
    this.#sql.begin.run();
    try {
      const outcomes = operations.map((operation) => this.#write(operation, nowUs));
      if (this.#nextSeq !== before.seq) this.#sql.writeSequence.run(this.#nextSeq);
      this.#sql.commit.run();
      return outcomes;
    } catch (cause) {
      if (this.#db.inTransaction) this.#sql.rollback.run();
      this.#nextSeq = before.seq;
      this.#deadLetters = before.deadLetters;
      this.#loadStreams();
      throw cause;
    }
  }

  /** Entries of the log after a seq, in order, until their stored bytes reach `maxBytes`. */
  readLog(afterSeq: number, maxBytes: number): LogEntry[] {
    const entries: LogEntry[] = [];
    let bytes = 0;
    let last = afterSeq;
    for (const row of this.#sql.logBlocks.iterate(afterSeq) as IterableIterator<BlockRow>) {
      entries.push({
        kind: "block",
        seq: row.seq,
        stream: row.stream,
        arrivalUs: row.arrival_us,
        block: storedBlock(row),
      });
      bytes += row.data.length;
      last = row.seq;
      if (bytes >= maxBytes) break;
    }
    const upTo = bytes >= maxBytes ? last : Number.MAX_SAFE_INTEGER;
    const marks = this.#sql.logWatermarks.all(afterSeq, upTo) as { seq: number; stream: string; t: number | null }[];
    for (const { seq, stream, t } of marks) entries.push({ kind: "watermark", seq, stream, timeUs: t ?? "end" });
    return entries.sort((a, b) => a.seq - b.seq);
  }

  checkpoint(): { readonly seq: number; readonly state: Uint8Array<ArrayBuffer> } | null {
    const row = this.#sql.lastCheckpoint.get() as { seq: number; state: Buffer } | undefined;
    return row === undefined ? null : { seq: row.seq, state: new Uint8Array(row.state) };
  }

  streams(): StoredStream[] {
    return this.#sql.describeStreams.all().map((row) => {
      const { name, v, schema, accepted, dead_lettered, late, clock_skewed, blocks, bytes } = row as {
        name: string;
        v: number;
        schema: string;
        accepted: number;
        dead_lettered: number;
        late: number;
        clock_skewed: number;
        blocks: number;
        bytes: number;
      };
      const counts = {
        accepted,
        deadLettered: dead_lettered,
        late,
        clockSkewed: clock_skewed,
        blocks,
        storedBytes: bytes,
      };
      return { stream: name, schemaVersion: v, schema: JSON.parse(schema) as SchemaField[], counts };
    });
  }

  /** Runs of small blocks of one stream, each worth merging, up to `upToSeq`. */
  listSmall(upToSeq: number, targetBytes: number, maxGroups: number): SmallBlocks[] {
    const groups: SmallBlocks[] = [];
    for (const [stream, { id }] of this.#streams) {
      const small = this.#sql.smallBlocks.all(id, upToSeq, targetBytes / 2) as { seq: number; bytes: number }[];
      let seqs: number[] = [];
      let bytes = 0;
      for (const row of small) {
        seqs.push(row.seq);
        bytes += row.bytes;
        if (bytes < targetBytes && seqs.length < MAX_MERGED_BLOCKS) continue;
        groups.push(this.#readSmall(stream, seqs));
        if (groups.length === maxGroups) return groups;
        seqs = [];
        bytes = 0;
      }
      if (seqs.length >= MIN_MERGED_BLOCKS) groups.push(this.#readSmall(stream, seqs));
      if (groups.length >= maxGroups) return groups;
    }
    return groups;
  }

  /** Puts one block in the place of several, in one transaction. It takes the first one's seq. */
  swap(seqs: readonly number[], into: StoredBlock): void {
    const first = seqs[0];
    if (first === undefined) return;
    const keep = this.#sql.blockOrigin.get(first) as { stream_id: number; arrival_us: number } | undefined;
    if (keep === undefined) return;
    this.#db.transaction(() => {
      for (const seq of seqs) this.#sql.deleteBlock.run(seq);
      this.#insertBlock(first, keep.stream_id, keep.arrival_us, into);
    })();
  }

  #readSmall(stream: string, seqs: readonly number[]): SmallBlocks {
    const blocks = seqs.map((seq) => storedBlock(this.#sql.readBlock.get(seq) as BlockRow));
    return { stream, seqs, blocks };
  }

  #loadStreams(): void {
    this.#streams.clear();
    for (const row of this.#sql.allStreams.all() as { id: number; name: string; v: number; schema: string }[]) {
      const schema = JSON.parse(row.schema) as SchemaField[];
      this.#streams.set(row.name, { id: row.id, schemaVersion: row.v, schema });
    }
  }

  #write(operation: CommitOperation, nowUs: number): CommitOutcome {
    switch (operation.kind) {
      case "block":
        return this.#writeBlock(operation, nowUs);
      case "watermark": {
        const seq = this.#nextSeq++;
        const time = operation.timeUs === "end" ? null : operation.timeUs;
        this.#sql.insertWatermark.run(seq, this.#stream(operation.stream).id, time);
        return { kind: "committed", seq };
      }
      case "results":
        for (const row of operation.rows) {
          const { query, startUs, endUs, key, revision, kind, values } = row;
          this.#sql.upsertResult.run(query, startUs, endUs, key, revision, kind, values);
        }
        return { kind: "committed", seq: this.lastSeq };
      case "late":
        return this.#writeLate(operation.stream, operation.sourceSeq, "late", operation.block, operation.atUs);
      case "checkpoint":
        this.#sql.insertCheckpoint.run(operation.seq, nowUs, operation.state);
        this.#sql.dropCheckpoints.run(CHECKPOINTS_KEPT);
        this.#sql.dropWatermarks.run();
        this.#sql.dropKeys.run(nowUs - IDEMPOTENCY_RETENTION_US);
        return { kind: "committed", seq: operation.seq };
    }
  }

  #writeBlock(operation: Block, nowUs: number): CommitOutcome {
    const stream = this.#stream(operation.stream);
    const { idempotencyKey, accepted, deadLetters, block, skewed } = operation;
    if (idempotencyKey !== null) {
      const written = this.#sql.insertKey.run(stream.id, idempotencyKey, nowUs, accepted, deadLetters.length);
      if (written.changes === 0) {
        const first = this.#sql.readKey.get(stream.id, idempotencyKey) as { accepted: number; dead_lettered: number };
        return { kind: "duplicate", accepted: first.accepted, deadLettered: first.dead_lettered };
      }
    }
    const seq = this.#nextSeq++;
    if (block !== null) {
      this.#insertBlock(seq, stream.id, operation.arrivalUs, block);
      this.#widen(stream, block.schema, seq);
    }
    for (const { line, path, code, message, text } of deadLetters) {
      this.#sql.insertDeadLetter.run(stream.id, operation.arrivalUs, line, path, code, message, text);
    }
    this.#deadLetters += deadLetters.length;
    if (this.#deadLetters > MAX_DEAD_LETTERS) this.#giveUpDeadLetters(nowUs);
    if (skewed !== null) {
      this.#writeLate(operation.stream, seq, "clock-skew", skewed, operation.arrivalUs);
    }
    this.#sql.countBlock.run(accepted, deadLetters.length, stream.id);
    return { kind: "committed", seq };
  }

  #insertBlock(seq: number, streamId: number, arrivalUs: number, block: StoredBlock): void {
    const { count, minUs, maxUs, codec, encodedBytes, data } = block;
    this.#sql.insertBlock.run(seq, streamId, arrivalUs, count, minUs, maxUs, codec, encodedBytes, data.length, data);
  }

  /** Writing the same source again, as a replay does, changes and counts nothing. */
  #writeLate(
    name: string,
    sourceSeq: number,
    reason: "late" | "clock-skew",
    block: StoredBlock,
    atUs: number,
  ): CommitOutcome {
    const stream = this.#stream(name);
    const { count, codec, encodedBytes, data } = block;
    const written = this.#sql.insertLate.run(sourceSeq, reason, stream.id, atUs, count, codec, encodedBytes, data);
    if (written.changes === 0) return { kind: "duplicate", accepted: count, deadLettered: 0 };
    if (reason === "late") this.#sql.countLate.run(count, stream.id);
    else this.#sql.countSkewed.run(count, stream.id);
    return { kind: "committed", seq: sourceSeq };
  }

  #giveUpDeadLetters(nowUs: number): void {
    const excess = this.#deadLetters - MAX_DEAD_LETTERS;
    const given = this.#sql.sumDeadLetters.all(excess) as {
      stream_id: number;
      a: number;
      b: number;
      n: number;
      bytes: number;
    }[];
    for (const { stream_id, a, b, n, bytes } of given) {
      this.#sql.insertLoss.run(stream_id, a, b, n, bytes, "given-up", nowUs);
    }
    this.#sql.dropDeadLetters.run(excess);
    this.#deadLetters -= excess;
  }

  #stream(name: string): StreamRow {
    const known = this.#streams.get(name);
    if (known !== undefined) return known;
    const id = Number(this.#sql.insertStream.run(name).lastInsertRowid);
    const stream = { id, schemaVersion: 0, schema: [] };
    this.#streams.set(name, stream);
    return stream;
  }

  #widen(stream: StreamRow, fields: readonly SchemaField[], seq: number): void {
    const widened = mergeSchemas(stream.schema, fields);
    if (widened === stream.schema) return;
    stream.schema = widened;
    stream.schemaVersion++;
    const text = JSON.stringify(widened);
    this.#sql.insertSchema.run(stream.id, stream.schemaVersion, text, seq);
    this.#sql.updateSchema.run(stream.schemaVersion, text, stream.id);
  }
}

/** Blocks worth merging, with their bytes. */
export interface SmallBlocks {
  readonly stream: string;
  readonly seqs: readonly number[];
  readonly blocks: readonly StoredBlock[];
}

const MAX_MERGED_BLOCKS = 256;
/** A shorter run waits until it has grown. */
const MIN_MERGED_BLOCKS = 16;

/** A block as the row holds it; its schema stands in its own header. */
export function storedBlock(row: Omit<BlockRow, "seq" | "stream" | "arrival_us">): StoredBlock {
  return {
    data: new Uint8Array(row.data),
    codec: row.codec,
    encodedBytes: row.encoded_bytes,
    count: row.count,
    minUs: row.min_us,
    maxUs: row.max_us,
    schema: [],
  };
}

function prepare(db: Connection) {
  const BLOCK_COLUMNS = "count, min_us, max_us, codec, encoded_bytes, data";
  const sql = {
    begin: "BEGIN IMMEDIATE",
    commit: "COMMIT",
    rollback: "ROLLBACK",
    readSequence: "SELECT next FROM sequence",
    writeSequence: "UPDATE sequence SET next = ?",
    allStreams: "SELECT id, name, schema_version AS v, schema FROM streams",
    insertStream: "INSERT INTO streams (name) VALUES (?)",
    insertSchema: "INSERT INTO schemas VALUES (?, ?, ?, ?)",
    updateSchema: "UPDATE streams SET schema_version = ?, schema = ? WHERE id = ?",
    countBlock: "UPDATE streams SET accepted = accepted + ?, dead_lettered = dead_lettered + ? WHERE id = ?",
    countLate: "UPDATE streams SET late = late + ? WHERE id = ?",
    countSkewed: "UPDATE streams SET clock_skewed = clock_skewed + ? WHERE id = ?",
    insertBlock:
      "INSERT INTO blocks (seq, stream_id, arrival_us, count, min_us, max_us, codec, encoded_bytes, stored_bytes, data)" +
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    insertWatermark: "INSERT INTO watermarks VALUES (?, ?, ?)",
    insertKey: "INSERT INTO idempotency VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    readKey: "SELECT accepted, dead_lettered FROM idempotency WHERE stream_id = ? AND key = ?",
    dropKeys: "DELETE FROM idempotency WHERE at_us < ?",
    insertDeadLetter:
      "INSERT INTO dead_letters (stream_id, at_us, line, path, code, message, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
    countDeadLetters: "SELECT count(*) AS n FROM dead_letters",
    sumDeadLetters:
      "SELECT stream_id, min(at_us) AS a, max(at_us) AS b, count(*) AS n, sum(length(text)) AS bytes FROM" +
      " (SELECT * FROM dead_letters ORDER BY id LIMIT ?) GROUP BY stream_id",
    dropDeadLetters:
      "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY id LIMIT ?)",
    insertLoss:
      "INSERT INTO losses (stream_id, from_us, to_us, count, bytes, reason, at_us) VALUES (?, ?, ?, ?, ?, ?, ?)",
    upsertResult:
      "INSERT INTO results (query, start_us, end_us, key, revision, kind, value) VALUES (?, ?, ?, ?, ?, ?, ?)" +
      " ON CONFLICT DO UPDATE SET kind = excluded.kind, value = excluded.value",
    insertLate: "INSERT INTO late VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
    insertCheckpoint: "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?)",
    dropCheckpoints:
      "DELETE FROM checkpoints WHERE seq NOT IN (SELECT seq FROM checkpoints ORDER BY seq DESC LIMIT ?)",
    // A replay starts at the oldest checkpoint kept, so older marks are never read again.
    dropWatermarks: "DELETE FROM watermarks WHERE seq <= (SELECT min(seq) FROM checkpoints)",
    lastCheckpoint: "SELECT seq, state FROM checkpoints ORDER BY seq DESC LIMIT 1",
    logBlocks:
      `SELECT seq, s.name AS stream, arrival_us, ${BLOCK_COLUMNS} FROM blocks b JOIN streams s ON s.id = b.stream_id` +
      " WHERE seq > ? ORDER BY seq",
    logWatermarks:
      "SELECT seq, s.name AS stream, time_us AS t FROM watermarks w JOIN streams s ON s.id = w.stream_id" +
      " WHERE seq > ? AND seq <= ? ORDER BY seq",
    describeStreams:
      "SELECT name, schema_version AS v, schema, accepted, dead_lettered, late, clock_skewed," +
      " (SELECT count(*) FROM blocks WHERE stream_id = s.id) AS blocks," +
      " (SELECT coalesce(sum(stored_bytes), 0) FROM blocks WHERE stream_id = s.id) AS bytes FROM streams s",
    smallBlocks:
      "SELECT seq, stored_bytes AS bytes FROM blocks WHERE stream_id = ? AND seq <= ? AND stored_bytes < ? ORDER BY seq",
    readBlock: `SELECT seq, ${BLOCK_COLUMNS} FROM blocks WHERE seq = ?`,
    blockOrigin: "SELECT stream_id, arrival_us FROM blocks WHERE seq = ?",
    deleteBlock: "DELETE FROM blocks WHERE seq = ?",
  } as const;
  type Name = keyof typeof sql;
  const entries = (Object.keys(sql) as Name[]).map((name) => [name, db.prepare(sql[name])] as const);
  return Object.fromEntries(entries) as Record<Name, Statement<unknown[]>>;
}
