import type { Statement } from "better-sqlite3";
import type { Connection } from "./database.ts";
import { type Loss, recordEviction, recordLoss } from "./ledger.ts";
import { type OldBlock, OldestBlocks } from "./oldest-blocks.ts";
import { prepareAll } from "./prepare-all.ts";
import type { Statements } from "./statements.ts";
import type { StreamTable } from "./stream-table.ts";

/** Deleted in one transaction at most, so that no commit waits long: blocks and their bytes, rows of anything else. */
const BLOCKS_AT_ONCE = 64;
const BYTES_AT_ONCE = 1024 * 1024;
const ROWS_AT_ONCE = 500;

const EPISODE_IS_OPEN =
  "SELECT 1 FROM alerts n WHERE n.alert = a.alert AND n.since_us = a.since_us AND n.key = a.key AND n.id = a.id" +
  " AND n.is_latest = 1 AND n.state <> 'resolved'";

const SQL = {
  oldestLate: "SELECT id, at_us AS atUs FROM late WHERE stream_id = ? ORDER BY id LIMIT 1",
  takeLate:
    "DELETE FROM late WHERE id IN (SELECT id FROM late WHERE stream_id = ? AND at_us < ? ORDER BY id LIMIT ?)" +
    " RETURNING coalesce(min_us, at_us) AS fromUs, coalesce(max_us, at_us) AS toUs, count, octet_length(data) AS bytes",
  oldestLetter: "SELECT at_us AS atUs FROM dead_letters ORDER BY id LIMIT 1",
  sumLetters:
    "SELECT stream_id AS streamId, min(at_us) AS fromUs, max(at_us) AS toUs, count(*) AS count," +
    " sum(octet_length(text)) AS bytes FROM (SELECT * FROM dead_letters WHERE at_us < ? ORDER BY id LIMIT ?) GROUP BY stream_id",
  dropLetters:
    "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters WHERE at_us < ? ORDER BY id LIMIT ?)",
  countLetters: "UPDATE counters SET dead_letters = dead_letters - ?",
  queries:
    "WITH RECURSIVE q(name) AS (SELECT min(query) FROM results UNION ALL" +
    " SELECT (SELECT min(query) FROM results r WHERE r.query > q.name) FROM q WHERE q.name IS NOT NULL)" +
    " SELECT name, (SELECT start_us FROM results r WHERE r.query = q.name ORDER BY start_us LIMIT 1) AS startUs" +
    " FROM q WHERE name IS NOT NULL",
  takeResults:
    "DELETE FROM results WHERE (query, start_us, key, end_us, revision) IN" +
    " (SELECT query, start_us, key, end_us, revision FROM results WHERE query = ? AND start_us < ? AND end_us < ?" +
    " ORDER BY start_us LIMIT ?)" +
    " RETURNING start_us AS fromUs, end_us AS toUs, 1 AS count, octet_length(key) + octet_length(value) AS bytes",
  plausibleArrival:
    "SELECT arrival_us FROM (SELECT arrival_us FROM blocks WHERE seq > ? ORDER BY seq LIMIT 20000) WHERE arrival_us <= ? LIMIT 1",
  oldestAlert: `SELECT since_us AS atUs FROM alerts a WHERE NOT EXISTS (${EPISODE_IS_OPEN}) ORDER BY since_us LIMIT 1`,
  takeAlerts:
    "DELETE FROM alerts WHERE (since_us, alert, key, id, revision) IN" +
    ` (SELECT since_us, alert, key, id, revision FROM alerts a WHERE since_us < ? AND NOT EXISTS (${EPISODE_IS_OPEN})` +
    " ORDER BY since_us LIMIT ?)" +
    " RETURNING alert AS subject, since_us AS fromUs, at_us AS toUs, 1 AS count, octet_length(key) + octet_length(value) AS bytes",
} as const;

interface Taken {
  readonly fromUs: number;
  readonly toUs: number;
  readonly count: number;
  readonly bytes: number;
}

/** What goes, and why: `given-up` for want of room, `expired` for its age. Times in µs. */
export interface Age {
  /** Only what is older; Infinity: whatever its age. */
  readonly before: number;
  readonly reason: "given-up" | "expired";
  readonly nowUs: number;
}

/** Deletes what is oldest, a small transaction at a time, each with its rows of the ledger. */
export class Eviction {
  readonly #db: Connection;
  readonly #statements: Statements;
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  readonly #oldest: OldestBlocks;
  readonly #streams: StreamTable;
  mostBlocks = BLOCKS_AT_ONCE;
  /** Hears how many dead letters went: the writer counts them too. */
  readonly #onDeadLetters: (count: number) => void;

  constructor(
    db: Connection,
    statements: Statements,
    streams: StreamTable,
    onDeadLetters: (count: number) => void,
  ) {
    this.#db = db;
    this.#streams = streams;
    this.#statements = statements;
    this.#onDeadLetters = onDeadLetters;
    this.#oldest = new OldestBlocks(db);
    this.#sql = prepareAll(db, SQL);
  }

  /** Blocks deleted in one transaction at most. */
  limitTo(blocks: number): void {
    this.mostBlocks = Math.min(BLOCKS_AT_ONCE, blocks);
  }

  /** Deletes blocks that the hub has, of every stream, the oldest first. @returns how many */
  evictSynced(streamIds: readonly number[], upToSeq: number, age: Age): number {
    const blocks = take(this.#dated("synced", streamIds, upToSeq, age), age);
    return this.#delete(blocks, ({ resolutionUs, streamId, count, maxUs }) => {
      // Aggregates: their events left the balance when they were downsampled.
      if (resolutionUs === 0) recordEviction(this.#statements, streamId, count, Math.min(maxUs, age.nowUs));
    });
  }

  /** Deletes the oldest blocks of some streams that nobody else has. @returns how many */
  dropPending(streamIds: readonly number[], upToSeq: number, age: Age): number {
    const blocks = take(this.#dated("pending", streamIds, upToSeq, age), age);
    const groups = new Map<string, OldBlock[]>();
    for (const block of blocks) {
      const name = `${block.streamId} ${block.resolutionUs}`;
      groups.set(name, [...(groups.get(name) ?? []), block]);
    }
    return this.#delete(
      blocks,
      () => undefined,
      () => {
        for (const group of groups.values()) this.#recordBlocks(group, age);
      },
    );
  }

  /** When the oldest block arrived that `dropPending` would delete; null: there is none. */
  oldestPendingUs(streamIds: readonly number[], upToSeq: number): number | null {
    return this.#oldest.pending(streamIds, upToSeq, 1)[0]?.arrivalUs ?? null;
  }

  oldestLateUs(streamId: number): number | null {
    return this.#timeOf(this.#sql.oldestLate.get(streamId));
  }

  oldestDeadLetterUs(): number | null {
    return this.#timeOf(this.#sql.oldestLetter.get());
  }

  oldestAlertUs(): number | null {
    return this.#timeOf(this.#sql.oldestAlert.get());
  }

  /** The query with the oldest window, and that window's start; null: there are no results. */
  oldestResult(): { readonly query: string; readonly startUs: number } | null {
    const queries = this.#sql.queries.all() as { name: string; startUs: number }[];
    const first = queries.reduce<(typeof queries)[number] | null>(
      (least, next) => (least === null || next.startUs < least.startUs ? next : least),
      null,
    );
    return first === null ? null : { query: first.name, startUs: first.startUs };
  }

  queries(): readonly string[] {
    return (this.#sql.queries.all() as { name: string }[]).map(({ name }) => name);
  }

  dropLate(streamId: number, { before, reason, nowUs }: Age): number {
    return this.#db.transaction(() => {
      const taken = this.#sql.takeLate.all(streamId, before, BLOCKS_AT_ONCE) as Taken[];
      if (taken.length > 0)
        recordLoss(this.#statements, { ...sum(taken), streamId, reason, kind: "late", atUs: nowUs });
      return taken.length;
    })();
  }

  dropDeadLetters({ before, reason, nowUs }: Age): number {
    const dropped = this.#db.transaction(() => {
      type Sum = Taken & { readonly streamId: number };
      for (const each of this.#sql.sumLetters.all(before, ROWS_AT_ONCE) as Sum[])
        recordLoss(this.#statements, { ...each, reason, kind: "dead-letters", atUs: nowUs });
      const { changes } = this.#sql.dropLetters.run(before, ROWS_AT_ONCE);
      this.#sql.countLetters.run(changes);
      return changes;
    })();
    this.#onDeadLetters(dropped);
    return dropped;
  }

  dropResults(query: string, { before, reason, nowUs }: Age): number {
    return this.#db.transaction(() => {
      const taken = this.#sql.takeResults.all(query, before, before, ROWS_AT_ONCE) as Taken[];
      const loss = { streamId: null, subject: query, reason, kind: "results", atUs: nowUs } as const;
      if (taken.length > 0) recordLoss(this.#statements, { ...sum(taken), ...loss });
      return taken.length;
    })();
  }

  /** Steps of alerts that are over. */
  dropAlerts({ before, reason, nowUs }: Age): number {
    return this.#db.transaction(() => {
      const taken = this.#sql.takeAlerts.all(before, ROWS_AT_ONCE) as (Taken & { subject: string })[];
      for (const [subject, own] of Map.groupBy(taken, (each) => each.subject)) {
        const loss = { streamId: null, subject, reason, kind: "alerts", atUs: nowUs } as const;
        recordLoss(this.#statements, { ...sum(own), ...loss });
      }
      return taken.length;
    })();
  }

  /**
   * The oldest blocks. One that came while the clock was ahead, and says that it arrives in the future, is at least as old
   * as those that came after it: or it would keep them from expiring until then.
   */
  #dated(
    state: "pending" | "synced",
    streamIds: readonly number[],
    upToSeq: number,
    { before, nowUs }: Age,
  ): readonly OldBlock[] {
    const blocks = this.#oldest[state](streamIds, upToSeq, this.mostBlocks);
    if (before === Number.POSITIVE_INFINITY || blocks.every(({ arrivalUs }) => arrivalUs <= nowUs))
      return blocks;
    const [later] = this.#sql.plausibleArrival.all(blocks.at(-1)!.seq, nowUs) as { arrival_us: number }[];
    let latestUs = later?.arrival_us ?? Number.POSITIVE_INFINITY;
    return blocks
      .toReversed()
      .map((block) => {
        const arrivalUs = block.arrivalUs > nowUs ? Math.min(block.arrivalUs, latestUs) : block.arrivalUs;
        latestUs = Math.min(latestUs, arrivalUs);
        return { ...block, arrivalUs };
      })
      .toReversed();
  }

  #delete(
    blocks: readonly OldBlock[],
    each: (block: OldBlock) => void,
    all: () => void = () => undefined,
  ): number {
    if (blocks.length === 0) return 0;
    this.#db.transaction(() => {
      for (const block of blocks) {
        this.#statements.deleteBlock.run(block.seq);
        each(block);
      }
      all();
    })();
    for (const { streamId, bytes } of blocks) this.#streams.countRemoved(streamId, 1, bytes);
    return blocks.length;
  }

  #recordBlocks(blocks: readonly OldBlock[], { reason, nowUs }: Age): void {
    const { streamId, resolutionUs } = blocks[0]!;
    const total = sum(blocks.map((block) => ({ ...block, fromUs: block.minUs, toUs: block.maxUs })));
    const loss: Loss =
      resolutionUs === 0
        ? { ...total, streamId, reason, atUs: nowUs }
        : { ...total, count: 0, streamId, reason, kind: "aggregates", atUs: nowUs };
    recordLoss(this.#statements, loss);
  }

  #timeOf(row: unknown): number | null {
    return (row as { atUs: number } | undefined)?.atUs ?? null;
  }
}

function sum(taken: readonly Taken[]): Taken {
  return taken.reduce((total, { fromUs, toUs, count, bytes }) => ({
    fromUs: Math.min(total.fromUs, fromUs),
    toUs: Math.max(total.toUs, toUs),
    count: total.count + count,
    bytes: total.bytes + bytes,
  }));
}

/** As many as one transaction deletes of those that are old enough. */
function take(oldest: readonly OldBlock[], { before, nowUs }: Age): readonly OldBlock[] {
  const taken: OldBlock[] = [];
  let bytes = 0;
  for (const block of oldest) {
    // A merged block has the arrival of its first events: how new the newest are, only their own time tells, unless
    // that is wrong.
    const newestUs = block.maxUs > nowUs ? block.arrivalUs : Math.max(block.arrivalUs, block.maxUs);
    if (newestUs >= before) continue;
    if (taken.length > 0 && bytes + block.bytes > BYTES_AT_ONCE) break;
    taken.push(block);
    bytes += block.bytes;
  }
  return taken;
}
