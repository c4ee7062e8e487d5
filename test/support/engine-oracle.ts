import { PanesModel } from "../property/panes-model.ts";
import { aggregateExactly } from "../property/window-model.ts";
import { ClockOracle } from "./clock-oracle.ts";
import { type KeyedEvent, KeyedOracle, type KeyedWindow } from "./keyed-oracle.ts";

/** An event as it was sent. Times in µs. */
export interface SentEvent {
  readonly device: string;
  readonly ts: number;
  readonly v: number | null;
}

export type OracleEntry =
  | { readonly kind: "block"; readonly arrivalUs: number; readonly events: readonly SentEvent[] }
  | { readonly kind: "watermark"; readonly timeUs: number }
  | { readonly kind: "tick"; readonly atUs: number; readonly isResume: boolean }
  /** The rows of the table from here on: the least value by device. */
  | { readonly kind: "table"; readonly least: ReadonlyMap<string, number> };

/** A query as the oracle computes it. */
export interface OracleQuery {
  readonly name: string;
  readonly window: KeyedWindow;
  readonly latenessUs: number;
  readonly earlyUs: number | null;
  readonly isByDevice: boolean;
  /** What counts, and as what; null: the event is dropped. */
  readonly read: (
    event: SentEvent,
    least: ReadonlyMap<string, number>,
  ) => { readonly value: number | null } | null;
  /** Results of an even number of events are not given. */
  readonly hasHaving: boolean;
  /** Another query over its results, whose value is the number of events. */
  readonly above: OracleQuery | null;
}

export interface OracleStream {
  readonly per: "stream" | "source" | "key";
  readonly boundUs: number;
  readonly idleUs: number;
  readonly maxAheadUs: number;
  readonly queries: readonly OracleQuery[];
}

interface Row {
  readonly startUs: number;
  readonly endUs: number;
  readonly key: string;
  readonly revision: number;
  readonly kind: "early" | "on-time" | "late";
  readonly isRetracted: boolean;
  readonly events: readonly {
    readonly timeUs: number;
    readonly key: string;
    readonly value: number | null;
  }[];
}

/** What a stream's queries give, from all events and windows at once: slow and plain. */
export class EngineOracle {
  readonly #stream: OracleStream;
  readonly #clocks: ClockOracle;
  readonly #queries: readonly QueryOracle[];
  #watermarkUs = -Infinity;
  #greatestUs = -Infinity;
  #least: ReadonlyMap<string, number> = new Map();
  /** By window, key and revision: kind, whether it is a retraction, values. */
  readonly rows = new Map<string, string>();
  lateEvents = 0;
  /** Clock-skewed events that reached a query of sessions, and one with a query above. */
  readonly skewedEvents = { ofSessions: 0, below: 0 };

  constructor(stream: OracleStream) {
    this.#stream = stream;
    this.#clocks = new ClockOracle(stream.boundUs, stream.idleUs);
    const keyBoundUs = stream.per === "key" ? stream.boundUs : null;
    this.#queries = stream.queries.map((query) => new QueryOracle(query, keyBoundUs, this.rows));
  }

  /** Returns for every event of a block whether it is set aside as late. */
  apply(entry: OracleEntry): boolean[] {
    if (entry.kind === "table") {
      this.#least = entry.least;
      return [];
    }
    const late = entry.kind === "block" ? this.#merge(entry) : [];
    this.#move(entry);
    for (const query of this.#queries) query.fire(this.#watermarkUs);
    this.lateEvents += late.filter(Boolean).length;
    return late;
  }

  #merge({ events, arrivalUs }: OracleEntry & { kind: "block" }): boolean[] {
    const counted = events.filter((event) => !this.#isSkewed(event, arrivalUs));
    for (const { window, above } of this.#stream.queries) {
      if (window.kind === "session") this.skewedEvents.ofSessions += events.length - counted.length;
      if (above !== null) this.skewedEvents.below += events.length - counted.length;
    }
    const late = new Set<SentEvent>();
    for (const query of this.#queries)
      for (const event of query.merge(counted, this.#watermarkUs, this.#least)) late.add(event);
    return events.map((event) => late.has(event));
  }

  #move(entry: Exclude<OracleEntry, { kind: "table" }>): void {
    const { per, boundUs } = this.#stream;
    if (entry.kind === "block") {
      const events = entry.events.map((event) => ({
        source: event.device,
        timeUs: event.ts,
        isSkewed: this.#isSkewed(event, entry.arrivalUs),
      }));
      this.#clocks.apply({ kind: "block", arrivalUs: entry.arrivalUs, events });
      for (const { timeUs, isSkewed } of events)
        if (!isSkewed) this.#greatestUs = Math.max(this.#greatestUs, timeUs);
    } else this.#clocks.apply(entry);
    if (entry.kind === "watermark") this.#watermarkUs = Math.max(this.#watermarkUs, entry.timeUs);
    if (per === "source") this.#watermarkUs = Math.max(this.#watermarkUs, this.#clocks.watermarkUs);
    if (per === "stream") this.#watermarkUs = Math.max(this.#watermarkUs, this.#greatestUs - boundUs);
  }

  #isSkewed({ ts }: SentEvent, arrivalUs: number): boolean {
    return ts > arrivalUs + this.#stream.maxAheadUs;
  }
}

class QueryOracle {
  readonly #query: OracleQuery;
  readonly #rows: Map<string, string>;
  readonly #keyed: KeyedOracle | null;
  readonly #panes: PanesModel | null;
  readonly #hasKeyClocks: boolean;
  /** Results that stand as given, for `having`. */
  readonly #given = new Set<string>();
  readonly #above: QueryOracle | null;
  /** Results that may still change. */
  readonly #open = new Map<string, Row>();
  #finalUs = -Infinity;

  constructor(query: OracleQuery, keyBoundUs: number | null, rows: Map<string, string>) {
    this.#query = query;
    this.#rows = rows;
    this.#hasKeyClocks = keyBoundUs !== null;
    const { window, latenessUs, earlyUs } = query;
    if (window.kind === "spans" && keyBoundUs === null) {
      this.#keyed = null;
      this.#panes = new PanesModel({ windowsOf: window.windowsOf, latenessUs, earlyUs: earlyUs ?? 0 });
    } else {
      const early = earlyUs === null ? {} : { earlyUs };
      this.#keyed = new KeyedOracle({ window, latenessUs, keyBoundUs, ...early });
      this.#panes = null;
    }
    this.#above = query.above === null ? null : new QueryOracle(query.above, null, rows);
  }

  /** Returns the events that are too late. */
  merge(events: readonly SentEvent[], watermarkUs: number, least: ReadonlyMap<string, number>): SentEvent[] {
    const { isByDevice, read } = this.#query;
    const sent = new Map<KeyedEvent, SentEvent>();
    for (const event of events) {
      const seen = read(event, least);
      const key = JSON.stringify(isByDevice ? { device: event.device } : {});
      const timed = { key, timeUs: event.ts, value: seen?.value ?? null };
      sent.set(seen === null ? { ...timed, isDropped: true } : timed, event);
    }
    return this.#take([...sent.keys()], watermarkUs).map((event) => sent.get(event)!);
  }

  fire(watermarkUs: number): void {
    const rows: readonly Row[] =
      this.#keyed?.fire(watermarkUs) ??
      this.#panes?.fire(watermarkUs).map((row) => ({ ...row, isRetracted: false })) ??
      [];
    const given = this.#query.hasHaving ? rows.flatMap((row) => this.#having(row)) : rows;
    for (const row of given) this.#keep(row);
    if (this.#above !== null) this.#release(given, this.#above, watermarkUs - this.#query.latenessUs);
  }

  #take(events: readonly KeyedEvent[], watermarkUs: number): KeyedEvent[] {
    const kept = events.filter(({ isDropped }) => isDropped !== true);
    if (this.#panes !== null) return this.#panes.merge(kept, watermarkUs) as KeyedEvent[];
    return this.#keyed?.merge(this.#hasKeyClocks ? events : kept, watermarkUs) ?? [];
  }

  #having(row: Row): Row[] {
    const id = `${row.startUs} ${row.endUs} ${row.key}`;
    if (!row.isRetracted && row.events.length % 2 === 1) {
      this.#given.add(id);
      return [row];
    }
    return this.#given.delete(id) ? [{ ...row, isRetracted: true }] : [];
  }

  #keep({ startUs, endUs, key, revision, kind, isRetracted, events }: Row): void {
    const values = isRetracted ? {} : aggregateExactly(events);
    const id = `${this.#query.name} ${startUs} ${endUs} ${key} ${revision}`;
    this.#rows.set(id, JSON.stringify([kind, isRetracted, values]));
  }

  /** Results that can change no more become events of the query above. */
  #release(rows: readonly Row[], above: QueryOracle, finalUs: number): void {
    for (const row of rows) {
      if (row.kind === "early") continue;
      const id = `${row.startUs} ${row.endUs} ${row.key}`;
      if (row.isRetracted) this.#open.delete(id);
      else this.#open.set(id, row);
    }
    for (const { startUs, endUs, key } of this.#keyed?.outgrown ?? [])
      this.#open.delete(`${startUs} ${endUs} ${key}`);
    if (finalUs <= this.#finalUs) return;
    const events: SentEvent[] = [];
    for (const [id, { startUs, endUs, key, events: of }] of this.#open) {
      if (endUs > finalUs) continue;
      this.#open.delete(id);
      const { device = "" } = JSON.parse(key) as { device?: string };
      events.push({ device, ts: Math.max(startUs, endUs - 1), v: of.length });
    }
    above.merge(events, this.#finalUs, new Map());
    this.#finalUs = finalUs;
    above.fire(finalUs);
  }
}
