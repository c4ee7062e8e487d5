import type { StandingAlert } from "./alert/standing.ts";
import { StreamAlerts } from "./alert/stream-alerts.ts";
import type { Frame } from "./checkpoint-frames.ts";
import type { CheckpointStep } from "./checkpoint-pieces.ts";
import type { CaptureKind } from "./core/capture.ts";
import { withExpressions } from "./core/expression.ts";
import { keepHaving } from "./core/having.ts";
import type { KeySizes } from "./core/key-sizes.ts";
import { isKeyed } from "./core/keyed-plan.ts";
import { type CoreModule, instantiateCore } from "./core/module.ts";
import { type Portion, packedAtOnce, RESULT_PORTION } from "./core/portion.ts";
import { batchTimeRange } from "./core/rows.ts";
import { createSourceClocks, type SourceClock, type SourceClocks } from "./core/source-clocks.ts";
import { Tables } from "./core/tables.ts";
import { explainTrap } from "./core/trap.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "./core/window.ts";
import { Fired, portionOf } from "./fired.ts";
import type {
  AlertRow,
  AlertStats,
  Applied,
  ApplyEntry,
  ApplyResult,
  LateGroups,
  QueryPlan,
  ResultRow,
  SkewedDevice,
  StoredBlock,
  TakenResults,
  WindowSetup,
  WindowStats,
} from "./messages.ts";
import { moveWith, release } from "./move.ts";
import type { Closing } from "./query/corrected-query.ts";
import type { Downsampling, MergeTask, QueryFailure, TakenBlocks } from "./query/tasks.ts";
import { ResultStream } from "./result-stream.ts";
import { callServer } from "./serve-calls.ts";
import { MergeWatch } from "./stage-times.ts";
import { nameThread } from "./thread-name.ts";
import { WindowCheckpoints } from "./window-checkpoints.ts";

nameThread("window");
export const serve = callServer(import.meta.url);

/** No event has been seen: below every event time. */
const BEFORE_ALL_TIME = -(2n ** 63n);

export interface QueryWindows {
  readonly plan: QueryPlan;
  /** Windows that start before it give no results: the stream was there before the query. */
  sinceUs: number | null;
  readonly windows: Windows;
  /** Over the results of another query: these are aggregated here, not in a lane. */
  readonly local: LocalAggregator | null;
}

/** Where the stream's events are results of a query. */
interface ResultSource {
  readonly queryId: number;
  readonly latenessUs: bigint;
  readonly rows: ResultStream;
}

/** One stream's clock and its queries' windows. Invariant: `watermarkUs` never goes back. */
export interface StreamWindows {
  readonly name: string;
  boundUs: bigint;
  /** Keys have clocks of their own: `watermarkUs` is what was said of the stream as a whole. */
  isPerKey: boolean;
  watermarkUs: bigint;
  maxEventUs: bigint;
  isPerSource: boolean;
  clocks: SourceClocks;
  key: readonly string[];
  /** Clock-skewed events when devices with skewed clocks were last named. */
  namedSkew: number;
  queries: QueryWindows[];
  readonly results: ResultSource | null;
  readonly alerts: StreamAlerts;
}

const core: CoreModule = instantiateCore();
const streams = new Map<string, StreamWindows>();
/** Events get theirs in the lanes; results have none. */
const noTables = new Tables(core);
/** Streams of results, by the query that they are of. */
const resultStreams = new Map<number, string>();
let appliedSeq = 0;

/** Makes streams and queries known. A query that is already there keeps its windows. */
export function configure(setups: readonly WindowSetup[]): void {
  for (const setup of setups) {
    forgetOtherResults(setup);
    if (setup.results !== undefined) resultStreams.set(setup.results.queryId, setup.stream);
    const stream = streams.get(setup.stream) ?? {
      name: setup.stream,
      boundUs: 0n,
      isPerKey: false,
      watermarkUs: BEFORE_ALL_TIME,
      maxEventUs: BEFORE_ALL_TIME,
      isPerSource: false,
      clocks: createSourceClocks(core, setup.key),
      key: setup.key,
      namedSkew: 0,
      queries: [],
      results: sourceOfResults(setup),
      alerts: new StreamAlerts(core),
    };
    const { boundUs, idleUs, maxSources } = setup;
    stream.boundUs = BigInt(boundUs);
    stream.isPerSource = setup.per === "source";
    if (String(stream.key) !== String(setup.key)) {
      // The clocks of other sources: they begin anew, and the watermark stays where it is.
      stream.clocks.dispose();
      stream.clocks = createSourceClocks(core, setup.key);
      stream.key = setup.key;
      stream.namedSkew = 0;
    }
    stream.clocks.configure({ boundUs, idleUs, maxSources, isPerSource: stream.isPerSource });
    stream.isPerKey = setup.per === "key";
    const before = stream.queries;
    stream.queries = setup.queries.map(
      (plan) =>
        before.find((query) => query.plan.id === plan.id) ?? {
          plan,
          sinceUs: wholeFrom(stream),
          windows: keepHaving(core, plan, createWindows(core, plan)),
          local:
            stream.results === null ? null : withExpressions(core, plan, createLocal(core, plan), noTables),
        },
    );
    stream.alerts.configure(setup.alerts ?? [], setup.queries);
    for (const query of before) if (!stream.queries.includes(query)) query.windows.dispose();
    streams.set(setup.stream, stream);
  }
}

/** Alerts stand as they were told: what is applied may lack some of what they came of. */
export function standAs(standing: readonly StandingAlert[]): void {
  for (const { alerts } of streams.values()) alerts.standAs(standing);
}

/** Windows that start before a time give no more results. */
export function closeBefore(queries: readonly { queryId: number; sinceUs: number }[]): void {
  for (const { queryId, sinceUs } of queries) {
    for (const stream of streams.values())
      for (const query of stream.queries) if (query.plan.id === queryId) query.sinceUs = sinceUs;
  }
}

/** Where a query's windows begin to be whole; null: they all are. */
function wholeFrom({ maxEventUs, results }: StreamWindows): number | null {
  if (maxEventUs !== BEFORE_ALL_TIME) return Number(maxEventUs) + 1;
  if (results === null) return null;
  // Results up to the newest event may have been given before.
  const below = [...streams.values()].find(({ queries }) =>
    queries.some(({ plan }) => plan.id === results.queryId),
  );
  return below === undefined ? null : wholeFrom(below);
}

/** Results of a definition that is no more are not those of the one that has the name now. */
function forgetOtherResults({ stream: name, results }: WindowSetup): void {
  const stream = streams.get(name);
  if (stream === undefined || stream.results?.queryId === results?.queryId) return;
  forget(stream);
}

function forget(stream: StreamWindows): void {
  for (const { windows } of stream.queries) windows.dispose();
  stream.clocks.dispose();
  if (stream.results !== null) resultStreams.delete(stream.results.queryId);
  streams.delete(stream.name);
}

function sourceOfResults({ results }: WindowSetup): ResultSource | null {
  if (results === undefined) return null;
  const { queryId, latenessUs } = results;
  return { queryId, latenessUs: BigInt(latenessUs), rows: new ResultStream(core, results) };
}

/** The queries of an entry of the log take the place of those before it; a kept one keeps its windows. */
function* reconfigure(
  { setups, takeovers }: ApplyEntry & { kind: "config" },
  fired: Fired,
  touched: Set<string>,
): Generator<void> {
  const named = new Set(setups.map(({ stream }) => stream));
  for (const stream of [...streams.values()]) if (!named.has(stream.name)) forget(stream);
  configure(setups);
  const queries = [...streams.values()].flatMap((stream) =>
    stream.queries.map((query) => ({ stream, query })),
  );
  for (const { queryId, sinceUs, state, results } of takeovers) {
    const found = queries.find(({ query }) => query.plan.id === queryId);
    if (found === undefined) continue;
    if (results !== undefined) adoptResults(found.stream, results);
    found.query.windows.restore(state);
    found.query.sinceUs = sinceUs;
    yield* fire(found.stream, fired, touched);
  }
}

/** The same where the stream was there before: what it has is among what is stored. */
function adoptResults(stream: StreamWindows, { waiting, finalUs }: TakenResults): void {
  stream.results?.rows.restore(new TextEncoder().encode(waiting));
  if (finalUs !== null) stream.watermarkUs = max(stream.watermarkUs, BigInt(finalUs));
}

/** Results of windows that had all their events; those that began before the query could not. */
function whole({ sinceUs }: QueryWindows, rows: readonly ResultRow[]): readonly ResultRow[] {
  return sinceUs === null || rows.length === 0 ? rows : rows.filter(({ startUs }) => startUs >= sinceUs);
}

/** The entries that are being applied, while what came of them is handed over in portions. */
let steps: Generator<Applied, Applied> | null = null;
const watch = new MergeWatch();

/**
 * Begins to apply entries. While the answer says that there is more, `resume` gives it; until then, nothing else may be
 * applied, saved or restored.
 */
export function apply(entries: readonly ApplyEntry[], portion: Portion = RESULT_PORTION): ApplyResult {
  steps = applySteps(entries, portion);
  return resume();
}

/** The next portion of what came of the entries. */
export function resume(): ApplyResult {
  if (steps === null) throw new Error("there is nothing more of the entries");
  watch.begin();
  const current = steps;
  // What fails is not gone on with.
  steps = null;
  const { done, value } = stepOf(current);
  if (done !== true) steps = current;
  return { ...value, ...watch.end() };
}

/** `apply` for another thread, to which the rows move. */
export function applyAndMove(entries: readonly ApplyEntry[]): ApplyResult {
  return moveRows(apply(entries));
}

export function resumeAndMove(): ApplyResult {
  return moveRows(resume());
}

function moveRows(result: ApplyResult): ApplyResult {
  return moveWith(
    result,
    result.rows.map(({ bytes }) => bytes.buffer),
  );
}

function stepOf(entries: NonNullable<typeof steps>): IteratorResult<Applied, Applied> {
  try {
    return entries.next();
  } catch (cause) {
    throw explainTrap(core, cause);
  }
}

/**
 * Applies committed log entries in the order of their seq. A block's partials are merged under the watermark
 * as it was before the block; then the watermark moves, and windows fire. So the outcome depends on the
 * log alone, and a replay of the log repeats it exactly.
 */
function* applySteps(entries: readonly ApplyEntry[], portion: Portion): Generator<Applied, Applied> {
  const fired = new Fired(portion);
  const late: LateGroups[] = [];
  const touched = new Set<string>();
  for (const entry of entries) {
    fired.alertsAt(entry.seq);
    if (entry.kind === "config") {
      for (const _full of reconfigure(entry, fired, touched)) yield portionOf(fired, late);
      for (const name of streams.keys()) touched.add(name);
      appliedSeq = entry.seq;
      continue;
    }
    const stream = streams.get(entry.stream);
    if (stream !== undefined) {
      if (entry.kind === "block") watch.merging(() => mergeBlock(stream, entry, late, fired.alerts));
      else if (entry.kind === "tick") {
        stream.clocks.tick(entry.atUs, entry.isResume);
        moveWatermark(stream);
      } else stream.watermarkUs = max(stream.watermarkUs, explicitWatermark(stream, entry.timeUs));
      touched.add(entry.stream);
      const isEnd = entry.kind === "watermark" && entry.timeUs === "end";
      for (const _full of isEnd ? fireToEnd(stream, fired, touched) : fire(stream, fired, touched))
        yield portionOf(fired, late);
    }
    appliedSeq = entry.seq;
  }
  return {
    ...fired.take(),
    late,
    watermarks: [...touched].map(clockOf),
    stats: [...touched].flatMap(statsOf),
    alerts: fired.takeAlerts(),
    alertStats: [...touched].flatMap(alertStatsOf),
    hasMore: false,
  };
}

/**
 * Lets the stream's windows fire, and then those over their results, which follow its watermark. Yields whenever what has
 * fired is to be handed over.
 */
function* fire(stream: StreamWindows, fired: Fired, touched: Set<string>): Generator<void> {
  for (const query of stream.queries) {
    const { plan, windows } = query;
    const results = streams.get(resultStreams.get(plan.id) ?? "");
    const finalUs =
      results?.results == null || stream.watermarkUs === BEFORE_ALL_TIME
        ? null
        : stream.watermarkUs - results.results.latenessUs;
    let passedUs = BEFORE_ALL_TIME;
    // Rows of windows of a key come in no order of time: alerts take those that fire together at once.
    const together: ResultRow[] | null = isKeyed(plan) && stream.alerts.areOver(plan.name) ? [] : null;
    const atOnce = results?.results == null ? packedAtOnce(fired.portion) : fired.portion;
    for (const portion of windows.portions(stream.watermarkUs, atOnce)) {
      const rows = whole(query, portion);
      fired.add(plan.id, rows);
      if (together === null) stream.alerts.takeResults(plan.name, rows, stream.watermarkUs, fired.alerts);
      else for (const row of rows) together.push(row);
      if (results?.results != null) {
        // Before the next portion: rows that are final need not wait for those that come.
        if (finalUs !== null && passedUs > results.watermarkUs)
          mergeResults(results, passedUs < finalUs ? passedUs : finalUs);
        results.results.rows.take(rows);
        if (!isKeyed(plan)) passedUs = max(passedUs, endedBefore(rows));
      }
      if (fired.isFull) yield;
    }
    const outgrown = windows.lastOutgrown?.() ?? [];
    stream.alerts.keepOpen(plan.name, outgrown);
    if (together !== null) stream.alerts.takeResults(plan.name, together, stream.watermarkUs, fired.alerts);
    results?.results?.rows.withdraw(outgrown);
    if (results === undefined || finalUs === null || finalUs <= results.watermarkUs) continue;
    mergeResults(results, finalUs);
    results.watermarkUs = finalUs;
    touched.add(results.name);
    yield* fire(results, fired, touched);
  }
}

/** Windows that end by then have given all their rows, when those are the last: windows give theirs in the order of their ends. */
function endedBefore(rows: readonly ResultRow[]): bigint {
  const last = rows.findLast(({ kind }) => kind !== "early");
  return last === undefined ? BEFORE_ALL_TIME : BigInt(last.endUs) - 1n;
}

/** Takes in the rows that are final, none of which is late: their windows ended after the watermark. */
function mergeResults(stream: StreamWindows, finalUs: bigint): void {
  for (const batch of stream.results?.rows.release(finalUs) ?? []) {
    for (const { windows, local } of stream.queries) {
      if (local !== null) windows.merge(local.aggregate(batch), stream.watermarkUs);
    }
    const { maxEventUs } = batchTimeRange(core, batch);
    if (maxEventUs !== null) stream.maxEventUs = max(stream.maxEventUs, BigInt(maxEventUs));
  }
}

/** At the end of a stream its watermark goes on until the windows over its results are closed too. */
function* fireToEnd(stream: StreamWindows, fired: Fired, touched: Set<string>): Generator<void> {
  yield* fire(stream, fired, touched);
  for (let endUs = lastResultEnd(stream); endUs > stream.watermarkUs; endUs = lastResultEnd(stream)) {
    stream.watermarkUs = endUs;
    yield* fire(stream, fired, touched);
  }
}

/** The watermark from which on all results, and the windows over them, are final; the least time when there are none. */
function lastResultEnd(stream: StreamWindows): bigint {
  let lastUs = BEFORE_ALL_TIME;
  for (const { plan } of stream.queries) {
    const above = streams.get(resultStreams.get(plan.id) ?? "");
    if (above?.results == null) continue;
    const ends = [
      above.results.rows.lastEndUs(),
      ...above.queries.map(({ windows }) => windows.lastEndUs()),
      lastResultEnd(above),
    ];
    for (const end of ends) {
      if (end === null || end === BEFORE_ALL_TIME) continue;
      lastUs = max(lastUs, BigInt(end) + above.results.latenessUs);
    }
  }
  return lastUs;
}

const checkpoints = new WindowCheckpoints(streams);

/**
 * Begins a checkpoint of the state up to the last applied entry, which `nextPieces` then tells while entries go on; but for
 * changes of the queries, which must wait. `kind`: all of the state, or what has changed since the checkpoint before.
 */
export function beginCheckpoint(kind: CaptureKind): { readonly seq: number; readonly heldMs: number } {
  return { seq: appliedSeq, ...checkpoints.begin(kind) };
}

/** Goes on with the checkpoint that has begun. */
export function nextPieces(): CheckpointStep {
  const step = checkpoints.next();
  return moveWith(
    step,
    step.frames.map(({ buffer }) => buffer),
  );
}

/** Restores a whole checkpoint into the configured streams; the windows of a query whose definition changed start empty. */
export function restore(checkpoint: { readonly seq: number; readonly state: Uint8Array }): readonly string[] {
  const changed = checkpoints.restore(checkpoint.state);
  appliedSeq = checkpoint.seq;
  return changed;
}

/** Begins to restore a checkpoint in pieces: the head of each of its segments; `adopt` then takes the pieces. */
export function beginRestore(heads: readonly Uint8Array[]): readonly string[] {
  return checkpoints.beginRestore(heads);
}

/** `segment`: its number among the heads, which does not go back. */
export function adopt(task: { readonly segment: number; readonly frames: readonly Frame[] }): void {
  checkpoints.adopt(task.segment, task.frames);
}

/** All pieces are there. */
export function endRestore(seq: number): void {
  checkpoints.endRestore();
  appliedSeq = seq;
}

/** The clocks and sizes of every stream, for status after a restore. */
export function describe(): Pick<ApplyResult, "watermarks" | "stats" | "alertStats"> {
  const names = [...streams.keys()];
  return {
    watermarks: names.map(clockOf),
    stats: names.flatMap(statsOf),
    alertStats: names.flatMap(alertStatsOf),
  };
}

/** The keys of a query that take most memory, a part of them at a time. */
export function largestKeys(task: { queryId: number; from: number; limit: number }): KeySizes {
  const queries = [...streams.values()].flatMap((stream) => stream.queries);
  const query = queries.find(({ plan }) => plan.id === task.queryId);
  return query?.windows.largestKeys(task.from, task.limit) ?? { largest: [], next: null };
}

/** The streams where a tick at that time would move the watermark, since sources that hold it back are idle by then. */
export function idleStreams(nowUs: number): readonly string[] {
  return [...streams].flatMap(([name, { clocks, watermarkUs }]) =>
    clocks.wouldMove(nowUs, watermarkUs) ? [name] : [],
  );
}

/** What `clocks` tells of a stream's sources. */
export interface ClockReport {
  readonly sources: ApplyResult["watermarks"][number]["sources"];
  /** The device that holds the watermark back; undefined when none does. */
  readonly slowest: string | null | undefined;
  /** Those whose clocks are furthest ahead first. */
  readonly devices: readonly SourceClock[];
}

/** The skew report: null when there is no such stream. */
export function clocks(task: { readonly stream: string; readonly limit: number }): ClockReport | null {
  const stream = streams.get(task.stream);
  if (stream === undefined) return null;
  const devices = stream.clocks.furthestAhead(task.limit);
  return { sources: sourcesOf(stream), slowest: stream.clocks.slowest(), devices };
}

/** Up to where the windows of queries are closed; a query that is not there has none that are. */
export function closings(
  asked: readonly { readonly queryId: number; readonly keys: readonly Uint8Array[] | null }[],
): readonly Closing[] {
  const open: Closing = { watermarkUs: null, sinceUs: null, keyClocks: null };
  return asked.map(({ queryId, keys }) => {
    const stream = [...streams.values()].find(({ queries }) =>
      queries.some(({ plan }) => plan.id === queryId),
    );
    const query = stream?.queries.find(({ plan }) => plan.id === queryId);
    if (stream === undefined || query === undefined) return open;
    const { windows, sinceUs } = query;
    const clockOf = (key: Uint8Array): number | null => {
      const clock = windows.clockUs?.(key) ?? null;
      return clock === null ? null : Number(clock);
    };
    const keyClocks =
      keys === null ? null : new Map(keys.map((key) => [Buffer.from(key).toString("latin1"), clockOf(key)]));
    return { watermarkUs: known(stream.watermarkUs), sinceUs, keyClocks };
  });
}

/** One block of several, which is no work of windows: loaded by nodes that have small blocks to merge. */
export async function merge(task: MergeTask): Promise<StoredBlock | QueryFailure> {
  const { mergeBlocks } = await import("./merge-blocks.ts");
  return mergeBlocks(task);
}

/** One block of aggregates of several, in steps between which entries are applied. */
export async function beginDownsampling(task: Downsampling): Promise<null | QueryFailure> {
  return (await import("./merge-blocks.ts")).beginDownsampling(task);
}

export async function addToDownsampling(blocks: readonly StoredBlock[]): Promise<TakenBlocks | QueryFailure> {
  return (await import("./merge-blocks.ts")).addToDownsampling(blocks);
}

export async function writeDownsampling(): Promise<null | QueryFailure> {
  return (await import("./merge-blocks.ts")).writeDownsampling();
}

export async function endDownsampling(): Promise<StoredBlock | QueryFailure> {
  return (await import("./merge-blocks.ts")).endDownsampling();
}

/** Counts results that were corrected afterwards for the alerts over them: what these told is settled. */
export function ignoreRevisions(
  rows: readonly { readonly query: string; readonly count: number }[],
): readonly AlertStats[] {
  for (const { query, count } of rows)
    for (const { alerts } of streams.values()) alerts.ignoreRevisions(query, count);
  return [...streams.keys()].flatMap(alertStatsOf);
}

function known(us: bigint | undefined): number | null {
  return us === undefined || us === BEFORE_ALL_TIME ? null : Number(us);
}

function mergeBlock(
  stream: StreamWindows,
  entry: ApplyEntry & { kind: "block" },
  late: LateGroups[],
  alerts: AlertRow[],
): void {
  const groups: { queryId: number; lateGroups: Uint8Array<ArrayBuffer> }[] = [];
  for (const { queryId, bytes } of entry.partials) {
    const query = stream.queries.find((candidate) => candidate.plan.id === queryId);
    if (query === undefined) {
      stream.alerts.takeEvents(queryId, bytes, entry.seq, alerts);
      release(bytes.buffer);
      continue;
    }
    const { lateGroups } = query.windows.merge(bytes, stream.watermarkUs);
    release(bytes.buffer);
    if (lateGroups !== null) groups.push({ queryId, lateGroups: lateGroups as Uint8Array<ArrayBuffer> });
  }
  if (groups.length > 0) late.push({ seq: entry.seq, stream: entry.stream, groups });
  if (entry.sources !== null) {
    stream.clocks.merge(entry.sources, entry.arrivalUs, stream.watermarkUs);
    release(entry.sources.buffer);
  }
  if (entry.maxEventUs !== null) stream.maxEventUs = max(stream.maxEventUs, BigInt(entry.maxEventUs));
  moveWatermark(stream);
}

/** To where the clocks allow it, and never back. Where keys have clocks of their own, events move no clock of the stream. */
function moveWatermark(stream: StreamWindows): void {
  const { isPerSource, isPerKey, clocks, maxEventUs, boundUs } = stream;
  if (maxEventUs === BEFORE_ALL_TIME || isPerKey) return;
  stream.watermarkUs = max(stream.watermarkUs, isPerSource ? clocks.watermarkUs() : maxEventUs - boundUs);
}

/** "end" closes every open window: the watermark goes to the end of the last one, not to infinity. */
function explicitWatermark(stream: StreamWindows, timeUs: number | "end"): bigint {
  if (timeUs !== "end") return BigInt(timeUs);
  let end = stream.maxEventUs === BEFORE_ALL_TIME ? BEFORE_ALL_TIME : stream.maxEventUs + 1n;
  for (const { windows } of stream.queries) end = max(end, windows.lastEndUs() ?? end);
  return end;
}

function clockOf(name: string): ApplyResult["watermarks"][number] {
  const stream = streams.get(name);
  return {
    stream: name,
    watermarkUs: known(shownWatermark(stream)),
    maxEventUs: known(stream?.maxEventUs),
    sources: stream === undefined ? { known: 0, active: 0, untrackedEvents: 0 } : sourcesOf(stream),
    skewedDevices: stream === undefined ? null : nameSkewed(stream),
  };
}

function sourcesOf({ clocks }: StreamWindows): ApplyResult["watermarks"][number]["sources"] {
  const { sources, activeSources, untrackedEvents } = clocks.stats();
  return { known: sources, active: activeSources, untrackedEvents };
}

/** null when no clock-skewed event has come since the last time. */
function nameSkewed(stream: StreamWindows): readonly SkewedDevice[] | null {
  const { skewedEvents } = stream.clocks.stats();
  if (skewedEvents === stream.namedSkew) return null;
  stream.namedSkew = skewedEvents;
  return stream.clocks.mostSkewed().map((source) => ({
    device: source.device,
    events: source.skewedEvents,
    medianOffsetUs: source.medianOffsetUs,
  }));
}

/**
 * Where keys have clocks: the earliest clock of a key with an open window; while no window is open, how far the greatest
 * event time allows. Never before what was said of the stream as a whole.
 */
function shownWatermark(stream: StreamWindows | undefined): bigint | undefined {
  if (stream === undefined || !stream.isPerKey || stream.maxEventUs === BEFORE_ALL_TIME)
    return stream?.watermarkUs;
  let earliest = stream.maxEventUs - stream.boundUs;
  for (const { windows } of stream.queries) {
    const clock = windows.earliestClockUs?.() ?? null;
    if (clock !== null && clock < earliest) earliest = clock;
  }
  return max(stream.watermarkUs, earliest);
}

function statsOf(name: string): WindowStats[] {
  return (streams.get(name)?.queries ?? []).map(({ plan, windows }) => {
    const { keys, idleKeys = 0, groups, bytes } = windows.stats();
    const closeUs = windows.nextCloseUs?.() ?? null;
    const nextCloseUs = closeUs === null ? null : Number(closeUs);
    return { queryId: plan.id, keys, idleKeys, groups, bytes, nextCloseUs };
  });
}

function alertStatsOf(name: string): readonly AlertStats[] {
  return streams.get(name)?.alerts.stats() ?? [];
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
