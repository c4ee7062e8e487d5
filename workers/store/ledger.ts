import type { Connection } from "./database.ts";
import type { Statements } from "./statements.ts";

/** Why something is not there any more as it was acknowledged. Evicted is not among them: the hub has it. */
export type LossReason = "downsampled" | "given-up" | "expired" | "corrupt";

/**
 * What was lost. Events move from `held` to the counter of their reason; the others are counted by their rows alone:
 * aggregates are what downsampled events became, `late` are the copies in the side output.
 */
export type LossKind = "events" | "aggregates" | "late" | "dead-letters" | "results" | "alerts";

/** One row of the loss ledger. Times in µs since the epoch, both ends inclusive. */
export interface Loss {
  /** null: of no stream, as results and alerts are. */
  readonly streamId: number | null;
  readonly fromUs: number;
  readonly toUs: number;
  /** Of its kind. For aggregates 0: their events were counted when they were downsampled. */
  readonly count: number;
  /** Stored bytes. */
  readonly bytes: number;
  readonly reason: LossReason;
  readonly atUs: number;
  /** Default: events. */
  readonly kind?: LossKind;
  /** The query or alert whose rows they were. */
  readonly subject?: string;
}

/** Writes a row of the ledger and, for events, the counters of the balance. Runs within the caller's transaction. */
export function recordLoss(sql: Statements, loss: Loss): void {
  const { streamId, fromUs, toUs, count, bytes, reason, atUs, kind = "events", subject = null } = loss;
  sql.insertLoss.run(streamId, fromUs, toUs, count, bytes, reason, atUs, kind, subject);
  if (kind !== "events") return;
  const of = (each: LossReason): number => (reason === each ? count : 0);
  const lost = [of("downsampled"), of("given-up"), of("expired"), of("corrupt")];
  // Of a clock that is ahead nothing follows for the time between.
  const goneUs = Math.min(toUs, atUs);
  sql.countLoss.run(count, ...lost, goneUs, goneUs, streamId);
}

/**
 * Events that were deleted because the hub has them: no loss. Runs within the caller's transaction.
 * @param goneUs the newest of them
 */
export function recordEviction(sql: Statements, streamId: number, count: number, goneUs: number): void {
  sql.countEvicted.run(count, count, goneUs, goneUs, streamId);
}

/** Where a stream's accepted events are: `accepted` is the sum of the six that follow. The last three stand beside it. */
export interface StreamLedger {
  readonly stream: string;
  readonly accepted: number;
  readonly held: number;
  /** Synced and deleted. */
  readonly evicted: number;
  readonly downsampled: number;
  readonly givenUp: number;
  readonly expired: number;
  readonly corrupt: number;
  readonly late: number;
  readonly clockSkewed: number;
  readonly deadLettered: number;
}

/** What of `accepted` has no place: 0, or the books do not balance. */
export function imbalanceOf(ledger: StreamLedger): number {
  const { accepted, held, evicted, downsampled, givenUp, expired, corrupt } = ledger;
  return accepted - (held + evicted + downsampled + givenUp + expired + corrupt);
}

const LEDGER_COLUMNS =
  "name AS stream, accepted, held, evicted, downsampled, given_up AS givenUp, expired, corrupt," +
  " late, clock_skewed AS clockSkewed, dead_lettered AS deadLettered";

/** The counters of every stream, in the order of their making. Cost: a row a stream. */
export function readLedgers(db: Connection): StreamLedger[] {
  return ledgerReader(db)();
}

/** `readLedgers` for one who asks again and again. */
export function ledgerReader(db: Connection): () => StreamLedger[] {
  const statement = db.prepare(`SELECT ${LEDGER_COLUMNS} FROM streams ORDER BY id`);
  return () => statement.all() as StreamLedger[];
}

/** A counter that is not what the tables hold, or a sum that does not come out. */
export interface Imbalance {
  readonly stream: string;
  /** Of `StreamLedger`; `accepted` stands for the sum. */
  readonly counter: keyof StreamLedger;
  /** What the counter says. */
  readonly counted: number;
  /** What the tables hold. */
  readonly found: number;
}

const LOSSES_OF = (reason: LossReason): string =>
  `(SELECT coalesce(sum(count), 0) FROM losses WHERE stream_id = s.id AND kind = 'events' AND reason = '${reason}')`;
const OF_KIND = (kind: LossKind): string =>
  `(SELECT coalesce(sum(count), 0) FROM losses WHERE stream_id = s.id AND kind = '${kind}')`;

/** What each counter must be by the tables. Evicted events leave nothing behind: theirs follows from the sum. */
const RECOUNT =
  "SELECT name AS stream," +
  " (SELECT coalesce(sum(count), 0) FROM blocks WHERE stream_id = s.id AND resolution_us = 0) AS held," +
  ` ${LOSSES_OF("downsampled")} AS downsampled, ${LOSSES_OF("given-up")} AS givenUp,` +
  ` ${LOSSES_OF("expired")} AS expired, ${LOSSES_OF("corrupt")} AS corrupt,` +
  " (SELECT coalesce(sum(count), 0) FROM late WHERE stream_id = s.id)" +
  ` + ${OF_KIND("late")} AS aside,` +
  ` (SELECT count(*) FROM dead_letters WHERE stream_id = s.id) + ${OF_KIND("dead-letters")} AS deadLettered` +
  " FROM streams s ORDER BY id";

interface Recount {
  readonly stream: string;
  readonly held: number;
  readonly downsampled: number;
  readonly givenUp: number;
  readonly expired: number;
  readonly corrupt: number;
  readonly aside: number;
  readonly deadLettered: number;
}

/**
 * Counts the tables again and compares them with the counters: none of the answer, if all is well. Reads every block's
 * row, though not its data, at one moment; any connection will do.
 */
export function checkBalance(db: Connection): Imbalance[] {
  const check = db.transaction((): Imbalance[] => {
    const found = db.prepare(RECOUNT).all() as Recount[];
    return readLedgers(db).flatMap((ledger, index) => compare(ledger, found[index]!));
  });
  return check.deferred();
}

function compare(ledger: StreamLedger, found: Recount): Imbalance[] {
  const { stream } = ledger;
  const pairs: readonly (readonly [keyof StreamLedger, number, number])[] = [
    ["accepted", ledger.accepted, ledger.accepted - imbalanceOf(ledger)],
    ["held", ledger.held, found.held],
    ["downsampled", ledger.downsampled, found.downsampled],
    ["givenUp", ledger.givenUp, found.givenUp],
    ["expired", ledger.expired, found.expired],
    ["corrupt", ledger.corrupt, found.corrupt],
    ["late", ledger.late + ledger.clockSkewed, found.aside],
    ["deadLettered", ledger.deadLettered, found.deadLettered],
  ];
  return pairs
    .filter(([, counted, right]) => counted !== right)
    .map(([counter, counted, right]) => ({ stream, counter, counted, found: right }));
}
