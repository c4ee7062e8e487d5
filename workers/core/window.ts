import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { createCapture, type StateAdoption, type StateCapture } from "./capture.ts";
import type { BatchHandle } from "./codec.ts";
import { KeyOrder } from "./key-order.ts";
import { type LargestKeys, largestKeys } from "./key-sizes.ts";
import { keyTexts } from "./key-texts.ts";
import { isKeyed } from "./keyed-plan.ts";
import { createKeyedLocal, createKeyedWindows } from "./keyed-window.ts";
import { type CoreModule, copyIn, copyOut, type Pointer, withBytes } from "./module.ts";
import { pageSupply } from "./page-supply.ts";
import { fireAtOnce, type Portion, PortionRows, RESULT_PORTION } from "./portion.ts";
import { encodePlan } from "./window-plan.ts";
import {
  keysOfRows,
  readWindow,
  selectionWriter,
  type WriteValues,
  wildcardWriter,
} from "./window-results.ts";

interface WindowExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchRows(batch: number): number;
  localCreate(plan: number): number;
  localAggregate(local: number, batch: number): number;
  localLength(local: number): number;
  localMaskLate(local: number, batch: number, wanted: number, length: number, mask: number): void;
  localMissingTime(local: number, batch: number, isFirst: number): bigint;
  localCover(local: number, page: number): void;
  localPageCount(local: number): number;
  localForgetPages(local: number): void;
  localDispose(local: number): void;
  windowsCreate(plan: number): number;
  windowsInput(windows: number, length: number): number;
  windowsMissingTime(windows: number, isFirst: number): bigint;
  windowsMissingInSnapshot(windows: number, isFirst: number): bigint;
  windowsMissingInHead(windows: number, isFirst: number): bigint;
  windowsCover(windows: number, page: number): void;
  windowsMerge(windows: number, watermarkUs: bigint): number;
  windowsLate(windows: number): number;
  windowsLateLength(windows: number): number;
  windowsLateRows(windows: number): number;
  windowsFireNext(windows: number, watermarkUs: bigint): number;
  windowsBoxes(): number;
  windowsDropClosed(windows: number, watermarkUs: bigint): void;
  windowsSnapshot(windows: number): number;
  windowsOutputLength(windows: number): number;
  windowsRestore(windows: number): number;
  windowsLastEnd(windows: number): bigint;
  windowsNextClose(windows: number): bigint;
  windowsKey(windows: number, key: number): number;
  windowsKeyLength(windows: number, key: number): number;
  windowsKeyGeneration(windows: number): number;
  windowsKeyCount(windows: number): number;
  windowsPaneCount(windows: number): number;
  windowsGroupCount(windows: number): number;
  windowsBytes(windows: number): number;
  windowsFieldCount(windows: number): number;
  windowsSortFields(windows: number): number;
  windowsFieldName(windows: number, field: number): number;
  windowsDispose(windows: number): void;
}

/** The local stage of a query: a batch in, a partial out. */
export interface LocalAggregator {
  /** The batch's partial aggregates, mergeable in any order. Clock-skewed rows are left out. */
  aggregate(batch: BatchHandle): Uint8Array<ArrayBuffer>;
  /** One byte a row: 1 where the row belongs to one of the refused groups. */
  maskLate(batch: BatchHandle, lateGroups: Uint8Array): Uint8Array<ArrayBuffer>;
  dispose(): void;
}

export interface MergeOutcome {
  /** The refused groups, for `LocalAggregator.maskLate`; null when there are none. */
  readonly lateGroups: Uint8Array<ArrayBuffer> | null;
  /** Events in the refused groups. */
  readonly lateCount: number;
}

export type WindowOfKey = Pick<ResultRow, "startUs" | "endUs" | "key">;

export interface WindowsStats {
  /** Keys that are in an open window. */
  readonly keys: number;
  /** Keys without an open window that are remembered for their clocks. */
  readonly idleKeys?: number;
  /** Open windows. */
  readonly panes: number;
  /** Keys of open windows, each counted in every window that it is in. */
  readonly groups: number;
  /** Memory of the state. */
  readonly bytes: number;
}

/** The window stage of a query. */
export interface Windows {
  /**
   * Merges a partial. Groups whose window is closed under the watermark are refused and listed.
   * @throws E_PARTIAL_VERSION
   */
  merge(partial: Uint8Array, watermarkUs: bigint): MergeOutcome;
  /** What the watermark lets go: on-time results and late revisions. Closed windows are dropped. */
  fire(watermarkUs: bigint): ResultRow[];
  /**
   * The same in portions, in the same order; to be gone through to the end before anything else is done with the windows.
   * All that comes after a window's on-time or late row is of windows that end no earlier, but where windows are of a key.
   */
  portions(watermarkUs: bigint, limit?: Portion): Iterable<ResultRow[]>;
  /** End of the last open window in µs, or null when none is open. */
  lastEndUs(): bigint | null;
  /** Windows that the last `fire`, or portion, has closed, of a query with `having`; not there where the watermark tells. */
  lastClosed?(): readonly WindowOfKey[];
  /** Windows whose results stand and will be retracted with a row to come: those that were found since the `fire` before. */
  lastOutgrown?(): readonly WindowOfKey[];
  /** Where keys have clocks: the earliest clock of a key with an open window, or null when none has one. */
  earliestClockUs?(): bigint | null;
  /** Where keys have clocks: that of a key by its bytes, as partials have them; null when it has none yet. */
  clockUs?(key: Uint8Array): bigint | null;
  /** Moves that clock, never back, as an event would; the next `fire` gives what it lets go. */
  advanceClock?(key: Uint8Array, clockUs: bigint): void;
  /** The state. Equal states give equal bytes, whatever the order of what led to them. */
  snapshot(): Uint8Array<ArrayBuffer>;
  /**
   * Puts a snapshot in the place of the state.
   * @throws E_CHECKPOINT_VERSION, with the state as it was, when it is of another release or query, or damaged.
   */
  restore(snapshot: Uint8Array): void;
  /** The state in pieces, for checkpoints. */
  readonly capture: StateCapture;
  readonly adoption: StateAdoption;
  /** The watermark, µs, that gives some of the memory back; null when none does. */
  nextCloseUs?(): bigint | null;
  /** The keys that take most memory. */
  readonly largestKeys: LargestKeys;
  /** Cost: a look at every open window. */
  stats(): WindowsStats;
  dispose(): void;
}

const NO_WINDOW = -(2n ** 63n);
/** Pages of the calendar that a local aggregator keeps from batch to batch. */
const MAX_LOCAL_PAGES = 64;
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function createLocal(core: CoreModule, plan: QueryPlan): LocalAggregator {
  if (isKeyed(plan)) return createKeyedLocal(core, plan);
  const exports = core.exports as unknown as WindowExports;
  const local = withBytes(core, encodePlan(plan), (at) => exports.localCreate(at)) >>> 0;
  const supply = pageSupply(core, plan, (at) => exports.localCover(local, at));
  const coverTimes = (batch: BatchHandle): void => {
    if (exports.localPageCount(local) > MAX_LOCAL_PAGES) exports.localForgetPages(local);
    supply((isFirst) => exports.localMissingTime(local, batch, isFirst));
  };
  return {
    aggregate: (batch) => {
      coverTimes(batch);
      const at = exports.localAggregate(local, batch);
      return copyOut(core, at, exports.localLength(local));
    },
    maskLate: (batch, lateGroups) => {
      coverTimes(batch);
      const rows = exports.batchRows(batch);
      const mask = exports.allocate(rows + 1);
      withBytes(core, lateGroups, (at) => exports.localMaskLate(local, batch, at, lateGroups.length, mask));
      const marked = copyOut(core, mask, rows);
      exports.release(mask);
      return marked;
    },
    dispose: () => exports.localDispose(local),
  };
}

export function createWindows(core: CoreModule, plan: QueryPlan): Windows {
  if (isKeyed(plan)) return createKeyedWindows(core, plan);
  const exports = core.exports as unknown as WindowExports;
  const windows = withBytes(core, encodePlan(plan), (at) => exports.windowsCreate(at)) >>> 0;
  const keyText = keyTexts(
    core,
    {
      generation: () => exports.windowsKeyGeneration(windows),
      address: (key) => exports.windowsKey(windows, key),
      length: (key) => exports.windowsKeyLength(windows, key),
    },
    plan,
  );
  const keyOrder = new KeyOrder(() => exports.windowsKeyGeneration(windows), keyText);
  const valueWriter = valueWriters(core, exports, windows, plan);
  const input = (bytes: Uint8Array): void => copyIn(core, exports.windowsInput(windows, bytes.length), bytes);
  const supply = pageSupply(core, plan, (at) => exports.windowsCover(windows, at));
  function* portions(watermarkUs: bigint, limit: Portion = RESULT_PORTION): Generator<ResultRow[]> {
    const { valueCount, write } = valueWriter.current();
    const rows = new PortionRows(limit);
    for (;;) {
      const at = exports.windowsFireNext(windows, watermarkUs) >>> 0;
      if (at === 0) break;
      const order = keyOrder.of(keysOfRows(core.memory.buffer, at, valueCount));
      for (let next: number | null = 0; next !== null; ) {
        next = readWindow(plan, core.memory.buffer, at, order, next, valueCount, keyText, write, rows);
        if (rows.isFull) yield rows.take();
      }
    }
    exports.windowsDropClosed(windows, watermarkUs);
    yield rows.take();
  }
  return {
    merge: (partial, watermarkUs) => {
      input(partial);
      supply((isFirst) => exports.windowsMissingTime(windows, isFirst));
      const late = exports.windowsMerge(windows, watermarkUs);
      if (late < 0)
        throw new MillraceError("E_PARTIAL_VERSION", `a partial of ${plan.name} has another version`);
      if (late === 0) return { lateGroups: null, lateCount: 0 };
      const lateGroups = copyOut(core, exports.windowsLate(windows), exports.windowsLateLength(windows));
      return { lateGroups, lateCount: exports.windowsLateRows(windows) };
    },
    fire: (watermarkUs) => fireAtOnce(portions, watermarkUs),
    portions,
    lastEndUs: () => {
      const end = exports.windowsLastEnd(windows);
      return end === NO_WINDOW ? null : end;
    },
    snapshot: () => {
      const at = exports.windowsSnapshot(windows);
      return copyOut(core, at, exports.windowsOutputLength(windows));
    },
    restore: (snapshot) => {
      input(snapshot);
      supply((isFirst) => exports.windowsMissingInSnapshot(windows, isFirst));
      if (exports.windowsRestore(windows) !== 0) return;
      throw new MillraceError(
        "E_CHECKPOINT_VERSION",
        `the saved windows of ${plan.name} are damaged, or of another release or definition`,
      );
    },
    ...createCapture(core, "windows", windows, plan.name, () =>
      supply((isFirst) => exports.windowsMissingInHead(windows, isFirst)),
    ),
    nextCloseUs: () => {
      const close = exports.windowsNextClose(windows);
      return close === NO_WINDOW ? null : close;
    },
    largestKeys: largestKeys(core, "windows", windows, () => exports.windowsPaneCount(windows), keyText),
    stats: () => ({
      keys: exports.windowsKeyCount(windows),
      panes: exports.windowsPaneCount(windows),
      groups: exports.windowsGroupCount(windows),
      bytes: exports.windowsBytes(windows),
    }),
    dispose: () => {
      valueWriter.dispose();
      exports.windowsDispose(windows);
    },
  };
}

interface ValueWriter {
  readonly valueCount: number;
  readonly write: WriteValues;
}

/** How to write a result's values; for "*" it changes whenever a field has turned up. */
function valueWriters(
  core: CoreModule,
  exports: WindowExports,
  windows: Pointer,
  { select }: QueryPlan,
): { readonly current: () => ValueWriter; readonly dispose: () => void } {
  if (select !== "*") {
    const { write, dispose } = selectionWriter(core, select, () => exports.windowsBoxes() >>> 0);
    const fixed = { valueCount: select.length, write };
    return { current: () => fixed, dispose };
  }
  let fieldCount = -1;
  let current = { valueCount: 0, write: wildcardWriter([], []) };
  const renew = (): ValueWriter => {
    if (exports.windowsFieldCount(windows) === fieldCount) return current;
    fieldCount = exports.windowsFieldCount(windows);
    const names = Array.from({ length: fieldCount }, (_, field) => {
      const [at, length] = wordsAt(core, exports.windowsFieldName(windows, field), 2) as [number, number];
      return decoder.decode(copyOut(core, at, length));
    });
    const sorted = exports.windowsSortFields(windows);
    current = {
      valueCount: 1 + 3 * fieldCount,
      write: wildcardWriter(names, wordsAt(core, sorted, fieldCount)),
    };
    exports.release(sorted);
    return current;
  };
  return { current: renew, dispose: () => undefined };
}

function wordsAt(core: CoreModule, pointer: Pointer, count: number): number[] {
  return [...new Uint32Array(core.memory.buffer, pointer >>> 0, count)];
}
