import { workerData } from "piscina";
import { MillraceError } from "./errors.ts";
import type { HubAuditTask, HubSum } from "./hub/audit.ts";
import type { Received } from "./hub/batch-writer.ts";
import { DEVICE_CURSOR, HUB_ALERT_CURSOR, HUB_RESULT_CURSOR } from "./hub/cursor.ts";
import type { HubAttributeLimits } from "./hub/edge-news.ts";
import type { NextParked, NextParkedTask, ParkedTask, ParkedTotals, SettleParkedTask } from "./hub/parked.ts";
import { auditPostgres } from "./hub/postgres/audit.ts";
import { type GoodBatch, type Known, PostgresBatchWriter } from "./hub/postgres/batch-writer.ts";
import { PostgresDatabase } from "./hub/postgres/connection.ts";
import { describeEdge, listEdges } from "./hub/postgres/edge-reader.ts";
import { EventRows } from "./hub/postgres/event-rows.ts";
import { explainPostgres, isOfData } from "./hub/postgres/failure.ts";
import {
  parkInPostgres,
  nextParked as readNextParked,
  settleInPostgres,
  parkedTotals as totalsOfParked,
} from "./hub/postgres/parked.ts";
import { addDays, Partitions } from "./hub/postgres/partitions.ts";
import { PostgresReader } from "./hub/postgres/reader.ts";
import { PostgresRecords } from "./hub/postgres/records.ts";
import { WRITES } from "./hub/postgres/statements.ts";
import { type ReadLimits, type ReceivedBatch, readBatch } from "./hub/read-batch.ts";
import type { HubRecord, RecordWrite } from "./hub/records.ts";
import type * as hub from "./hub/tasks.ts";
import type { ParkTask } from "./hub.ts";
import { BlockDecoder, type OpenedBlock } from "./query/block-decoder.ts";
import { type CursorForm, EVENT_CURSOR, ID_CURSOR } from "./query/cursor.ts";
import type { Page as TaskPage } from "./query/tasks.ts";
import type { Page } from "./query.ts";
import type { StoreFailure } from "./store/failure.ts";
import { BatchError } from "./sync/batch-format.ts";
import { decodeAlerts, decodeAttributes, decodeLosses, decodeResults } from "./sync/rows.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("hub-postgres");

/** A thread of a hub on PostgreSQL: it reads batches, makes rows of them, and has connections of its own. */

export interface PostgresWorkerData {
  readonly url: string;
  readonly connections: number;
}

export interface ReceiveTask extends ReadLimits {
  readonly batches: readonly ReceivedBatch[];
  readonly attributes: HubAttributeLimits;
}

export interface KeepTask {
  readonly nowUs: number;
  /** Events older than this go; null: none do. */
  readonly eventsBeforeUs: number | null;
  /** Keys of batches older than this are forgotten. */
  readonly batchesBeforeUs: number;
}

type Answer<T> = { readonly value: T } | StoreFailure;
type WithText<Task> = Omit<Task, "after"> & { readonly after: string | null };

const codec = await portableCodec();
const decoder = new BlockDecoder(codec);
const events_ = new EventRows(codec);
const known: Known = { streams: new Map(), spans: new Map() };
const { url, connections } = workerData as PostgresWorkerData;
let opened: Promise<{ readonly db: PostgresDatabase; readonly partitions: Partitions }> | null = null;

function database(): NonNullable<typeof opened> {
  opened ??= PostgresDatabase.create(url, connections).then((db) => ({ db, partitions: new Partitions(db) }));
  return opened;
}

/** Makes the schema, or brings it to this release. */
export function migrate(): Promise<Answer<null>> {
  return answer(async () => {
    const { db } = await database();
    await db.migrate();
    return null;
  });
}

/**
 * Takes batches in one transaction. A bad one is answered for itself, and those beside it are kept; when the store fails,
 * none is.
 */
export function receive({
  batches,
  limits,
  maxBlockBytes,
  attributes,
}: ReceiveTask): Promise<Answer<Answer<Received>[]>> {
  return answer(async () => {
    const days = new Set<number>();
    const read = await Promise.all(
      batches.map((received) =>
        answer(() => Promise.resolve(readGood(received, { limits, maxBlockBytes }, days))),
      ),
    );
    const good = read.flatMap((each) => ("value" in each ? [each.value] : []));
    const { partitions } = await database();
    await partitions.ensure(days);
    const written = (await writeGroup(good, attributes)).values();
    return read.map((each) => ("value" in each ? written.next().value! : each));
  });
}

/** Makes partitions ahead, drops what is too old. */
export function keep({ nowUs, eventsBeforeUs, batchesBeforeUs }: KeepTask): Promise<Answer<null>> {
  return answer(async () => {
    const { db, partitions } = await database();
    await partitions.keep(nowUs, eventsBeforeUs);
    await db.run(WRITES.forgetBatches, [batchesBeforeUs]);
    return null;
  });
}

export function events(task: WithText<hub.HubEventsTask>): Promise<Answer<Page>> {
  return page(task, EVENT_CURSOR, (reader, after) => reader.events({ ...task, after }));
}

export function results(task: WithText<hub.HubResultsTask>): Promise<Answer<Page>> {
  return page(task, HUB_RESULT_CURSOR, (reader, after) => reader.results({ ...task, after }));
}

export function alerts(task: WithText<hub.HubAlertsTask>): Promise<Answer<Page>> {
  return page(task, HUB_ALERT_CURSOR, (reader, after) => reader.alerts({ ...task, after }));
}

export function devices(task: WithText<hub.HubDevicesTask>): Promise<Answer<Page>> {
  return page(task, DEVICE_CURSOR, (reader, after) => reader.devices({ ...task, after }));
}

export function losses(task: WithText<hub.HubListTask>): Promise<Answer<Page>> {
  return page(task, ID_CURSOR, (reader, after) => reader.losses({ ...task, after }));
}

/** What was booked and what is held, by hours. */
export function audit(task: Omit<HubAuditTask, "afterId">): Promise<Answer<HubSum[]>> {
  return answer(async () => auditPostgres((await database()).db, task));
}

export function parked(task: WithText<ParkedTask>): Promise<Answer<Page>> {
  return page(task, ID_CURSOR, (reader, after) => reader.parked({ ...task, after }));
}

/** Sets a batch aside. False: there is no room. */
export function park({ batch, limits }: ParkTask): Promise<Answer<boolean>> {
  return answer(async () => parkInPostgres((await database()).db, batch, limits));
}

export function parkedTotals(): Promise<Answer<ParkedTotals>> {
  return answer(async () => totalsOfParked((await database()).db));
}

export function nextParked(task: NextParkedTask): Promise<Answer<NextParked | null>> {
  return answer(async () => readNextParked((await database()).db, task));
}

export function settleParked(task: SettleParkedTask): Promise<Answer<null>> {
  return answer(async () => {
    await settleInPostgres((await database()).db, task);
    return null;
  });
}

export function edges(): Promise<Answer<hub.EdgeSummary[]>> {
  return answer(async () => listEdges((await database()).db));
}

export function edge(name: string): Promise<Answer<hub.EdgeDetail | null>> {
  return answer(async () => describeEdge((await database()).db, name));
}

export function knows(task: { readonly stream?: string; readonly query?: string }): Promise<Answer<boolean>> {
  return answer(async () => new PostgresReader((await database()).db).knows(task));
}

export function readRecord({
  kind,
  name,
}: Pick<HubRecord, "kind" | "name">): Promise<Answer<HubRecord | null>> {
  return answer(async () => new PostgresRecords((await database()).db).read(kind, name));
}

export function listRecords(kind: string): Promise<Answer<HubRecord[]>> {
  return answer(async () => new PostgresRecords((await database()).db).list(kind));
}

export function writeRecords(writes: readonly RecordWrite[]): Promise<Answer<boolean>> {
  return answer(async () => new PostgresRecords((await database()).db).write(writes));
}

export async function close(): Promise<void> {
  if (opened !== null) await (await opened).db.close();
  opened = null;
}

/** Reads it all before anything is written, its rows too. Adds the days of its events. */
function readGood(received: ReceivedBatch, limits: ReadLimits, days: Set<number>): GoodBatch {
  const opening = {
    open: (block: Parameters<BlockDecoder["open"]>[0]): OpenedBlock => {
      const found = decoder.open(block);
      if (found.kind === "rows") addDays(found.rows.times, days);
      return found;
    },
  };
  const batch = readBatch(codec, opening, received, limits);
  for (const item of batch.items) {
    if (item.kind === "results") decodeResults(item.ndjson);
    else if (item.kind === "alerts") decodeAlerts(item.ndjson);
    else if (item.kind === "losses") decodeLosses(item.ndjson);
    else if (item.kind === "attributes") decodeAttributes(item.ndjson);
  }
  return { batch, wireBytes: received.body.byteLength };
}

/** Together; or each by itself, when one holds a value that no column takes. */
async function writeGroup(
  batches: readonly GoodBatch[],
  limits: HubAttributeLimits,
): Promise<Answer<Received>[]> {
  if (batches.length === 0) return [];
  try {
    return (await write(batches, limits)).map((value) => ({ value }));
  } catch (cause) {
    if (!isOfData(cause)) throw cause;
    if (batches.length === 1) return [failureOf(new BatchError("E_BATCH_CORRUPT", String(cause)))];
    const answers: Answer<Received>[] = [];
    for (const batch of batches) answers.push(...(await writeGroup([batch], limits)));
    return answers;
  }
}

async function write(batches: readonly GoodBatch[], limits: HubAttributeLimits): Promise<Received[]> {
  const { db } = await database();
  const { answers, found } = await db.transaction(async (session) => {
    const writer = new PostgresBatchWriter(session, events_, known, { nowUs: Date.now() * 1000, limits });
    return { answers: await writer.write(batches), found: writer.found };
  });
  for (const [name, id] of found.streams) known.streams.set(name, id);
  for (const [query, us] of found.spans) known.spans.set(query, us);
  return answers;
}

function page<Cursor>(
  { after, limit }: { readonly after: string | null; readonly limit: number },
  form: CursorForm<Cursor>,
  read: (reader: PostgresReader, after: Cursor | null) => Promise<TaskPage<Cursor>>,
): Promise<Answer<Page>> {
  return answer(async () => {
    if (!(limit >= 1)) throw new MillraceError("E_LIMIT", `limit is ${limit}; a page has at least one row`);
    const behind = after === null ? null : form.decode(after);
    const { ndjson, next, skippedBlocks } = await read(new PostgresReader((await database()).db), behind);
    return { ndjson, next: next === null ? null : form.encode(next), skippedBlocks };
  });
}

async function answer<T>(run: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await run() };
  } catch (cause) {
    return failureOf(cause);
  }
}

function failureOf(cause: unknown): StoreFailure {
  const { code, message } = explainPostgres(cause, placeForPeople());
  return { failure: { code, message } };
}

function placeForPeople(): string {
  return URL.canParse(url) ? `${new URL(url).host}${new URL(url).pathname}` : "store.postgres";
}
