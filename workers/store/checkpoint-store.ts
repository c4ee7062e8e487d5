import { crc32 } from "node:zlib";
import { MillraceError } from "../errors.ts";
import type { CommitOutcome } from "../messages.ts";
import { checkpointPlace, piecePlace } from "../seal/places.ts";
import { NO_SEAL, type Seal } from "../seal/seal.ts";
import type { CheckpointOperation, PiecePlace, Segments } from "./checkpoint-operations.ts";
import type { Connection } from "./database.ts";

/** The newest is what a start loads; the one before it stays as a spare, with the log after it. */
const CHECKPOINTS_KEPT = 2;

/** In the place of the number of pieces, of one that was lost. */
const LOST = -1;

/** The window state up to and including `seq`: whole, or in segments. */
export interface Checkpoint {
  readonly seq: number;
  readonly state: Uint8Array<ArrayBuffer> | null;
  readonly segments: Segments | null;
}

interface CheckpointRow {
  readonly seq: number;
  readonly state: Buffer;
  readonly first: number | null;
  readonly last: number | null;
  readonly pieces: number | null;
}

/** Of one that was lost nothing is left but its place. */
function isLost({ pieces }: CheckpointRow): boolean {
  return pieces === LOST;
}

interface PieceRow {
  readonly number: number;
  readonly crc: number;
  readonly bytes: Buffer;
}

const UNNAMED =
  "NOT EXISTS (SELECT 1 FROM checkpoints c WHERE p.segment BETWEEN c.first_segment AND c.last_segment)";

/** Writes, reads and drops checkpoints. */
export class CheckpointStore {
  readonly #sql;
  /** Checkpoints that `read` found damaged. They are gone, so that what is kept beside the newest is a spare. */
  readonly damagedSeqs: number[] = [];
  /**
   * The seq of the newest that was lost with all others, where `read` finds none: what came of the log up to there is stored,
   * though the state is not. Its row stays, without a state, until there are new ones: a start that is cut short knows it too.
   */
  lostSeq = 0;

  readonly #seal: Seal;

  constructor(db: Connection, seal: Seal = NO_SEAL) {
    this.#seal = seal;
    const prepare = (text: string) => db.prepare<unknown[], unknown>(text);
    this.#sql = {
      insertPiece: prepare("INSERT INTO checkpoint_pieces (segment, number, crc, bytes) VALUES (?, ?, ?, ?)"),
      insert: prepare(
        "INSERT OR REPLACE INTO checkpoints (seq, at_us, state, first_segment, last_segment, pieces) VALUES (?, ?, ?, ?, ?, ?)",
      ),
      drop: prepare(
        "DELETE FROM checkpoints WHERE seq NOT IN (SELECT seq FROM checkpoints ORDER BY seq DESC LIMIT ?)",
      ),
      dropOne: prepare("DELETE FROM checkpoints WHERE seq = ?"),
      markLost: prepare(
        "UPDATE checkpoints SET state = x'', first_segment = NULL, last_segment = NULL," +
          ` pieces = ${LOST} WHERE seq = ?`,
      ),
      sweep: prepare(
        "DELETE FROM checkpoint_pieces WHERE (segment, number) IN (SELECT segment, number FROM checkpoint_pieces p" +
          ` WHERE p.segment < ? AND ${UNNAMED} LIMIT ?)`,
      ),
      list: prepare(
        "SELECT seq, state, first_segment AS first, last_segment AS last, pieces FROM checkpoints ORDER BY seq DESC",
      ),
      pieces: prepare(
        "SELECT number, crc, bytes FROM checkpoint_pieces WHERE segment = ? AND number >= ? ORDER BY number",
      ),
      lastSegment: prepare(
        "SELECT max(coalesce((SELECT max(segment) FROM checkpoint_pieces), 0)," +
          " coalesce((SELECT max(last_segment) FROM checkpoints), 0)) AS segment",
      ),
    };
  }

  write(operation: CheckpointOperation, nowUs: number): CommitOutcome {
    switch (operation.kind) {
      case "checkpoint-piece": {
        const { segment, number, bytes } = operation;
        const stored = this.#seal.bytes(piecePlace({ segment, number }), bytes);
        this.#sql.insertPiece.run(segment, number, crc32(stored), stored);
        return { kind: "committed", seq: 0 };
      }
      case "checkpoint-sweep":
        return { kind: "cleared", rows: this.#sql.sweep.run(operation.below, operation.limit).changes };
      case "checkpoint": {
        const { seq, state, segments } = operation;
        const { first = null, last = null, pieces = null } = segments ?? {};
        this.#sql.insert.run(seq, nowUs, this.#seal.bytes(checkpointPlace(seq), state), first, last, pieces);
        this.#sql.drop.run(CHECKPOINTS_KEPT);
        return { kind: "committed", seq };
      }
    }
  }

  /** The newest that is whole and undamaged: when a piece of it is not, the one before. */
  read(): Checkpoint | null {
    const found = this.#readWhole();
    for (const seq of this.damagedSeqs) {
      if (found !== null || seq < this.lostSeq) this.#sql.dropOne.run(seq);
      else {
        this.lostSeq = seq;
        this.#sql.markLost.run(seq);
      }
    }
    return found;
  }

  #readWhole(): Checkpoint | null {
    for (const row of this.#sql.list.all() as CheckpointRow[]) {
      const { seq, state, first, last, pieces } = row;
      if (isLost(row)) {
        this.lostSeq = Math.max(this.lostSeq, seq);
        continue;
      }
      if (first === null || last === null || pieces === null) {
        const opened = this.#open(checkpointPlace(seq), state);
        if (opened === null) continue;
        return { seq, state: new Uint8Array(opened), segments: null };
      }
      const segments = { first, last, pieces };
      if (this.#isWhole(segments)) return { seq, state: null, segments };
      this.damagedSeqs.push(seq);
    }
    return null;
  }

  /** Takes a damaged one away. Of the last that there is its place stays. */
  giveUp(seq: number): void {
    const isLast = (this.#sql.list.all() as CheckpointRow[]).every((row) => row.seq === seq || isLost(row));
    if (isLast) this.#sql.markLost.run(seq);
    else this.#sql.dropOne.run(seq);
  }

  /** Seqs of checkpoints of which a piece is missing or damaged. Changes nothing. */
  findDamaged(): number[] {
    return (this.#sql.list.all() as CheckpointRow[]).flatMap(({ seq, first, last, pieces }) =>
      first === null || last === null || pieces === null || this.#isWhole({ first, last, pieces })
        ? []
        : [seq],
    );
  }

  #isWhole({ first, last, pieces }: Segments): boolean {
    let found = 0;
    for (let segment = first; segment <= last; segment++) {
      let next = 0;
      for (const { number, crc, bytes } of this.#sql.pieces.iterate(
        segment,
        0,
      ) as IterableIterator<PieceRow>) {
        if (number !== next++ || crc32(bytes) !== crc) return false;
        if (this.#open(piecePlace({ segment, number }), bytes) === null) return false;
        found++;
      }
    }
    return found === pieces;
  }

  /** Pieces of a segment from a number on, in their order, until `maxBytes` are reached; none at its end. */
  readPieces({ segment, number }: PiecePlace, maxBytes: number): Uint8Array<ArrayBuffer>[] {
    const pieces: Uint8Array<ArrayBuffer>[] = [];
    let bytes = 0;
    for (const row of this.#sql.pieces.iterate(segment, number) as IterableIterator<PieceRow>) {
      const { number: found } = row;
      pieces.push(new Uint8Array(this.#seal.openBytes(piecePlace({ segment, number: found }), row.bytes)));
      bytes += row.bytes.length;
      if (bytes >= maxBytes) break;
    }
    return pieces;
  }

  /** null when it was changed or moved since it was sealed. */
  #open(place: string, stored: Uint8Array): Uint8Array | null {
    try {
      return this.#seal.openBytes(place, stored);
    } catch (cause) {
      if (cause instanceof MillraceError) return null;
      throw cause;
    }
  }

  /** The greatest number that a segment has, whether or not it was finished; 0 when there is none. */
  lastSegment(): number {
    return (this.#sql.lastSegment.get() as { segment: number }).segment;
  }

  /** Deletes what a crash left of unfinished checkpoints, and what was not yet swept. */
  sweepAll(): void {
    while (this.#sql.sweep.run(this.lastSegment() + 1, 256).changes > 0);
  }
}
