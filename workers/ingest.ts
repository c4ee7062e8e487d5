import { gunzipSync } from "node:zlib";
import { createEventFilter, type EventFilter } from "./alert/event-filter.ts";
import { partialIdOf } from "./alert/event-rows.ts";
import { BlockPacker, packWhole } from "./block-packer.ts";
import { type BatchHandle, encodeBatch, encodeRows, readHeader } from "./core/codec.ts";
import { packedSums } from "./core/event-sums.ts";
import { withExpressions } from "./core/expression.ts";
import { type CoreModule, instantiateCore } from "./core/module.ts";
import { createParser, type Parser } from "./core/parse.ts";
import { batchTimeRange, countNulls, maskSkewed } from "./core/rows.ts";
import {
  createSummarizer,
  FULL_SUMMARY,
  REPORT_SUMMARY,
  type SourceSummarizer,
} from "./core/source-clocks.ts";
import { Tables } from "./core/tables.ts";
import { createLocal, type LocalAggregator } from "./core/window.ts";
import { MillraceError } from "./errors.ts";
import { fieldsRead } from "./fields-read.ts";
import type {
  AggregatedBlock,
  BodyOutcome,
  FormerQueries,
  IngestBody,
  IngestResult,
  IngestTask,
  LateEvents,
  LateTask,
  PackedTask,
  QueryPartial,
  ReplayRun,
  ReplayTask,
  RunsTask,
  StoredBlock,
  StreamSetup,
  TableData,
} from "./messages.ts";
import { moveWith, release, releaseBytes } from "./move.ts";
import { type PackedResult, packOutcomes, unpackBodies } from "./packed-bodies.ts";
import { ReplayDecoder } from "./replay-decoder.ts";
import { callServer } from "./serve-calls.ts";
import { packLateRows } from "./store/late-rows.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("ingest");

export const serve = callServer(import.meta.url);

/** One stream as this thread knows it. */
interface LocalStream {
  readonly parser: Parser;
  readonly summarizer: SourceSummarizer;
  readonly packer: BlockPacker;
  readonly locals: readonly { readonly queryId: number; readonly local: LocalAggregator }[];
  readonly filters: readonly { readonly queryId: number; readonly filter: EventFilter }[];
  /** Those that replays need; null: all of them. */
  readonly fields: readonly string[] | null;
  /** Those that expressions of queries read. */
  readonly inputs: readonly string[];
}

let core: CoreModule = instantiateCore();
const streams = new Map<string, LocalStream>();
let tables = new Tables(core);
const codec = await portableCodec();
let decoder: ReplayDecoder | null = null;

/** What a lane may ask for. */
export type LaneTask =
  | { readonly name: "ready"; readonly task: null }
  | { readonly name: "ingest"; readonly task: IngestTask }
  | { readonly name: "ingestPacked"; readonly task: PackedTask }
  | { readonly name: "replay"; readonly task: ReplayTask }
  | { readonly name: "replayRuns"; readonly task: RunsTask }
  | { readonly name: "extractLate"; readonly task: LateTask }
  | { readonly name: "loadTable"; readonly task: TableData };

/** Runs a lane's tasks: by one name, so that their types go with them. */
export function run({ name, task }: LaneTask): unknown {
  switch (name) {
    case "ready":
      return null;
    case "ingest":
      return ingest(task);
    case "ingestPacked":
      return ingestPacked(task);
    case "replay":
      return replay(task);
    case "replayRuns":
      return replayRuns(task);
    case "extractLate":
      return extractLate(task);
    case "loadTable":
      return loadTable(task);
  }
}

/** Parses bodies of one stream into one block and its partial aggregates. Nothing is durable yet. */
export function ingest(task: IngestTask): IngestResult {
  return withCore(() => {
    const result = ingestBodies(task);
    return moveWith(result, buffersOfResult(result));
  });
}

/** `ingest` of packed bodies; their outcomes are packed too. */
function ingestPacked(task: PackedTask): PackedResult {
  return withCore(() => {
    const { outcomes, ...result } = ingestBodies({ ...task, bodies: unpackBodies(task) });
    release(task.bodies.buffer);
    const packed = packOutcomes(outcomes);
    return moveWith({ ...result, packed }, [...buffersOfResult(result), packed.accepted.buffer]);
  });
}

function ingestBodies(task: IngestTask): IngestResult {
  const stream = streamOf(task.stream, task.setup);
  const started = process.hrtime.bigint();
  stream.parser.begin(task.arrivalUs);
  const outcomes = task.bodies.map((body) => parseBody(stream.parser, body, task.maxBodyBytes));
  for (const { body } of task.bodies) releaseBytes(body);
  const batch = stream.parser.finish();
  const parsed = process.hrtime.bigint();
  const range = batchTimeRange(core, batch);
  if (range.rows === 0) {
    const stages = { parseNs: Number(parsed - started), applyNs: 0, encodeNs: 0, compressNs: 0 };
    const nothing = { partials: [], maxEventUs: null, skewedCount: 0, sources: null, timeSources: [] };
    return { outcomes, block: null, skewed: null, ...nothing, stages };
  }
  const partials = aggregate(stream, batch);
  const sources = stream.summarizer.summarize(batch, task.arrivalUs);
  const timeSources = stream.parser.timeSources();
  const applied = process.hrtime.bigint();
  const encoded = encodeBatch(core, batch, { stream: task.stream });
  const sums = task.isSummed === true ? packedSums(core, batch) : null;
  const skewedBytes =
    range.skewedCount > 0 ? encodeRows(core, batch, task.stream, maskSkewed(core, batch)) : null;
  const encodedAt = process.hrtime.bigint();
  const stored = store(encoded, stream.packer);
  const block = sums === null ? stored : { ...stored, sums };
  const skewed = skewedBytes === null ? null : store(skewedBytes, null);
  const stages = {
    parseNs: Number(parsed - started),
    applyNs: Number(applied - parsed),
    encodeNs: Number(encodedAt - applied),
    compressNs: Number(process.hrtime.bigint() - encodedAt),
  };
  const { maxEventUs, skewedCount } = range;
  return { outcomes, block, skewed, partials, maxEventUs, skewedCount, sources, timeSources, stages };
}

function buffersOfResult({
  block,
  skewed,
  partials,
  sources,
}: Omit<IngestResult, "outcomes">): ArrayBuffer[] {
  const views = [block?.data, skewed?.data, sources].filter((view) => view != null);
  return [...buffersOf(partials), ...views.map(({ buffer }) => buffer)];
}

/** Rebuilds the partial aggregates of a stored block through the same code as when it was new. */
export function replay(task: ReplayTask): AggregatedBlock {
  return withCore(() => {
    const stream = streamOf(task.stream, task.setup);
    const aggregated = aggregateBlock(stream, task.block, task.arrivalUs);
    return moveWith(aggregated, buffersOfBlock(aggregated));
  });
}

/** The same of several runs; null for one of several blocks that are not what they were told to be, or do not go together. */
export function replayRuns(task: RunsTask): (AggregatedBlock | null)[] {
  return withCore(() => {
    const stream = streamOf(task.stream, task.setup);
    const aggregated = task.runs.map((run) => {
      const [block, ...others] = run.blocks;
      return block !== undefined && others.length === 0
        ? aggregateBlock(stream, block, run.arrivalsUs[0]!)
        : aggregateRun(stream, run);
    });
    return moveWith(
      aggregated,
      aggregated.flatMap((each) => (each === null ? [] : buffersOfBlock(each))),
    );
  });
}

function aggregateBlock(stream: LocalStream, block: StoredBlock, arrivalUs: number): AggregatedBlock {
  const batch = decodeStored(block, stream.fields);
  const { maxEventUs, skewedCount } = batchTimeRange(core, batch);
  const partials = aggregate(stream, batch);
  const sources = stream.summarizer.summarize(batch, arrivalUs);
  return { partials, maxEventUs, skewedCount, sources };
}

function aggregateRun(stream: LocalStream, { blocks, arrivalsUs }: ReplayRun): AggregatedBlock | null {
  const batch = replayDecoder().decodeRun(blocks, inflate, stream.fields);
  if (batch === null) return null;
  const { rows, maxEventUs, skewedCount } = batchTimeRange(core, batch);
  // What an expression comes to may depend on whether a field has any value.
  for (const name of stream.inputs) {
    const nulls = countNulls(core, batch, name);
    if (nulls > 0 && nulls < rows) return null;
  }
  const partials = aggregate(stream, batch);
  const parts = blocks.map(({ count }, index) => ({ count, arrivalUs: arrivalsUs[index]! }));
  return { partials, maxEventUs, skewedCount, sources: stream.summarizer.summarizeParts(batch, parts) };
}

function buffersOfBlock({ partials, sources }: AggregatedBlock): ArrayBuffer[] {
  return sources === null ? buffersOf(partials) : [...buffersOf(partials), sources.buffer];
}

/** The block of those events of a stored block that fell into closed windows. */
export function extractLate(task: LateTask): LateEvents | null {
  return withCore(() => extractGroups(task));
}

function extractGroups(task: LateTask): LateEvents | null {
  const stream = streamOf(task.stream, task.setup);
  const locals = task.former === null ? stream.locals : formerLocals(task.former);
  const batch = decodeStored(task.block);
  const mask = new Uint8Array(batchTimeRange(core, batch).rows);
  for (const { queryId, lateGroups } of task.groups) {
    const entry = locals.find((candidate) => candidate.queryId === queryId);
    if (entry === undefined) continue;
    const rows = entry.local.maskLate(batch, lateGroups);
    for (let row = 0; row < mask.length; row++) mask[row] = (mask[row] ?? 0) | (rows[row] ?? 0);
  }
  if (task.former !== null) for (const { local } of locals) local.dispose();
  if (!mask.includes(1)) return null;
  return {
    block: store(encodeRows(core, batch, task.stream, mask), null),
    rows: packLateRows(mask),
  };
}

/** For one block alone, with tables of their own. */
function formerLocals(former: FormerQueries): LocalStream["locals"] {
  const own = new Tables(core);
  for (const table of former.tables) own.load(table);
  return former.queries.map((query) => {
    const local = withExpressions(core, query, createLocal(core, query), own);
    const dispose = (): void => {
      local.dispose();
      own.dispose();
    };
    return { queryId: query.id, local: { ...local, dispose } };
  });
}

/**
 * Runs a task. After a trap the core's memory cannot be trusted: a new one takes its place, every table is to be loaded and
 * every stream to be set up again.
 */
function withCore<T>(task: () => T): T {
  try {
    return task();
  } catch (cause) {
    if (!(cause instanceof MillraceError)) {
      core = instantiateCore();
      streams.clear();
      tables = new Tables(core);
      decoder = null;
    }
    throw cause;
  }
}

/** Makes a reference table known, or puts it in the place of the one before. */
export function loadTable(data: TableData): void {
  withCore(() => tables.load(data));
}

function streamOf(name: string, setup: StreamSetup | null): LocalStream {
  const known = streams.get(name);
  if (setup === null) {
    if (known === undefined)
      throw new MillraceError("E_UNKNOWN_STREAM", `stream ${name} was never set up here`);
    return known;
  }
  if (known !== undefined) {
    known.parser.dispose();
    known.summarizer.dispose();
    for (const { local } of known.locals) local.dispose();
    for (const { filter } of known.filters) filter.dispose();
  }
  const parser = createParser(core, setup.plan);
  parser.setSchema(setup.schema);
  const locals = setup.queries.map((query) => ({
    queryId: query.id,
    local: withExpressions(core, query, createLocal(core, query), tables),
  }));
  const extent = setup.isPerSource ? FULL_SUMMARY : REPORT_SUMMARY;
  const summarizer = createSummarizer(core, setup.plan.key, extent);
  const filters = (setup.alerts ?? []).map((alert) => ({
    queryId: partialIdOf(alert),
    filter: createEventFilter(core, alert, tables),
  }));
  const inputs = setup.queries.flatMap(({ expressions }) => expressions?.inputs ?? []);
  const packer = known?.packer ?? new BlockPacker(codec);
  const stream = { parser, summarizer, packer, locals, filters, fields: fieldsRead(setup), inputs };
  streams.set(name, stream);
  return stream;
}

function parseBody(parser: Parser, body: IngestBody, maxBytes: number): BodyOutcome {
  const bytes = decompress(body, maxBytes);
  if (!(bytes instanceof Uint8Array)) return bytes;
  const { accepted, bad, errors } = parser.parse(body.format, bytes);
  if (body.encoding === "zstd") release(bytes.buffer);
  else releaseBytes(bytes);
  return { kind: "parsed", accepted, bad, errors };
}

/** The body's bytes; never more than `maxBytes` of them are made, whatever the compressed data claims. */
function decompress(body: IngestBody, maxBytes: number): Uint8Array<ArrayBuffer> | BodyOutcome {
  const bytes = body.body;
  try {
    switch (body.encoding) {
      case "identity":
        return bytes.length > maxBytes ? { kind: "too-large" } : bytes;
      case "gzip":
        return gunzipSync(bytes, { maxOutputLength: maxBytes });
      case "zstd":
        return codec.decompress(bytes, maxBytes);
    }
  } catch (cause) {
    if (isTooLarge(cause)) return { kind: "too-large" };
    return { kind: "bad-encoding", detail: cause instanceof Error ? cause.message : String(cause) };
  }
}

function isTooLarge(cause: unknown): boolean {
  if (!(cause instanceof Error) || !("code" in cause)) return false;
  return cause.code === "ERR_BUFFER_TOO_LARGE" || cause.code === "E_TOO_LARGE";
}

function aggregate(stream: LocalStream, batch: BatchHandle): QueryPartial[] {
  const ofQueries = stream.locals.map(({ queryId, local }) => ({
    queryId,
    bytes: local.aggregate(batch) as Uint8Array<ArrayBuffer>,
  }));
  return ofQueries.concat(
    stream.filters.map(({ queryId, filter }) => ({ queryId, bytes: filter.scan(batch) })),
  );
}

function buffersOf(partials: readonly QueryPartial[]): ArrayBuffer[] {
  return partials.map((partial) => partial.bytes.buffer);
}

/** `packer`: that of the stream; null for a block that is no part of its log. */
function store(encoded: Uint8Array<ArrayBuffer>, packer: BlockPacker | null): StoredBlock {
  const header = readHeader(encoded);
  const packed = packer === null ? packWhole(codec, encoded) : packer.pack(encoded, header);
  const encodedBytes = encoded.length;
  const data = packed ?? encoded;
  if (packed !== null) release(encoded.buffer);
  return {
    data,
    codec: packed === null ? "none" : "zstd",
    encodedBytes,
    count: header.count,
    minUs: Number(header.minUs),
    maxUs: Number(header.maxUs),
    schema: JSON.stringify(header.schema),
  };
}

/** With all columns, or with those of some fields. */
function decodeStored(block: StoredBlock, fields: readonly string[] | null = null): BatchHandle {
  const bytes = inflate(block);
  const batch = replayDecoder().decode(bytes, fields);
  if (bytes !== block.data) release(bytes.buffer);
  return batch;
}

function replayDecoder(): ReplayDecoder {
  decoder ??= new ReplayDecoder(core);
  return decoder;
}

function inflate(block: StoredBlock): Uint8Array<ArrayBuffer> {
  return block.codec === "zstd" ? codec.decompress(block.data, block.encodedBytes) : block.data;
}
