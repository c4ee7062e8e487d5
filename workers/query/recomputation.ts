import type { BatchHandle } from "../core/codec.ts";
import { withExpressions } from "../core/expression.ts";
import { keepHaving } from "../core/having.ts";
import { createKeyedLocal } from "../core/keyed-window.ts";
import type { CoreModule } from "../core/module.ts";
import { maskSkewed, setSkewed } from "../core/rows.ts";
import type { Tables } from "../core/tables.ts";
import { createLocal, createWindows, type LocalAggregator, type Windows } from "../core/window.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { type KeySpan, readKeyedGroups, readPaneGroups } from "./partial-groups.ts";
import { isNear, type TimeRange } from "./time-range.ts";

/** Which events of a key are wanted. */
export interface WantedKey {
  readonly key: Uint8Array;
  readonly ranges: readonly TimeRange[];
}

const BEFORE_ALL = -(2n ** 63n);
/** Behind the end of every window. */
const AFTER_ALL = 2n ** 62n;

/**
 * A query's own engine over chosen events of chosen keys, with no watermark and then the end of all. So whatever order
 * the events come in, and whatever clocks closed the query's windows, what it gives is of these events alone.
 */
export class Recomputation {
  readonly plan: QueryPlan;
  readonly #core: CoreModule;
  readonly #local: LocalAggregator;
  /** Tells keys and times apart, and nothing else. */
  readonly #rows: LocalAggregator;
  readonly #isPaned: boolean;
  #windows: Windows;

  constructor(core: CoreModule, asked: QueryPlan, tables: Tables) {
    const { keyClock: _clock, earlyUs: _early, ...rest } = asked;
    const plan = { ...rest, latenessUs: 0 };
    // Instants: all that a session of a µs tells of an event is its key and its time.
    const instants: QueryPlan = { ...plan, window: { kind: "session", gapUs: 1 }, select: [] };
    this.#core = core;
    this.plan = plan;
    this.#local = withExpressions(core, plan, createLocal(core, plan), tables);
    this.#rows = withExpressions(core, plan, createKeyedLocal(core, instants), tables);
    this.#isPaned = plan.window.kind !== "session";
    this.#windows = createWindows(core, plan);
  }

  /** Where the batch's events stand in time: by slice where windows have slices, else by those that belong together. */
  spans(batch: BatchHandle): KeySpan[] {
    const partial = this.#local.aggregate(batch);
    return this.#isPaned ? readPaneGroups(partial) : readKeyedGroups(partial);
  }

  /** Forgets all events. */
  begin(): void {
    this.#windows.dispose();
    this.#windows = createWindows(this.#core, this.plan);
  }

  /** Takes in the rows of the batch that are wanted; `fromUs` to `toUs` (inclusive): where its events are. */
  merge(batch: BatchHandle, wanted: Iterable<WantedKey>, fromUs: number, toUs: number): void {
    const list = encodeWanted(wanted, fromUs, toUs);
    if (list === null) return;
    const mask = this.#rows.maskLate(batch, list);
    if (!mask.includes(1)) return;
    // The others are made to look skewed, and then as before.
    const skewed = maskSkewed(this.#core, batch);
    setSkewed(
      this.#core,
      batch,
      mask.map((isWanted) => 1 - isWanted),
    );
    this.#windows.merge(this.#local.aggregate(batch), BEFORE_ALL);
    setSkewed(this.#core, batch, skewed);
  }

  /** The windows of all that was taken in. */
  fire(): ResultRow[] {
    return this.#windows.fire(AFTER_ALL);
  }

  /** Those of the rows for which `having` is true. */
  shown(rows: ResultRow[]): ResultRow[] {
    const given = { ...this.#windows, fire: () => rows, portions: () => [rows], dispose: () => undefined };
    const shown = keepHaving(this.#core, this.plan, given);
    const left = shown.fire(AFTER_ALL);
    shown.dispose();
    return left;
  }

  dispose(): void {
    this.#windows.dispose();
    this.#local.dispose();
    this.#rows.dispose();
  }
}

/** As `KeyedLocal.maskLate` of the core reads it; null when none is near. */
function encodeWanted(wanted: Iterable<WantedKey>, fromUs: number, toUs: number): Uint8Array | null {
  const parts: Uint8Array[] = [];
  for (const { key, ranges } of wanted) {
    for (const range of ranges) {
      if (!isNear(range, fromUs, toUs)) continue;
      const head = new DataView(new ArrayBuffer(20));
      head.setBigInt64(0, BigInt(range.fromUs), true);
      head.setBigInt64(8, BigInt(range.toUs - 1), true);
      head.setUint32(16, key.length, true);
      parts.push(new Uint8Array(head.buffer), key);
    }
  }
  return parts.length === 0 ? null : Buffer.concat(parts);
}
