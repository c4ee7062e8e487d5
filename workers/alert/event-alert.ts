import { keyBytes, keyJson } from "../core/group-key.ts";
import { type CoreModule, copyIn, copyOut } from "../core/module.ts";
import { MillraceError } from "../errors.ts";
import type { AlertPlan, AlertRow, AlertStats } from "../messages.ts";
import { alertRow } from "./alert-row.ts";
import {
  EVENT_ROWS_VERSION,
  type EventRow,
  PARTIAL_HEAD_BYTES,
  readEventRows,
  valueSlots,
} from "./event-rows.ts";
import { IDLE, type Phase, type Sample, step } from "./machine.ts";
import { PhaseCounts } from "./phase-counts.ts";
import { phaseOf, type StandingAlert } from "./standing.ts";

interface KeySetExports {
  allocate(length: number): number;
  release(pointer: number): void;
  keySetCreate(): number;
  keySetClear(keys: number): void;
  keySetAdd(keys: number, key: number, length: number): void;
  keySetKeep(keys: number, entries: number, length: number): number;
  keySetDispose(keys: number): void;
}

/** The core may read, but not use, this many bytes behind what it is given. */
const PADDING_BYTES = 16;

/** A key that is pending or firing, and the revision told of it last. */
interface OpenKey {
  readonly phase: Phase;
  readonly revision: number;
  readonly hasFired: boolean;
}

/** An alert over a stream's events, each a sample of its key, in the order of the log. Only open keys are known. */
export class EventAlert {
  plan: AlertPlan;
  readonly #core: CoreModule;
  readonly #values: readonly (readonly string[])[];
  /** By key bytes, a character each. */
  readonly #open = new Map<string, OpenKey>();
  /** The same keys in the core, as far as `#isSetStale` is false. */
  readonly #set: number;
  readonly #counts = new PhaseCounts();
  #isSetStale = false;

  constructor(core: CoreModule, plan: AlertPlan) {
    this.#core = core;
    this.plan = plan;
    this.#values = valueSlots(plan);
    this.#set = this.#exports.keySetCreate() >>> 0;
  }

  /** Takes over what may change beside the definition. */
  adopt(plan: AlertPlan): this {
    this.plan = plan;
    return this;
  }

  /**
   * What a block's decisive rows make of it.
   * @throws E_PARTIAL_VERSION
   */
  take(partial: Uint8Array<ArrayBuffer>, seq: number): AlertRow[] {
    const view = new DataView(partial.buffer, partial.byteOffset, partial.byteLength);
    if (view.getUint32(0, true) !== EVENT_ROWS_VERSION)
      throw new MillraceError(
        "E_PARTIAL_VERSION",
        `the events of alert ${this.plan.name} have another version`,
      );
    const leadingAt = PARTIAL_HEAD_BYTES + view.getUint32(4, true);
    const rows: EventRow[] = [];
    readEventRows(partial.subarray(PARTIAL_HEAD_BYTES, leadingAt), this.#values, rows);
    if (this.#open.size > 0 && leadingAt < partial.length)
      readEventRows(this.#ofOpenKeys(partial.subarray(leadingAt)), this.#values, rows);
    rows.sort((a, b) => a.row - b.row);
    return rows.flatMap((row) => this.#judge(row, seq));
  }

  stats(): AlertStats {
    return { alert: this.plan.name, ...this.#counts.counts, ignoredRevisions: 0 };
  }

  save(): string {
    const saved = [...this.#open].map(([key, open]) => [key, open] as const);
    return JSON.stringify(saved.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  restore(text: string): void {
    for (const [key, open] of JSON.parse(text) as [string, OpenKey][]) {
      this.#open.set(key, open);
      this.#counts.move("idle", open.phase.kind);
    }
    this.#isSetStale = true;
  }

  /** Stands as it was told, whatever the events that are left make of it. */
  standAs(standing: readonly StandingAlert[]): void {
    const rebuilt = new Map(this.#open);
    for (const { phase } of rebuilt.values()) this.#counts.move(phase.kind, "idle");
    this.#open.clear();
    for (const each of standing) {
      const key = Buffer.from(keyBytes(each.key, this.plan.by)).toString("latin1");
      const phase = phaseOf(each, rebuilt.get(key)?.phase ?? IDLE);
      if (phase.kind === "idle") continue;
      this.#open.set(key, { phase, revision: each.revision, hasFired: each.hasFired });
      this.#counts.move("idle", phase.kind);
    }
    this.#isSetStale = true;
  }

  dispose(): void {
    this.#exports.keySetDispose(this.#set);
  }

  get #exports(): KeySetExports {
    return this.#core.exports as unknown as KeySetExports;
  }

  #judge(row: EventRow, seq: number): AlertRow[] {
    const open = this.#open.get(row.key);
    const before = open?.phase ?? IDLE;
    if (before.kind === "idle" && !row.isTrue) return [];
    if (before.kind === "firing" && !row.isClear) return [];
    const sample: Sample = {
      startUs: row.timeUs,
      endUs: row.timeUs,
      origin: `${seq}.${row.row}`,
      isTrue: row.isTrue,
      isClear: row.isClear,
      value: row.value(),
    };
    const { phase, change } = step(before, sample, this.plan.for);
    this.#counts.move(before.kind, phase.kind);
    const revision = open === undefined ? 0 : open.revision + (change === null ? 0 : 1);
    const hasFired = open?.hasFired === true || phase.kind === "firing";
    if (phase.kind === "idle") this.#open.delete(row.key);
    else this.#open.set(row.key, { phase, revision, hasFired });
    if ((before.kind === "idle") !== (phase.kind === "idle")) this.#isSetStale = true;
    if (change === null) return [];
    const key = keyJson(Buffer.from(row.key, "latin1") as unknown as Uint8Array<ArrayBuffer>, this.plan.by);
    return [alertRow(this.plan, key, { episode: change, revision, isRetracted: false, hasFired })];
  }

  /** Leaves of entries those of open keys: picked in the core, for most keys of most blocks are not. */
  #ofOpenKeys(entries: Uint8Array): Uint8Array<ArrayBuffer> {
    const { allocate, release, keySetClear, keySetAdd, keySetKeep } = this.#exports;
    if (this.#isSetStale) {
      keySetClear(this.#set);
      for (const key of this.#open.keys()) {
        const bytes = Buffer.from(key, "latin1");
        const at = allocate(bytes.length + PADDING_BYTES) >>> 0;
        copyIn(this.#core, at, bytes);
        keySetAdd(this.#set, at, bytes.length);
        release(at);
      }
      this.#isSetStale = false;
    }
    const at = allocate(entries.length + PADDING_BYTES) >>> 0;
    copyIn(this.#core, at, entries);
    const kept = copyOut(this.#core, at, keySetKeep(this.#set, at, entries.length));
    release(at);
    return kept;
  }
}
