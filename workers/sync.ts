import { createHash } from "node:crypto";
import { unpackSums } from "./core/event-sums.ts";
import { MillraceError } from "./errors.ts";
import { type ReadLimits, type ReceivedBatch, readBatch } from "./hub/read-batch.ts";
import { moveWith, releaseBytes } from "./move.ts";
import { BlockDecoder } from "./query/block-decoder.ts";
import type { MasterKeys } from "./seal/master-key.ts";
import { databaseFile } from "./store/data-dir.ts";
import { explainFailure, type StoreFailure } from "./store/failure.ts";
import type { ParkedBatch, SyncBacklog, SyncClass } from "./store/sync-operations.ts";
import { type AuditRange, type EdgeAudit, wholeHours } from "./sync/audit-reader.ts";
import { BlockSummer, type StreamSum, SumTable } from "./sync/audit-sums.ts";
import type { Batch, BatchHeader, BatchItem, CountBase, StreamForm, StreamTotals } from "./sync/batch.ts";
import { packBatch } from "./sync/batch-format.ts";
import { BlockMerger } from "./sync/block-merger.ts";
import { MachineLoad } from "./sync/machine-load.ts";
import { type OutgoingTable, type Selection, selectItems } from "./sync/outgoing-table.ts";
import { withPlainBlocks } from "./sync/plain-blocks.ts";
import { SyncReader } from "./sync/sync-reader.ts";
import type { TableMaker } from "./sync/tables.ts";
import { TimeCredit } from "./sync/time-credit.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("sync");

export interface PackTask {
  readonly batch: number;
  readonly class: SyncClass;
  readonly header: Pick<BatchHeader, "edge" | "createdUs" | "incarnation" | "start">;
  /** Of every stream there is; those of the batch are put into it. */
  readonly forms: readonly StreamForm[];
  /** Counts of the streams there were when this start began. */
  readonly atStart: readonly StreamTotals[];
  readonly form: PackForm;
  readonly selection: Selection;
  /** Whether the sink is held against this node's books. */
  readonly isAudited: boolean;
  /** Whether blocks may be merged: the sink must be known to read that. `spare`: while it takes little of the processor. */
  readonly merge: MergeMode;
}

export type MergeMode = "never" | "spare" | "always";

/** As hubs take it, or as rows. */
export type PackForm = "wire" | "ndjson" | "parquet";

/** A batch as its sink takes it: in the form of the wire, or as tables. */
export interface PackedBatch {
  readonly key: string;
  /** Nothing is left of it when 0. */
  readonly items: number;
  readonly rows: number;
  /** Of its events. */
  readonly sums?: readonly StreamSum[];
  /** Empty where it goes as tables. */
  readonly body: Uint8Array<ArrayBuffer>;
  readonly tables: readonly OutgoingTable[];
  /** Of the data directory. */
  readonly incarnation: string;
}

/** What every call answers: what was asked for, or why not. */
type Answer<T> = { readonly value: T } | StoreFailure;

const codec = await portableCodec();
const summer = new BlockSummer(codec);
const blocks = new BlockDecoder(codec);
let reader: SyncReader | null = null;
let merger: BlockMerger | null = null;
let openedDir = "";
let tableMaker: TableMaker | null = null;

/** Opens the database for reading. The storage thread makes it, so it must be there. */
export function open({
  dir,
  masters,
}: {
  readonly dir: string;
  readonly masters: MasterKeys | null;
}): Answer<null> {
  openedDir = dir;
  return answer(() => {
    reader?.close();
    reader = new SyncReader(dir, codec, masters);
    return null;
  });
}

export function learnKeys(masters: MasterKeys): Answer<null> {
  return answer(() => {
    opened().learnKeys(masters);
    return null;
  });
}

/** Reads a claimed batch and puts it into the form that its sink takes. */
export async function pack(task: PackTask): Promise<Answer<PackedBatch>> {
  const answered = task.form === "wire" ? answer(() => packForWire(task)) : await packTables(task, task.form);
  if ("failure" in answered) return answered;
  const { body, tables } = answered.value;
  return moveWith(answered, [body.buffer, ...tables.map((table) => table.body.buffer)]);
}

function packForWire(task: PackTask): PackedBatch {
  const { items, header, packed, sums, read } = selected(task);
  const bases = new Map(task.atStart.map((total) => [total.stream, total]));
  const totals = opened()
    .totals()
    .map((total) => ({ ...total, base: baseOf(bases.get(total.stream)) }));
  const whole = { ...header, totals };
  const booked = task.isAudited ? { sums: sumsOf(items, sums) } : {};
  const body = packBatch(codec, { header: whole, ...mergedOf(items, task.merge) });
  for (const item of [...read, ...items]) releaseBytes(item.kind === "block" ? item.data : item.ndjson);
  return { ...packed, ...booked, body };
}

/** A stream that came since began with nothing. */
function baseOf(total: StreamTotals | undefined): CountBase {
  if (total === undefined) return [0, 0, 0, 0];
  return [total.accepted, total.deadLettered, total.late, total.clockSkewed];
}

/** Of a core's time, what merging may take where the line is not known to be narrow: ingest is to have the rest. */
const MERGE_SHARE = 0.02;
const MOST_CREDIT_MS = 100;
const machine = new MachineLoad();
const credit = new TimeCredit(MERGE_SHARE, MOST_CREDIT_MS, () => performance.now());

/** The items, blocks of them merged as far as that may be. */
function mergedOf(items: readonly BatchItem[], mode: MergeMode): Pick<Batch, "items" | "merged"> {
  if (mode === "never" || !items.some(({ kind }) => kind === "block")) return { items };
  if (mode === "spare" && machine.isBusy()) return { items };
  merger ??= new BlockMerger(codec);
  return merger.merge(items, mode === "always" ? null : credit);
}

async function packTables(task: PackTask, format: "ndjson" | "parquet"): Promise<Answer<PackedBatch>> {
  try {
    const { items, header, packed } = selected(task);
    // Only where there is such a sink: it takes a core and, for Parquet, a writer.
    tableMaker ??= new (await import("./sync/tables.ts")).TableMaker(codec);
    return { value: { ...packed, tables: await tableMaker.tables(header, items, format) } };
  } catch (cause) {
    return failureOf(cause);
  }
}

/** What of the batch its sink gets, and the key of that. */
function selected({ batch, class: kind, header, forms, form, selection }: PackTask): {
  items: readonly BatchItem[];
  header: Omit<BatchHeader, "totals">;
  packed: PackedBatch;
  sums: ReadonlyMap<number, Uint8Array>;
  /** The items as they are stored. */
  read: readonly BatchItem[];
} {
  const stored = opened().items(batch, kind);
  const read = selectItems(stored.items, selection);
  const items = form === "wire" ? withPlainBlocks(codec, read) : read;
  const key = keyOf(header.edge, header.incarnation, items);
  const named = new Set(items.map((item) => (item.kind === "block" ? item.stream : null)));
  const streams = forms.filter(({ stream }) => named.has(stream));
  const rows = items.reduce((sum, item) => sum + (item.kind === "block" ? item.count : item.rows), 0);
  const packed = { key, items: items.length, rows, body: noBytes(), tables: [] };
  return {
    items,
    header: { ...header, key, streams },
    packed: { ...packed, incarnation: header.incarnation },
    sums: stored.sums,
    read,
  };
}

/** What a sink has, by this node's books. */
export function audit(task: AuditRange & { readonly sink: string }): Answer<EdgeAudit> {
  return answer(() => opened().audit(task.sink, wholeHours(task)));
}

/**
 * Reads a batch of another edge to its end, as a hub does: what is taken here the edge deletes.
 * @returns the most urgent class of what it holds, and its rows
 */
export function inspect(task: InspectTask): Answer<Inspected> {
  return answer(() => {
    const batch = readBatch(codec, blocks, task, task);
    const kinds = new Set(batch.items.map(({ kind }) => (kind === "block" ? "events" : kind)));
    const rows = batch.items.reduce((sum, item) => sum + (item.kind === "block" ? item.count : item.rows), 0);
    return { class: URGENCY.find((kind) => kinds.has(kind)) ?? "events", rows };
  });
}

export interface InspectTask extends ReceivedBatch, ReadLimits {}

export interface Inspected {
  readonly class: SyncClass;
  readonly rows: number;
}

const URGENCY: readonly SyncClass[] = ["alerts", "losses", "attributes", "results", "events"];

export function backlog(sink: string): Answer<SyncBacklog> {
  return answer(() => opened().backlog(sink));
}

export function parked(limit: number): Answer<ParkedBatch[]> {
  return answer(() => opened().parked(limit));
}

export function close(): void {
  reader?.close();
  reader = null;
}

/** Blocks that lanes have not summed up, such as those of aggregates and of earlier releases, are read to their end. */
function sumsOf(items: readonly BatchItem[], known: ReadonlyMap<number, Uint8Array>): readonly StreamSum[] {
  const table = new SumTable();
  for (const item of items) {
    if (item.kind !== "block") continue;
    const packed = known.get(item.id);
    try {
      const sums = (packed === undefined ? null : unpackSums(packed)) ?? summer.sum(item);
      table.add(item.stream, item.resolutionUs, sums);
    } catch (cause) {
      // It is damaged: the hub will not take it, and then there is nothing to book.
      if (!(cause instanceof MillraceError)) throw cause;
    }
  }
  return table.list();
}

/** Of what the batch holds: whoever sends the same again, after whatever, sends it under the same key. */
function keyOf(edge: string, incarnation: string, items: readonly BatchItem[]): string {
  const hash = createHash("sha256").update(`${edge}\n${incarnation}\n`);
  for (const item of items) {
    const content = item.kind === "block" ? item.data : item.ndjson;
    hash.update(`${item.kind} ${item.id} ${content.length}\n`).update(content);
  }
  return hash.digest("hex").slice(0, 40);
}

function noBytes(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(0);
}

function opened(): SyncReader {
  if (reader === null) throw new MillraceError("E_STORE_CLOSED", "the store is not open for sync");
  return reader;
}

function answer<T>(run: () => T): Answer<T> {
  try {
    return { value: run() };
  } catch (cause) {
    return failureOf(cause);
  }
}

function failureOf(cause: unknown): StoreFailure {
  const { code, message } = explainFailure(cause, databaseFile(openedDir));
  return { failure: { code, message } };
}
