import { createHash } from "node:crypto";
import { MillraceError } from "./errors.ts";
import { moveWith } from "./move.ts";
import type { MasterKeys } from "./seal/master-key.ts";
import { databaseFile } from "./store/data-dir.ts";
import { explainFailure, type StoreFailure } from "./store/failure.ts";
import type { ParkedBatch, SyncBacklog, SyncClass } from "./store/sync-operations.ts";
import { type AuditRange, type EdgeAudit, wholeHours } from "./sync/audit-reader.ts";
import { BlockSummer, type StreamSum, SumTable } from "./sync/audit-sums.ts";
import type { BatchHeader, BatchItem, StreamForm } from "./sync/batch.ts";
import { packBatch } from "./sync/batch-format.ts";
import { withPlainBlocks } from "./sync/plain-blocks.ts";
import { SyncReader } from "./sync/sync-reader.ts";
import { portableCodec } from "./zstd.ts";

export interface PackTask {
  readonly batch: number;
  readonly class: SyncClass;
  readonly header: Pick<BatchHeader, "edge" | "createdUs" | "incarnation" | "start">;
  /** Of every stream there is; those of the batch are put into it. */
  readonly forms: readonly StreamForm[];
}

/** A batch as it goes over the wire. */
export interface PackedBatch {
  readonly key: string;
  /** Nothing is left of it when 0. */
  readonly items: number;
  readonly rows: number;
  /** Of its events. */
  readonly sums?: readonly StreamSum[];
  readonly body: Uint8Array<ArrayBuffer>;
}

/** What every call answers: what was asked for, or why not. */
type Answer<T> = { readonly value: T } | StoreFailure;

const codec = await portableCodec();
const summer = new BlockSummer(codec);
let reader: SyncReader | null = null;
let openedDir = "";

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

/** Reads a claimed batch and puts it into the form of the wire. */
export function pack({ batch, class: kind, header, forms }: PackTask): Answer<PackedBatch> {
  const answered = answer(() => {
    const store = opened();
    const items = withPlainBlocks(codec, store.items(batch, kind));
    const key = keyOf(header.edge, header.incarnation, items);
    const named = new Set(items.map((item) => (item.kind === "block" ? item.stream : null)));
    const streams = forms.filter(({ stream }) => named.has(stream));
    const whole = { ...header, key, streams, totals: store.totals() };
    const body = packBatch(codec, { header: whole, items });
    const rows = items.reduce((sum, item) => sum + (item.kind === "block" ? item.count : item.rows), 0);
    return { key, items: items.length, rows, sums: sumsOf(items), body };
  });
  return "failure" in answered ? answered : moveWith(answered, [answered.value.body.buffer]);
}

/** What a sink has, by this node's books. */
export function audit(task: AuditRange & { readonly sink: string }): Answer<EdgeAudit> {
  return answer(() => opened().audit(task.sink, wholeHours(task)));
}

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

function sumsOf(items: readonly BatchItem[]): readonly StreamSum[] {
  const table = new SumTable();
  for (const item of items) {
    if (item.kind !== "block") continue;
    try {
      table.add(item.stream, item.resolutionUs, summer.sum(item));
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

function opened(): SyncReader {
  if (reader === null) throw new MillraceError("E_STORE_CLOSED", "the store is not open for sync");
  return reader;
}

function answer<T>(run: () => T): Answer<T> {
  try {
    return { value: run() };
  } catch (cause) {
    const { code, message } = explainFailure(cause, databaseFile(openedDir));
    return { failure: { code, message } };
  }
}
