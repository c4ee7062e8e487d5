import { alertJson } from "./alert/alert-json.ts";
import { MillraceError } from "./errors.ts";
import type { HubAuditSlice, HubAuditTask } from "./hub/audit.ts";
import { BatchWriter, type Received } from "./hub/batch-writer.ts";
import { HubCompaction } from "./hub/compaction.ts";
import { DEVICE_CURSOR, HUB_ALERT_CURSOR, HUB_RESULT_CURSOR } from "./hub/cursor.ts";
import { hubFile, openHubForWriting } from "./hub/database.ts";
import { deviceJson, type HubDevice } from "./hub/device-rows.ts";
import type { HubAttributeLimits } from "./hub/edge-news.ts";
import { type HubAlert, type HubLoss, HubReader, type HubResult } from "./hub/hub-reader.ts";
import {
  type NextParked,
  type NextParkedTask,
  type ParkedBatch,
  type ParkedLimits,
  type ParkedTask,
  type ParkedTotals,
  parkBatch,
  nextParked as readNextParked,
  type SettleParkedTask,
  settleParked as settleParkedBatch,
  parkedTotals as totalsOfParked,
} from "./hub/parked.ts";
import { type ReadLimits, type ReceivedBatch, readBatch } from "./hub/read-batch.ts";
import { type HubRecord, HubRecords, type RecordWrite } from "./hub/records.ts";
import { HubRetention, type RetentionRules } from "./hub/retention.ts";
import type * as hub from "./hub/tasks.ts";
import { type Tended, tend as tendStore } from "./hub/upkeep.ts";
import { BlockDecoder } from "./query/block-decoder.ts";
import { BlockScanner } from "./query/block-scanner.ts";
import { type CursorForm, EVENT_CURSOR, ID_CURSOR } from "./query/cursor.ts";
import { readEvents } from "./query/events.ts";
import { lossJson, readPage, resultJson } from "./query/row-pages.ts";
import type { Page as TaskPage } from "./query/tasks.ts";
import type { Page } from "./query.ts";
import { type DataDirLock, lockDataDir } from "./store/data-dir.ts";
import type { Connection } from "./store/database.ts";
import { explainFailure, type StoreFailure } from "./store/failure.ts";
import { BlockSummer } from "./sync/audit-sums.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("hub");

export interface ReceiveTask extends ReadLimits {
  readonly batches: readonly ReceivedBatch[];
}

export interface ParkTask {
  readonly batch: ParkedBatch;
  readonly limits: ParkedLimits;
}

type Answer<T> = { readonly value: T } | StoreFailure;
type WithText<Task> = Omit<Task, "after"> & { readonly after: string | null };

const codec = await portableCodec();
const decoder = new BlockDecoder(codec);
const summer = new BlockSummer(codec);
const scanner = new BlockScanner(codec);
let openedDir = "";
let lock: DataDirLock | null = null;
let db: Connection | null = null;
let writer: BatchWriter | null = null;
let reader: HubReader | null = null;
let records: HubRecords | null = null;
let upkeep: { readonly retention: HubRetention; readonly compaction: HubCompaction } | null = null;

/** Opens and locks the data directory; this thread is the only one that writes. */
export function openWriter({
  dir,
  attributes,
}: {
  readonly dir: string;
  readonly attributes: HubAttributeLimits;
}): Answer<null> {
  openedDir = dir;
  return answer(() => {
    lock = lockDataDir(dir);
    try {
      db = openHubForWriting(dir);
      writer = new BatchWriter(db, codec, attributes);
      records = new HubRecords(db);
    } catch (cause) {
      lock.close();
      throw cause;
    }
    return null;
  });
}

export function openReader(dir: string): Answer<null> {
  openedDir = dir;
  return answer(() => {
    reader = new HubReader(dir);
    return null;
  });
}

/**
 * Takes batches in one transaction with one fsync. A bad one is answered for itself, and those beside it are kept; when the
 * store fails, none is.
 */
export function receive({ batches, limits, maxBlockBytes }: ReceiveTask): Answer<Answer<Received>[]> {
  return answer(() => {
    if (db === null || writer === null) throw closed();
    const into = writer;
    const read = batches.map((received) =>
      answer(() => readBatch(codec, decoder, received, { limits, maxBlockBytes })),
    );
    const nowUs = Date.now() * 1000;
    const store = db;
    try {
      return store.transaction(() =>
        read.map((batch, index): Answer<Received> => {
          if ("failure" in batch) return batch;
          // A savepoint: what of a batch was written before its bad row is taken back.
          const write = store.transaction(() =>
            into.write(batch.value, batches[index]!.body.byteLength, nowUs),
          );
          const written = answer(write);
          if ("failure" in written) into.reset();
          return written;
        }),
      )();
    } catch (cause) {
      into.reset();
      throw cause;
    }
  });
}

export function events(task: WithText<hub.HubEventsTask>): Answer<Page> {
  return page(task, EVENT_CURSOR, (store, after) =>
    readEvents(store.blocksOf(task.edge), scanner, { ...task, after, timeField: "ts", keyFields: [] }),
  );
}

export function results(task: WithText<hub.HubResultsTask>): Answer<Page> {
  return page(task, HUB_RESULT_CURSOR, (store, after) =>
    readPage<HubResult, hub.HubResultCursor>(
      { limit: task.limit, after },
      (behind, limit) => store.results({ ...task, after: behind, limit }),
      (row) => withEdge(row.edge, resultJson(row)),
      ({ startUs, key, endUs, edgeId, revision }) => ({ startUs, key, endUs, edgeId, revision }),
    ),
  );
}

export function alerts(task: WithText<hub.HubAlertsTask>): Answer<Page> {
  return page(task, HUB_ALERT_CURSOR, (store, after) =>
    readPage<HubAlert, hub.HubAlertCursor>(
      { limit: task.limit, after },
      (behind, limit) => store.alerts({ ...task, after: behind, limit }),
      (row) => withEdge(row.edge, alertJson(row)),
      ({ sinceUs, alert, key, id, revision, edgeId }) => ({ sinceUs, alert, key, id, revision, edgeId }),
    ),
  );
}

export function devices(task: WithText<hub.HubDevicesTask>): Answer<Page> {
  return page(task, DEVICE_CURSOR, (store, after) =>
    readPage<HubDevice, hub.DeviceCursor>(
      { limit: task.limit, after },
      (behind, limit) => store.devices({ ...task, after: behind, limit }),
      deviceJson,
      ({ edge: of, device }) => ({ edge: of, device }),
    ),
  );
}

export function losses(task: WithText<hub.HubListTask>): Answer<Page> {
  return page(task, ID_CURSOR, (store, after) =>
    readPage<HubLoss, number>(
      { limit: task.limit, after },
      (behind, limit) => store.losses({ ...task, after: behind, limit }),
      (row) => withEdge(row.edge, lossJson(row)),
      ({ id }) => id,
    ),
  );
}

/** Sums up events that are held, as many as a short while lets it. */
export function audit(task: HubAuditTask): Answer<HubAuditSlice> {
  return answer(() => openedReader().audit(summer, task));
}

/** Does a portion of what retention and compaction have to do. */
export function tend(rules: RetentionRules): Answer<Tended> {
  return answer(() => {
    const into = openedDb();
    upkeep ??= { retention: new HubRetention(into, summer), compaction: new HubCompaction(into, decoder) };
    return tendStore(upkeep.retention, upkeep.compaction, rules, Date.now() * 1000);
  });
}

export function parked(task: WithText<ParkedTask>): Answer<Page> {
  return page(task, ID_CURSOR, (store, after) => store.parked({ ...task, after }));
}

/** Sets a batch aside, fsynced. False: there is no room. */
export function park({ batch, limits }: ParkTask): Answer<boolean> {
  return answer(() => parkBatch(openedDb(), batch, limits));
}

export function parkedTotals(): Answer<ParkedTotals> {
  return answer(() => totalsOfParked(openedDb()));
}

export function nextParked(task: NextParkedTask): Answer<NextParked | null> {
  return answer(() => readNextParked(openedDb(), task));
}

export function settleParked(task: SettleParkedTask): Answer<null> {
  return answer(() => {
    settleParkedBatch(openedDb(), task);
    return null;
  });
}

export function edges(): Answer<hub.EdgeSummary[]> {
  return answer(() => openedReader().edges());
}

export function edge(name: string): Answer<hub.EdgeDetail | null> {
  return answer(() => openedReader().edge(name));
}

export function knows(task: { readonly stream?: string; readonly query?: string }): Answer<boolean> {
  return answer(() => {
    const { stream, query } = task;
    if (stream !== undefined) return openedReader().knowsStream(stream);
    return query !== undefined && openedReader().knowsQuery(query);
  });
}

export function readRecord({ kind, name }: Pick<HubRecord, "kind" | "name">): Answer<HubRecord | null> {
  return answer(() => openedRecords().read(kind, name));
}

export function listRecords(kind: string): Answer<HubRecord[]> {
  return answer(() => openedRecords().list(kind));
}

/** False, with nothing done, when a record was written by another meanwhile. */
export function writeRecords(writes: readonly RecordWrite[]): Answer<boolean> {
  return answer(() => {
    const into = openedRecords();
    const overtaken = new Error("written by another");
    try {
      openedDb().transaction(() => {
        if (!into.write(writes)) throw overtaken;
      })();
      return true;
    } catch (cause) {
      if (cause === overtaken) return false;
      throw cause;
    }
  });
}

export function close(): void {
  records = null;
  upkeep = null;
  reader?.close();
  reader = null;
  db?.close();
  db = null;
  writer = null;
  lock?.close();
  lock = null;
}

function withEdge(name: string, json: string): string {
  return `{"edge":${JSON.stringify(name)},${json.slice(1)}`;
}

function page<Cursor>(
  { after, limit }: { readonly after: string | null; readonly limit: number },
  form: CursorForm<Cursor>,
  read: (store: HubReader, after: Cursor | null) => TaskPage<Cursor>,
): Answer<Page> {
  return answer(() => {
    const store = openedReader();
    if (!(limit >= 1)) throw new MillraceError("E_LIMIT", `limit is ${limit}; a page has at least one row`);
    const { ndjson, next, skippedBlocks } = read(store, after === null ? null : form.decode(after));
    return { ndjson, next: next === null ? null : form.encode(next), skippedBlocks };
  });
}

function openedDb(): Connection {
  if (db === null) throw closed();
  return db;
}

function openedRecords(): HubRecords {
  if (records === null) throw closed();
  return records;
}

function openedReader(): HubReader {
  if (reader === null) throw closed();
  return reader;
}

function closed(): MillraceError {
  return new MillraceError("E_STORE_CLOSED", "the hub's store is not open");
}

function answer<T>(run: () => T): Answer<T> {
  try {
    return { value: run() };
  } catch (cause) {
    const { code, message } = explainFailure(cause, hubFile(openedDir));
    return { failure: { code, message } };
  }
}
