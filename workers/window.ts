import { keepHaving } from "./core/having.ts";
import { type CoreModule, instantiateCore } from "./core/module.ts";
import { createWindows, type Windows } from "./core/window.ts";
import type {
  ApplyEntry,
  ApplyResult,
  LateGroups,
  QueryPlan,
  ResultRow,
  WindowSetup,
  WindowStats,
} from "./messages.ts";
import { moveWith, release } from "./move.ts";
import { packResults } from "./result-rows.ts";
import { packSnapshot, type SnapshotPart, unpackSnapshot } from "./snapshot.ts";

/** No event has been seen: below every event time. */
const BEFORE_ALL_TIME = -(2n ** 63n);

interface QueryWindows {
  readonly plan: QueryPlan;
  readonly windows: Windows;
}

/** One stream's clock and its queries' windows. Invariant: `watermarkUs` never goes back. */
interface StreamWindows {
  boundUs: bigint;
  /** Keys have clocks of their own: `watermarkUs` is what was said of the stream as a whole. */
  isPerKey: boolean;
  watermarkUs: bigint;
  maxEventUs: bigint;
  queries: QueryWindows[];
}

const core: CoreModule = instantiateCore();
const streams = new Map<string, StreamWindows>();
let appliedSeq = 0;

/** Makes streams and queries known. A query that is already there keeps its windows. */
export function configure(setups: readonly WindowSetup[]): void {
  for (const setup of setups) {
    const stream = streams.get(setup.stream) ?? {
      boundUs: 0n,
      isPerKey: false,
      watermarkUs: BEFORE_ALL_TIME,
      maxEventUs: BEFORE_ALL_TIME,
      queries: [],
    };
    stream.boundUs = BigInt(setup.boundUs);
    stream.isPerKey = setup.per === "key";
    stream.queries = setup.queries.map(
      (plan) =>
        stream.queries.find((query) => query.plan.id === plan.id) ?? {
          plan,
          windows: keepHaving(core, plan, createWindows(core, plan)),
        },
    );
    streams.set(setup.stream, stream);
  }
}

/**
 * Applies committed log entries in the order of their seq. A block's partials are merged under the watermark
 * as it was before the block; then the watermark moves, and windows fire. So the outcome depends on the
 * log alone, and a replay of the log repeats it exactly.
 */
export function apply(entries: readonly ApplyEntry[]): ApplyResult {
  const started = process.hrtime.bigint();
  const fired = new Fired();
  const late: LateGroups[] = [];
  const touched = new Set<string>();
  for (const entry of entries) {
    const stream = streams.get(entry.stream);
    if (stream !== undefined) {
      if (entry.kind === "block") mergeBlock(stream, entry, late);
      else stream.watermarkUs = max(stream.watermarkUs, explicitWatermark(stream, entry.timeUs));
      for (const query of stream.queries) fired.add(query.plan.id, query.windows.fire(stream.watermarkUs));
      touched.add(entry.stream);
    }
    appliedSeq = entry.seq;
  }
  return {
    ...fired.packed(),
    late,
    watermarks: [...touched].map(clockOf),
    stats: [...touched].flatMap(statsOf),
    mergeNs: Number(process.hrtime.bigint() - started),
  };
}

/** The windows' state up to the last applied entry. */
export function snapshot(): { readonly seq: number; readonly state: Uint8Array<ArrayBuffer> } {
  const parts: SnapshotPart[] = [...streams].map(([name, stream]) => ({
    stream: name,
    watermarkUs: stream.watermarkUs,
    maxEventUs: stream.maxEventUs,
    queries: stream.queries.map(({ plan, windows }) => ({
      name: plan.name,
      signature: signatureOf(plan),
      state: windows.snapshot(),
    })),
  }));
  const state = packSnapshot(parts);
  return moveWith({ seq: appliedSeq, state }, [state.buffer]);
}

/** Restores into the configured streams; the windows of a query whose definition changed start empty. */
export function restore(checkpoint: { readonly seq: number; readonly state: Uint8Array }): readonly string[] {
  const changed: string[] = [];
  for (const part of unpackSnapshot(checkpoint.state)) {
    const stream = streams.get(part.stream);
    if (stream === undefined) continue;
    stream.watermarkUs = part.watermarkUs;
    stream.maxEventUs = part.maxEventUs;
    for (const saved of part.queries) {
      const query = stream.queries.find((candidate) => candidate.plan.name === saved.name);
      if (query === undefined) continue;
      if (signatureOf(query.plan) === saved.signature) query.windows.restore(saved.state);
      else changed.push(saved.name);
    }
  }
  appliedSeq = checkpoint.seq;
  return changed;
}

/** The clocks and sizes of every stream, for status after a restore. */
export function describe(): Pick<ApplyResult, "watermarks" | "stats"> {
  const names = [...streams.keys()];
  return { watermarks: names.map(clockOf), stats: names.flatMap(statsOf) };
}

function mergeBlock(stream: StreamWindows, entry: ApplyEntry & { kind: "block" }, late: LateGroups[]): void {
  const groups: { queryId: number; lateGroups: Uint8Array<ArrayBuffer> }[] = [];
  for (const { queryId, bytes } of entry.partials) {
    const query = stream.queries.find((candidate) => candidate.plan.id === queryId);
    if (query === undefined) continue;
    const { lateGroups } = query.windows.merge(bytes, stream.watermarkUs);
    release(bytes.buffer);
    if (lateGroups !== null) groups.push({ queryId, lateGroups: lateGroups as Uint8Array<ArrayBuffer> });
  }
  if (groups.length > 0) late.push({ seq: entry.seq, stream: entry.stream, groups });
  if (entry.maxEventUs === null) return;
  stream.maxEventUs = max(stream.maxEventUs, BigInt(entry.maxEventUs));
  if (!stream.isPerKey) stream.watermarkUs = max(stream.watermarkUs, stream.maxEventUs - stream.boundUs);
}

/** "end" closes every open window: the watermark goes to the end of the last one, not to infinity. */
function explicitWatermark(stream: StreamWindows, timeUs: number | "end"): bigint {
  if (timeUs !== "end") return BigInt(timeUs);
  let end = stream.maxEventUs === BEFORE_ALL_TIME ? BEFORE_ALL_TIME : stream.maxEventUs + 1n;
  for (const { windows } of stream.queries) {
    const last = windows.lastEndUs();
    if (last !== null) end = max(end, BigInt(last));
  }
  return end;
}

function clockOf(name: string): ApplyResult["watermarks"][number] {
  const stream = streams.get(name);
  const known = (us: bigint | undefined): number | null =>
    us === undefined || us === BEFORE_ALL_TIME ? null : Number(us);
  return { stream: name, watermarkUs: known(shownWatermark(stream)), maxEventUs: known(stream?.maxEventUs) };
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
    return { queryId: plan.id, keys, idleKeys, groups, bytes };
  });
}

/** What the state of a query's windows depends on: a clock's bound and limit may change under it. */
function signatureOf(plan: QueryPlan): string {
  const { id: _id, keyClock, ...definition } = plan;
  return JSON.stringify(keyClock === undefined ? definition : { ...definition, hasKeyClock: true });
}

/** What fired while a group of entries was applied. */
class Fired {
  readonly #texts: string[] = [];
  readonly #counts = new Map<number, { rows: number; revisions: number }>();

  add(queryId: number, rows: readonly ResultRow[]): void {
    if (rows.length === 0) return;
    this.#texts.push(packResults(rows));
    const count = this.#counts.get(queryId) ?? { rows: 0, revisions: 0 };
    count.rows += rows.length;
    for (const row of rows) if (row.revision > 0) count.revisions++;
    this.#counts.set(queryId, count);
  }

  packed(): Pick<ApplyResult, "rows" | "fired"> {
    const fired = [...this.#counts].map(([queryId, count]) => ({ queryId, ...count }));
    return { rows: this.#texts.join("\n"), fired };
  }
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
