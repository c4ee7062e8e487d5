import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { createCapture } from "./capture.ts";
import { largestKeys } from "./key-sizes.ts";
import { keyTexts } from "./key-texts.ts";
import { encodeKeyedPlan } from "./keyed-plan.ts";
import { readKeyedRows } from "./keyed-results.ts";
import { type CoreModule, copyIn, copyOut, withBytes } from "./module.ts";
import { pageSupply } from "./page-supply.ts";
import { fireAtOnce, type Portion, PortionRows, RESULT_PORTION } from "./portion.ts";
import type { LocalAggregator, WindowOfKey, Windows } from "./window.ts";
import { selectionWriter } from "./window-results.ts";

interface KeyedExports {
  allocate(length: number): number;
  release(pointer: number): void;
  batchRows(batch: number): number;
  keyedLocalCreate(plan: number, settings: number): number;
  keyedLocalMissingTime(local: number, batch: number, isFirst: number): bigint;
  keyedLocalCover(local: number, page: number): void;
  keyedLocalTidyPages(local: number, most: number): void;
  keyedLocalAggregate(local: number, batch: number): number;
  keyedLocalLength(local: number): number;
  keyedLocalMaskLate(local: number, batch: number, wanted: number, length: number, mask: number): void;
  keyedLocalDispose(local: number): void;
  keyedCreate(plan: number, settings: number): number;
  keyedInput(windows: number, length: number): number;
  keyedMissingTime(windows: number, isFirst: number): bigint;
  keyedCover(windows: number, page: number): void;
  keyedTidyPages(windows: number, most: number): void;
  keyedMerge(windows: number, watermarkUs: bigint): number;
  keyedLate(windows: number): number;
  keyedLateLength(windows: number): number;
  keyedLateRows(windows: number): number;
  keyedFireNext(windows: number, watermarkUs: bigint): number;
  keyedOutgrown(windows: number): number;
  keyedOutgrownCount(windows: number): number;
  keyedForgetOutgrown(windows: number): void;
  keyedTidy(windows: number): void;
  windowsBoxes(): number;
  keyedSnapshot(windows: number): number;
  keyedOutputLength(windows: number): number;
  keyedRestore(windows: number): number;
  keyedLastEnd(windows: number): bigint;
  keyedNextDue(windows: number): bigint;
  keyedEarliestClock(windows: number): bigint;
  keyedClock(windows: number): bigint;
  keyedAdvance(windows: number, clockUs: bigint): void;
  keyedKey(windows: number, key: number): number;
  keyedKeyLength(windows: number, key: number): number;
  keyedKeyGeneration(windows: number): number;
  keyedOpenKeys(windows: number): number;
  keyedIdleKeys(windows: number): number;
  keyedWindowCount(windows: number): number;
  keyedBytes(windows: number): number;
  keyedDispose(windows: number): void;
}

const OUTGROWN_BYTES = 24;
const NO_TIME = -(2n ** 63n);
/** Pages of a calendar that are kept from batch to batch. */
const MAX_PAGES = 64;

/** The local stage of a query whose windows belong to their key. */
export function createKeyedLocal(core: CoreModule, plan: QueryPlan): LocalAggregator {
  const exports = core.exports as unknown as KeyedExports;
  const local = create(core, plan, (at, settings) => exports.keyedLocalCreate(at, settings));
  const supply = pageSupply(core, plan, (at) => exports.keyedLocalCover(local, at));
  return {
    aggregate: (batch) => {
      exports.keyedLocalTidyPages(local, MAX_PAGES);
      supply((isFirst) => exports.keyedLocalMissingTime(local, batch, isFirst));
      const at = exports.keyedLocalAggregate(local, batch);
      return copyOut(core, at, exports.keyedLocalLength(local));
    },
    maskLate: (batch, lateGroups) => {
      const rows = exports.batchRows(batch);
      const mask = exports.allocate(rows + 1);
      withBytes(core, lateGroups, (at) =>
        exports.keyedLocalMaskLate(local, batch, at, lateGroups.length, mask),
      );
      const marked = copyOut(core, mask, rows);
      exports.release(mask);
      return marked;
    },
    dispose: () => exports.keyedLocalDispose(local),
  };
}

/** The window stage of such a query. A partial is merged under the watermark of the last `fire`. */
export function createKeyedWindows(core: CoreModule, plan: QueryPlan): Windows {
  const exports = core.exports as unknown as KeyedExports;
  const windows = create(core, plan, (at, settings) => exports.keyedCreate(at, settings));
  const keyText = keyTexts(
    core,
    {
      generation: () => exports.keyedKeyGeneration(windows),
      address: (key) => exports.keyedKey(windows, key),
      length: (key) => exports.keyedKeyLength(windows, key),
    },
    plan,
  );
  const outputs = plan.select === "*" ? [] : plan.select;
  const writer = selectionWriter(core, outputs, () => exports.windowsBoxes() >>> 0);
  const input = (bytes: Uint8Array): void => copyIn(core, exports.keyedInput(windows, bytes.length), bytes);
  const supply = pageSupply(core, plan, (at) => exports.keyedCover(windows, at));
  const isRevised = plan.window.kind !== "count" && plan.window.kind !== "none";
  let closed: readonly WindowOfKey[] = [];
  let outgrown: readonly WindowOfKey[] = [];
  const takeOutgrown = (): readonly WindowOfKey[] => {
    const count = exports.keyedOutgrownCount(windows);
    if (count === 0) return [];
    const at = exports.keyedOutgrown(windows) >>> 0;
    const words = new DataView(core.memory.buffer, at, count * OUTGROWN_BYTES);
    const found = Array.from({ length: count }, (_, index) => {
      const from = index * OUTGROWN_BYTES;
      return {
        startUs: Number(words.getBigInt64(from, true)),
        endUs: Number(words.getBigInt64(from + 8, true)),
        key: keyText(words.getUint32(from + 16, true)),
      };
    });
    exports.keyedForgetOutgrown(windows);
    return found;
  };
  function* portions(watermarkUs: bigint, limit: Portion = RESULT_PORTION): Generator<ResultRow[]> {
    closed = [];
    outgrown = takeOutgrown();
    for (;;) {
      const at = exports.keyedFireNext(windows, watermarkUs) >>> 0;
      if (at === 0) break;
      for (let next: number | null = 0; next !== null; ) {
        const rows = new PortionRows(limit);
        const nowClosed: WindowOfKey[] = [];
        const { buffer } = core.memory;
        next = readKeyedRows(
          plan.name,
          buffer,
          at,
          next,
          outputs.length,
          keyText,
          writer.write,
          rows,
          nowClosed,
        );
        // Rows of counts and of single events are final, but for early ones.
        closed = isRevised ? nowClosed : rows.rows.filter(({ kind }) => kind !== "early");
        yield rows.rows;
      }
    }
    exports.keyedTidy(windows);
  }
  const known = (timeUs: bigint): bigint | null => (timeUs === NO_TIME ? null : timeUs);
  return {
    merge: (partial, watermarkUs) => {
      input(partial);
      exports.keyedTidyPages(windows, MAX_PAGES);
      supply((isFirst) => exports.keyedMissingTime(windows, isFirst));
      const late = exports.keyedMerge(windows, watermarkUs);
      if (late < 0)
        throw new MillraceError("E_PARTIAL_VERSION", `a partial of ${plan.name} has another version`);
      if (late === 0) return { lateGroups: null, lateCount: 0 };
      const lateGroups = copyOut(core, exports.keyedLate(windows), exports.keyedLateLength(windows));
      return { lateGroups, lateCount: exports.keyedLateRows(windows) };
    },
    fire: (watermarkUs) => fireAtOnce(portions, watermarkUs),
    portions,
    ...(plan.having === undefined ? {} : { lastClosed: () => closed }),
    ...(plan.window.kind === "session" ? { lastOutgrown: () => outgrown } : {}),
    lastEndUs: () => known(exports.keyedLastEnd(windows)),
    ...(plan.keyClock === undefined
      ? {}
      : {
          earliestClockUs: () => known(exports.keyedEarliestClock(windows)),
          clockUs: (key: Uint8Array) => {
            input(key);
            return known(exports.keyedClock(windows));
          },
          advanceClock: (key: Uint8Array, clockUs: bigint) => {
            input(key);
            exports.keyedAdvance(windows, clockUs);
          },
        }),
    snapshot: () => {
      const at = exports.keyedSnapshot(windows);
      return copyOut(core, at, exports.keyedOutputLength(windows));
    },
    restore: (snapshot) => {
      input(snapshot);
      if (exports.keyedRestore(windows) !== 0) return;
      throw new MillraceError(
        "E_CHECKPOINT_VERSION",
        `the saved windows of ${plan.name} are damaged, or of another release or definition`,
      );
    },
    ...createCapture(core, "keyed", windows, plan.name, () => undefined),
    nextCloseUs: () => known(exports.keyedNextDue(windows)),
    largestKeys: largestKeys(core, "keyed", windows, () => 1, keyText),
    stats: () => {
      const groups = exports.keyedWindowCount(windows);
      return {
        keys: exports.keyedOpenKeys(windows),
        idleKeys: exports.keyedIdleKeys(windows),
        panes: groups,
        groups,
        bytes: exports.keyedBytes(windows),
      };
    },
    dispose: () => {
      writer.dispose();
      exports.keyedDispose(windows);
    },
  };
}

function create(core: CoreModule, plan: QueryPlan, make: (plan: number, settings: number) => number): number {
  const encoded = encodeKeyedPlan(plan);
  return (
    withBytes(core, encoded.plan, (at) =>
      withBytes(core, encoded.settings, (settings) => make(at, settings)),
    ) >>> 0
  );
}
