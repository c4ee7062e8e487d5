import { MillraceError } from "../errors.ts";
import type { StreamTotals } from "../sync/batch.ts";
import type { Codec } from "../zstd.ts";
import { AuditStore } from "./audit-store.ts";
import type { Connection } from "./database.ts";
import type { Outbox } from "./outbox.ts";
import type { StreamTable } from "./stream-table.ts";
import { StreamTurns } from "./stream-turns.ts";
import type {
  ClaimAnswer,
  ClaimedBatch,
  ClaimTask,
  SyncAdvance,
  SyncClass,
  SyncOpened,
  SyncOutcome,
  SyncSetup,
  SyncStep,
} from "./sync-operations.ts";
import { prepareSync, type SyncStatements } from "./sync-statements.ts";

/** Items of a batch at most: each is a row of the store, and a batch is claimed on the thread that commits. */
const MAX_ITEMS = 4_096;
/** Rows of the queue read at once. */
const CHUNK = 256;
/** Of all streams together at first, and of each at least; then twice as many each time: most batches end before. */
const FIRST_CHUNKS = 1_024;
const LEAST_CHUNK = 4;
/** Of what goes in the order of its ids, a sink's place in it; the flow is named as the class. */
type Sequence = "losses" | "attributes";

interface Candidate {
  readonly id: number;
  readonly rows: number;
  readonly bytes: number;
  readonly atUs: number;
  /** Of blocks. */
  readonly streamId?: number;
}

/** What can be claimed. */
interface Found {
  readonly kind: "found";
  readonly task: ClaimTask;
  readonly sink: number;
  readonly gathered: Gathered;
  readonly isFull: boolean;
}

interface Gathered {
  readonly items: readonly Candidate[];
  readonly rows: number;
  readonly bytes: number;
  readonly isFull: boolean;
  /** Of all that waits, not of the items alone. */
  readonly oldestUs: number;
}

/**
 * What sinks are still to get. A block is `pending` while no sink has claimed it, `syncing` until the last sink has it, and
 * then `synced`; rows of the outbox are deleted then. Stored events go in the order of the log, by streams' turns; alerts
 * the oldest first; results the newest first.
 *
 * Invariant: what a batch holds is fixed from its claim until it is settled, over restarts too, and of a sink nothing is in
 * two batches. Each method is one transaction.
 */
export class SyncStore {
  readonly #db: Connection;
  readonly #sql: SyncStatements;
  readonly #streams: StreamTable;
  readonly #outbox: Outbox;
  readonly #audit: AuditStore;
  readonly #turns = new StreamTurns<Candidate>();
  readonly #sinkIds = new Map<string, number>();
  #setup: SyncSetup = { sinks: [], priorities: {}, defaultPriority: 0 };

  constructor(db: Connection, streams: StreamTable, outbox: Outbox) {
    this.#db = db;
    this.#sql = prepareSync(db);
    this.#streams = streams;
    this.#outbox = outbox;
    this.#audit = new AuditStore(db);
  }

  /** Says where everything goes from here on. A sink that is new gets what no sink before it has made `synced`. */
  open(setup: SyncSetup, codec: Codec): SyncOpened {
    this.#setup = setup;
    this.#outbox.codec = codec;
    this.#outbox.prepare();
    return this.#db.transaction(() => {
      const known = this.#sql.sinks.all() as { id: number; name: string }[];
      for (const { id, name } of known) if (!setup.sinks.includes(name)) this.#dropSink(id);
      this.#outbox.backfill.load();
      // Whoever adds a sink looks into it.
      if (setup.sinks.length > 0) this.#db.exec(BLOCKS_TO_SYNC);
      this.#sinkIds.clear();
      for (const name of setup.sinks) {
        const id = known.find((sink) => sink.name === name)?.id ?? this.#addSink(name);
        this.#sinkIds.set(name, id);
        this.#audit.limit(
          name,
          [...this.#streams.entries()].map((stream) => stream.name),
        );
      }
      this.#outbox.sinks = [...this.#sinkIds.values()];
      if (setup.sinks.length === 0) this.#turnOff();
      else {
        this.#outbox.sealPlain();
        this.#finishDelivered();
        this.#sql.countStart.run();
      }
      const node = this.#sql.node.get() as { incarnation: string; starts: number };
      const unsettled = [...this.#sinkIds].flatMap(([name, id]) => this.#batches(name, id));
      const totals = this.#sql.totals.all() as StreamTotals[];
      return { incarnation: node.incarnation, startNumber: node.starts, totals, unsettled };
    })();
  }

  /** `nowUs`: when what was stored before the sink was there is said to have come into the outbox. */
  claim(task: ClaimTask, nowUs = Date.now() * 1_000): ClaimAnswer {
    return this.advance({ outcomes: [], claims: [task], mustSettle: true }, undefined, nowUs).answers[0]!;
  }

  /**
   * Claims a batch and writes what became of others, in one transaction: each of its own costs an fsync that senders wait behind.
   * @param beforeWriting called before each transaction that writes
   */
  advance(
    { outcomes, claims, mustSettle }: SyncStep,
    beforeWriting: () => void = () => undefined,
    nowUs = Date.now() * 1_000,
  ): SyncAdvance {
    const answers: ClaimAnswer[] = [];
    let next: Found | null = null;
    for (const task of claims) {
      const found = this.#find(task, beforeWriting, nowUs);
      if (found.kind === "found") {
        next = found;
        break;
      }
      answers.push(found);
    }
    const isSettled = next !== null || mustSettle || outcomes.length === 0;
    const settled = isSettled ? outcomes : [];
    if (next === null && settled.length === 0) return { answers, isSettled, resumed: [] };
    beforeWriting();
    return this.#db.transaction(() => {
      const resumed = settled.flatMap((outcome) => this.#settle(outcome));
      if (next !== null) answers.push(this.#claim(next));
      return { answers, isSettled, resumed };
    })();
  }

  #find(task: ClaimTask, beforeWriting: () => void, nowUs: number): Found | ClaimAnswer {
    const { sink: name, class: kind, size, enough, olderThanUs } = task;
    const sink = this.#sinkId(name);
    const gathered =
      kind === "events"
        ? this.#gatherEvents(sink, size)
        : this.#gatherOrFeed(sink, kind, size, beforeWriting, nowUs);
    if (gathered.items.length === 0) return { kind: "nothing" };
    const { rows, bytes, oldestUs } = gathered;
    const isFull = gathered.isFull || this.#isFed(sink, kind);
    const isEnough = isFull || rows >= enough.rows || bytes >= enough.bytes;
    if (isEnough || oldestUs <= olderThanUs) return { kind: "found", task, sink, gathered, isFull };
    if (kind === "events") this.#turns.undo();
    return { kind: "waiting", oldestUs };
  }

  /** Must run within a transaction. */
  #claim({ task, sink, gathered, isFull }: Found): ClaimAnswer {
    const { class: kind } = task;
    const { items, rows, bytes } = gathered;
    const id = this.#insertBatch(sink, kind, items);
    if (kind === "events") this.#takeBlocks(sink, items);
    else if (isSequence(kind)) this.#moveTo(sink, kind, items.at(-1)!.id);
    else for (const item of items) this.#sql.takeQueued.run(sink, kind, item.id);
    const state = { strikes: 0, nextAtUs: 0, reason: null };
    const batch = { id, sink: task.sink, class: kind, items: items.length, rows, bytes, ...state };
    return { kind: "claimed", batch, isFull };
  }

  /** Batches that a split made come back, so that they are sent in the stead of the one that was split. */
  settle(outcomes: readonly SyncOutcome[]): readonly ClaimedBatch[] {
    return this.advance({ outcomes, claims: [], mustSettle: true }).resumed;
  }

  /** Parked batches are to be sent again. @returns them */
  unpark(): ClaimedBatch[] {
    const parked = [...this.#sinkIds].flatMap(([name, id]) =>
      (this.#sql.parkedBatches.all(id) as Omit<ClaimedBatch, "sink">[]).map((batch) => ({
        ...batch,
        sink: name,
        strikes: 0,
        nextAtUs: 0,
      })),
    );
    this.#sql.unpark.run();
    return parked;
  }

  #gatherEvents(sink: number, size: ClaimTask["size"]): Gathered {
    const gathering = new Gathering(size);
    this.#turns.begin();
    const streams = [...this.#streams.entries()];
    const first = Math.min(CHUNK, Math.max(LEAST_CHUNK, Math.ceil(FIRST_CHUNKS / streams.length)));
    for (const { id, name } of streams) {
      const priority = this.#setup.priorities[name] ?? this.#setup.defaultPriority;
      let afterId = this.#position(sink, `stream ${id}`);
      let chunk = first;
      this.#turns.add(id, priority, () => {
        const blocks = this.#sql.nextBlocks.all(id, afterId, chunk) as Candidate[];
        chunk = Math.min(CHUNK, 2 * chunk);
        afterId = blocks.at(-1)?.id ?? afterId;
        return blocks;
      });
    }
    for (let next = this.#turns.next(); next !== null; next = this.#turns.next()) {
      gathering.see(next.atUs);
      if (!gathering.add(next)) break;
      this.#turns.take();
    }
    return gathering.end();
  }

  /** Of what was stored before the sink was there as much comes into the outbox as there is room for in the batch. */
  #gatherOrFeed(
    sink: number,
    kind: Exclude<SyncClass, "events">,
    size: ClaimTask["size"],
    beforeWriting: () => void,
    nowUs: number,
  ): Gathered {
    const gathered = this.#gatherRows(sink, kind, size);
    if (gathered.isFull || isSequence(kind) || !this.#isFed(sink, kind)) return gathered;
    beforeWriting();
    this.#outbox.prepare();
    this.#outbox.backfill.feed(sink, kind, size.rows - gathered.rows, nowUs);
    return this.#gatherRows(sink, kind, size);
  }

  /** More is to come without anything being written. */
  #isFed(sink: number, kind: SyncClass): boolean {
    return (kind === "results" || kind === "alerts") && this.#outbox.backfill.isOnFor(sink, kind);
  }

  #gatherRows(sink: number, kind: Exclude<SyncClass, "events">, size: ClaimTask["size"]): Gathered {
    const gathering = new Gathering(size);
    const isNewestFirst = kind === "results";
    let edge = isNewestFirst ? Number.MAX_SAFE_INTEGER : 0;
    if (isSequence(kind)) edge = this.#position(sink, kind);
    const oldest = this.#sql.oldestQueued.get(sink, kind) as { atUs: number } | undefined;
    if (oldest !== undefined) gathering.see(oldest.atUs);
    for (;;) {
      const chunk = (
        isSequence(kind)
          ? (kind === "losses" ? this.#sql.nextLosses : this.#sql.nextAttributes).all(edge, CHUNK)
          : (isNewestFirst ? this.#sql.newestQueued : this.#sql.nextQueued).all(sink, kind, edge, CHUNK)
      ) as Candidate[];
      for (const candidate of chunk) {
        gathering.see(candidate.atUs);
        if (!gathering.add(candidate)) return gathering.end();
      }
      if (chunk.length < CHUNK) return gathering.end();
      edge = chunk.at(-1)!.id;
    }
  }

  #insertBatch(
    sink: number,
    kind: SyncClass,
    items: readonly Pick<Candidate, "id" | "rows" | "bytes">[],
  ): number {
    const rows = items.reduce((sum, item) => sum + item.rows, 0);
    const bytes = items.reduce((sum, item) => sum + item.bytes, 0);
    const batch = Number(this.#sql.insertBatch.run(sink, kind, items.length, rows, bytes).lastInsertRowid);
    for (const { id } of items) this.#sql.insertItem.run(batch, id);
    return batch;
  }

  #takeBlocks(sink: number, blocks: readonly Candidate[]): void {
    const last = new Map<number, number>();
    for (const { id, streamId = 0 } of blocks) {
      this.#sql.beginBlock.run(id);
      last.set(streamId, Math.max(id, last.get(streamId) ?? 0));
    }
    for (const [streamId, id] of last) this.#moveTo(sink, `stream ${streamId}`, id);
  }

  #settle(outcome: SyncOutcome): ClaimedBatch[] {
    type Row = { sink: number; class: SyncClass };
    const row = this.#sql.batch.get(outcome.batch) as Row | undefined;
    // Its sink is no more.
    if (row === undefined) return [];
    switch (outcome.kind) {
      case "failed":
        this.#sql.fail.run(outcome.strikes, outcome.nextAtUs, outcome.reason, outcome.batch);
        return [];
      case "parked":
        if (!this.#hasRoomToPark(outcome.batch)) return this.#hold(outcome.batch, row.sink, outcome.reason);
        this.#sql.park.run(outcome.reason, outcome.atUs, outcome.batch);
        return [];
      case "split":
        return this.#split(outcome.batch, row, outcome.reason);
      case "delivered":
        for (const { id } of this.#sql.items.all(outcome.batch) as { id: number }[])
          this.#deliver(row.sink, row.class, id);
        this.#audit.add(this.#sinkName(row.sink), outcome.sums ?? []);
        this.#dropBatch(outcome.batch);
        return [];
    }
  }

  #hasRoomToPark(batch: number): boolean {
    const { maxParked } = this.#setup;
    if (maxParked === undefined) return true;
    const { batches, bytes } = this.#sql.parkedSize.get() as { batches: number; bytes: number };
    const { bytes: own } = this.#sql.batchBytes.get(batch) as { bytes: number };
    return batches < maxParked.batches && bytes + own <= maxParked.bytes;
  }

  /** Nothing is given up for want of room: it stays as it is, on its way. */
  #hold(batch: number, sink: number, why: string): ClaimedBatch[] {
    this.#sql.fail.run(0, 0, why, batch);
    const held = this.#batches(this.#sinkName(sink), sink).filter(({ id }) => id === batch);
    return held.map((each) => ({ ...each, isHeld: true }));
  }

  #deliver(sink: number, kind: SyncClass, id: number): void {
    if (isSequence(kind)) return;
    if (kind !== "events") {
      if (this.#sql.dropOutbox.run(id).changes === 0) this.#sql.leaveOutbox.run(id);
      return;
    }
    const sinks = this.#sinkIds.size;
    if (sinks > 1) {
      this.#sql.insertDelivered.run(id, sink);
      const { count } = this.#sql.countDelivered.get(id) as { count: number };
      if (count < sinks) return;
      this.#sql.dropDelivered.run(id);
    }
    this.#endBlock(id);
  }

  #endBlock(seq: number): void {
    if (this.#sql.endBlock.run(seq).changes === 0) this.#sql.endOtherBlock.run(seq);
  }

  #split(
    batch: number,
    { sink, class: kind }: { sink: number; class: SyncClass },
    why: string,
  ): ClaimedBatch[] {
    const items = this.#sql.itemSizes[kind].all(batch) as Omit<Candidate, "atUs">[];
    this.#dropBatch(batch);
    const middle = Math.ceil(items.length / 2);
    const halves = [items.slice(0, middle), items.slice(middle)].filter((half) => half.length > 0);
    const ids = halves.map((half) => this.#insertBatch(sink, kind, half));
    for (const id of ids) this.#sql.fail.run(0, 0, why, id);
    const name = this.#sinkName(sink);
    return name === "" ? [] : this.#batches(name, sink).filter(({ id }) => ids.includes(id));
  }

  #batches(name: string, sink: number): ClaimedBatch[] {
    const rows = this.#sql.unsettled.all(sink) as Omit<ClaimedBatch, "sink">[];
    return rows.map((row) => ({ ...row, sink: name }));
  }

  #dropBatch(batch: number): void {
    this.#sql.dropItems.run(batch);
    this.#sql.dropBatch.run(batch);
  }

  #addSink(name: string): number {
    const id = Number(this.#sql.insertSink.run(name).lastInsertRowid);
    for (const { id: stream } of this.#streams.entries()) {
      const { seq } = this.#sql.beforeFirstOpen.get({ stream }) as { seq: number };
      this.#moveTo(id, `stream ${stream}`, seq);
    }
    this.#outbox.backfill.begin(id);
    return id;
  }

  #dropSink(id: number): void {
    for (const statement of this.#sql.dropSink) statement.run({ sink: id });
  }

  /** A sink that is gone may have been the last that a block waited for. */
  #finishDelivered(): void {
    for (const { seq } of this.#sql.deliveredToAll.all(this.#sinkIds.size) as { seq: number }[]) {
      this.#endBlock(seq);
      this.#sql.dropDelivered.run(seq);
    }
  }

  #turnOff(): void {
    for (const statement of this.#sql.turnOff) statement.run();
    this.#db.exec("DROP INDEX IF EXISTS blocks_to_sync");
  }

  #position(sink: number, flow: string): number {
    const row = this.#sql.position.get(sink, flow) as { afterId: number } | undefined;
    return row?.afterId ?? 0;
  }

  #moveTo(sink: number, flow: string, id: number): void {
    this.#sql.move.run(sink, flow, id);
  }

  /** "" for a sink that is no more. */
  #sinkName(sink: number): string {
    return [...this.#sinkIds].find(([, id]) => id === sink)?.[0] ?? "";
  }

  #sinkId(name: string): number {
    const id = this.#sinkIds.get(name);
    if (id === undefined) throw new MillraceError("E_SINK", `there is no sink ${name}`);
    return id;
  }
}

function isSequence(kind: SyncClass): kind is Sequence {
  return kind === "losses" || kind === "attributes";
}

/** Only while there are sinks: each index entry is written with its block. */
const BLOCKS_TO_SYNC =
  "CREATE INDEX IF NOT EXISTS blocks_to_sync ON blocks (stream_id, seq, count, stored_bytes, arrival_us)" +
  " WHERE state <> 'synced'";

/** Items until there are enough: at least one, and no more than fit. */
class Gathering {
  readonly #size: ClaimTask["size"];
  readonly #items: Candidate[] = [];
  #rows = 0;
  #bytes = 0;
  #isFull = false;
  #oldestUs = Number.POSITIVE_INFINITY;

  constructor(size: ClaimTask["size"]) {
    this.#size = size;
  }

  see(atUs: number): void {
    this.#oldestUs = Math.min(this.#oldestUs, atUs);
  }

  /** @returns whether it was taken; it is not once there is enough. */
  add(item: Candidate): boolean {
    const { rows, bytes } = this.#size;
    const fits = this.#items.length === 0 || this.#bytes + item.bytes <= bytes;
    if (this.#isFull || !fits || this.#items.length >= MAX_ITEMS) {
      this.#isFull = true;
      return false;
    }
    this.#items.push(item);
    this.#rows += item.rows;
    this.#bytes += item.bytes;
    this.#isFull = this.#rows >= rows || this.#bytes >= bytes;
    return true;
  }

  end(): Gathered {
    const [items, rows, bytes, isFull] = [this.#items, this.#rows, this.#bytes, this.#isFull];
    return { items, rows, bytes, isFull, oldestUs: this.#oldestUs };
  }
}
