import type { StoredBlock } from "../messages.ts";
import { isEnvelope } from "../seal/envelope.ts";
import { blockPlace, corruptPlace, latePlace } from "../seal/places.ts";
import type { Seal } from "../seal/seal.ts";
import type { BlockFault } from "./block-inspector.ts";
import { type BlockRow, storedBlock } from "./block-row.ts";
import type { Connection } from "./database.ts";
import { recordLoss } from "./ledger.ts";
import type { Statements } from "./statements.ts";
import type { StreamTable } from "./stream-table.ts";

/** Where a block stood: in the log, under its seq, or in the late side output, under the seq that its events came with. */
export type BlockPlace = "log" | "late";

/** A block that was set aside, and why. */
export interface SetAsideBlock extends BlockFault {
  readonly place: BlockPlace;
  readonly seq: number;
  readonly stream: string;
  /** Events it was said to hold. */
  readonly count: number;
}

/** Looks at a block: null when it is sound. */
export type Inspect = (block: StoredBlock, stream: string) => BlockFault | null;

/** Bytes of damaged blocks that are kept for a look at them; of the oldest beyond them only the row stays. */
const KEPT_BYTES = 64 * 1024 * 1024;
/** Rows kept; what they tell of stands in the loss ledger for good. */
const KEPT_ROWS = 10_000;

const BLOCK = "count, min_us, max_us, codec, encoded_bytes, data";
const SOURCES = {
  log: `SELECT seq AS id, seq, '' AS reason, resolution_us AS resolutionUs, b.stream_id AS streamId, s.name AS stream, arrival_us AS arrivalUs, stored_bytes AS storedBytes, ${BLOCK} FROM blocks b LEFT JOIN streams s ON s.id = b.stream_id WHERE seq = ?`,
  late: `SELECT l.id, source_seq AS seq, reason, 0 AS resolutionUs, l.stream_id AS streamId, s.name AS stream, at_us AS arrivalUs, 0 AS storedBytes, count, coalesce(min_us, at_us) AS min_us, coalesce(max_us, at_us) AS max_us, codec, encoded_bytes, data FROM late l LEFT JOIN streams s ON s.id = l.stream_id WHERE source_seq = ?`,
} as const;
const DELETE = { log: "DELETE FROM blocks WHERE seq = ?", late: "DELETE FROM late WHERE id = ?" } as const;

const INSERT =
  "INSERT OR REPLACE INTO corrupt_blocks (place, seq, stream_id, arrival_us, count, min_us, max_us, codec, encoded_bytes," +
  " stored_bytes, data, code, message, at_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
const KEPT =
  "SELECT place, seq, length(data) AS bytes FROM corrupt_blocks WHERE length(data) > 0 ORDER BY at_us DESC, seq DESC";
const EMPTY = "UPDATE corrupt_blocks SET data = x'' WHERE place = ? AND seq = ?";
const FORGET =
  "DELETE FROM corrupt_blocks WHERE rowid NOT IN" +
  ` (SELECT rowid FROM corrupt_blocks ORDER BY at_us DESC, seq DESC LIMIT ${KEPT_ROWS})`;

interface SourceRow extends BlockRow {
  readonly id: number;
  readonly seq: number;
  /** Of late events. */
  readonly reason: string;
  /** Above 0: of aggregates. */
  readonly resolutionUs: number;
  readonly streamId: number;
  readonly stream: string | null;
  readonly arrivalUs: number;
  readonly storedBytes: number;
}

/**
 * Sets damaged blocks aside: out of the log, so that nobody stumbles over them again, with their bytes kept for a while,
 * and a row in the loss ledger, all in one transaction.
 */
export class CorruptBlocks {
  readonly #db: Connection;
  readonly #sql: Statements;
  /** Hears what became of the blocks of the log; null: nobody shows them. */
  readonly #streams: StreamTable | null;

  constructor(db: Connection, sql: Statements, streams: StreamTable | null = null) {
    this.#db = db;
    this.#streams = streams;
    this.#sql = sql;
  }

  /** Those of the blocks that are there and damaged; sound ones stay where they are. */
  setAside(place: BlockPlace, seqs: readonly number[], inspect: Inspect, nowUs: number): SetAsideBlock[] {
    const read = this.#db.prepare(SOURCES[place]);
    const found = seqs.flatMap((seq) =>
      (read.all(seq) as SourceRow[]).flatMap((row) => {
        const stream = row.stream ?? `number ${row.streamId}`;
        const fault = inspect(storedBlock(row, this.#sql.seal, placeOf(place, row)), stream);
        return fault === null ? [] : [{ place, seq, row, stream, fault }];
      }),
    );
    if (found.length === 0) return [];
    this.#sql.seal.prepare();
    this.#db
      .transaction(() => {
        for (const { row, fault } of found) this.#move(place, row, fault, nowUs);
        this.#bound();
      })
      .immediate();
    if (place === "log")
      for (const { row } of found) this.#streams?.countRemoved(row.streamId, 1, row.storedBytes);
    return found.map(({ seq, stream, row, fault }) => ({ place, seq, stream, count: row.count, ...fault }));
  }

  #move(place: BlockPlace, row: SourceRow, { code, message }: BlockFault, atUs: number): void {
    const { id, streamId, arrivalUs, count, min_us: fromUs, max_us: toUs, codec, encoded_bytes, data } = row;
    this.#db.prepare(DELETE[place]).run(id);
    const bytes = data.length;
    const head = [place, id, streamId, arrivalUs, count, fromUs, toUs, codec, encoded_bytes, bytes];
    this.#db
      .prepare(INSERT)
      .run(...head, sealed(this.#sql.seal, corruptPlace(place, id), data), code, message, atUs);
    const kind = place === "late" ? "late" : row.resolutionUs > 0 ? "aggregates" : "events";
    // Events that became aggregates were counted then.
    const lost = kind === "aggregates" ? 0 : count;
    const loss = { streamId, fromUs, toUs, count: lost, bytes, reason: "corrupt", kind, atUs } as const;
    recordLoss(this.#sql, loss);
  }

  /** Keeps what is kept of damaged blocks within its bounds. */
  #bound(): void {
    let bytes = 0;
    for (const kept of this.#db.prepare(KEPT).all() as { place: string; seq: number; bytes: number }[]) {
      bytes += kept.bytes;
      if (bytes > KEPT_BYTES) this.#db.prepare(EMPTY).run(kept.place, kept.seq);
    }
    this.#db.prepare(FORGET).run();
  }
}

/** Seals what was kept of damaged blocks before there was a key. */
export function sealCorruptBlocks(db: Connection, seal: Seal): void {
  const keep = db.prepare("UPDATE corrupt_blocks SET data = ? WHERE place = ? AND seq = ?");
  const rows = db.prepare("SELECT place, seq FROM corrupt_blocks WHERE length(data) > 0").all();
  const read = db.prepare("SELECT data FROM corrupt_blocks WHERE place = ? AND seq = ?").pluck();
  for (const { place, seq } of rows as { place: BlockPlace; seq: number }[])
    keep.run(sealed(seal, corruptPlace(place, seq), read.get(place, seq) as Buffer), place, seq);
}

/** A block that was sealed stays so; one that was stored before there was a key is not to be kept in the plain. */
function sealed(seal: Seal, place: string, data: Buffer): Uint8Array {
  return seal.isOn && !isEnvelope(data) ? seal.bytes(place, data) : data;
}

function placeOf(place: BlockPlace, { streamId, seq, reason }: SourceRow): string {
  return place === "log" ? blockPlace(streamId, seq) : latePlace(streamId, seq, reason);
}
