import type { Statement } from "better-sqlite3";
import type { AttributeLimits } from "../attributes/attribute-rules.ts";
import { compareTimes, type HybridTime, later, NO_TIME, tick } from "../attributes/hybrid-clock.ts";
import { attributePlace } from "../seal/places.ts";
import type { Seal, Stored } from "../seal/seal.ts";
import type {
  AttributeReport,
  DeviceAttribute,
  DeviceAttributes,
  HubTime,
  ListDevicesTask,
  SetAttributesOutcome,
  SetAttributesTask,
} from "./attribute-operations.ts";
import type { Connection } from "./database.ts";
import { prepareAll } from "./prepare-all.ts";

/** Stamped anew in one transaction: others wait meanwhile. */
const STAMPED_AT_ONCE = 500;
/** Removed, and every sink has been told: the hub remembers it from then on. */
const IS_FORGETTABLE =
  "is_removed = 1 AND EXISTS (SELECT 1 FROM sync_sinks)" +
  " AND NOT EXISTS (SELECT 1 FROM sync_sinks s WHERE coalesce((SELECT after_id FROM sync_positions p" +
  " WHERE p.sink = s.id AND p.flow = 'attributes'), 0) < device_attributes.id)" +
  " AND NOT EXISTS (SELECT 1 FROM sync_batches b JOIN sync_items i ON i.batch = b.id" +
  " WHERE b.class = 'attributes' AND i.id = device_attributes.id)";

const ROWS =
  "SELECT id, device, attribute, ms, counter, is_removed AS isRemoved, body FROM device_attributes";
const SQL = {
  clock: "SELECT ms, counter, has_heard AS hasHeard FROM attribute_clock",
  dropClock: "DELETE FROM attribute_clock",
  setClock: "INSERT INTO attribute_clock (ms, counter, has_heard) VALUES (?, ?, ?)",
  counts:
    "SELECT count(DISTINCT device) AS devices, count(*) - sum(is_removed) AS attributes FROM device_attributes",
  ofDevice: `${ROWS} WHERE device = ?`,
  devices:
    "SELECT DISTINCT device FROM device_attributes WHERE (@after IS NULL OR device > @after) AND is_removed = 0" +
    " ORDER BY device LIMIT @limit",
  remove: "DELETE FROM device_attributes WHERE device = ? AND attribute = ?",
  insert:
    "INSERT INTO device_attributes (device, attribute, ms, counter, is_removed, changed_us, bytes, body)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
  forget: `DELETE FROM device_attributes WHERE device = ? AND ${IS_FORGETTABLE}`,
  forgetAll: `DELETE FROM device_attributes WHERE ${IS_FORGETTABLE}`,
  ahead: `${ROWS} WHERE ms > ? ORDER BY ms, counter, id LIMIT ${STAMPED_AT_ONCE}`,
  behind: `${ROWS} WHERE (ms, counter) <= (?, ?) ORDER BY ms, counter, id LIMIT ${STAMPED_AT_ONCE}`,
  latestUpTo:
    "SELECT ms, counter FROM device_attributes WHERE ms <= ? ORDER BY ms DESC, counter DESC LIMIT 1",
  plain: `${ROWS} WHERE typeof(body) = 'text'`,
  sealRow: "UPDATE device_attributes SET device = ?, attribute = ?, body = ? WHERE id = ?",
} as const;

/**
 * Of what a hub takes, how far this node's clock is believed to be ahead: with all of it, what is stamped while an answer is on
 * its way would be beyond what that says.
 */
const BELIEVED_SHARE = 0.5;
/** Rows are a few hundred bytes: of the page, the index, and what stands for texts. */
const ROW_BYTES = 64;

interface Row {
  readonly id: number;
  /** Names where the store is sealed, the texts themselves otherwise. */
  readonly device: Stored;
  readonly attribute: Stored;
  readonly ms: number;
  readonly counter: number;
  readonly isRemoved: number;
  readonly body: Stored;
}

/** What a row says: device, attribute, and the value as a text of JSON. */
export type AttributeBody = readonly [device: string, attribute: string, value: string | null];

export function openAttribute(seal: Seal, row: Pick<Row, "ms" | "counter" | "body">): AttributeBody {
  return JSON.parse(seal.openText(attributePlace(row), row.body)) as AttributeBody;
}

/**
 * Attributes of devices: last-writer-wins registers, each with the time of the node's hybrid clock at which it was set.
 * Each change takes a new `id`, which is what sinks go by: they get what an attribute is, not all that it was.
 *
 * Invariant: the clock is at no time behind a register's time, over restarts too. Each method is one transaction.
 */
export class AttributeStore {
  readonly #db: Connection;
  readonly #seal: Seal;
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  readonly #monotonicMs: () => number;
  #clock: HybridTime = NO_TIME;
  /** Whether this data directory was ever told of a hub's time. */
  #hasHeard = false;
  /** What is not later than this is yet to be stamped anew; null: nothing is. */
  #behind: HybridTime | null = null;
  #devices = 0;
  #attributes = 0;
  #restamped = 0;
  /** How far a clock is believed, and when (monotonic) the hub said so; null: nothing was heard since the start. */
  #ceiling: { readonly ms: number; readonly atMs: number } | null = null;

  constructor(db: Connection, seal: Seal, monotonicMs: () => number = () => performance.now()) {
    this.#db = db;
    this.#seal = seal;
    this.#monotonicMs = monotonicMs;
    this.#sql = prepareAll(db, SQL);
    this.#sealPlain();
    this.#load();
  }

  /** Sets attributes of devices in one transaction. What there is no room for is answered for itself, and nothing of it is set. */
  set(tasks: readonly SetAttributesTask[], limits: AttributeLimits, nowMs: number): SetAttributesOutcome[] {
    return this.#write(() => tasks.map((task) => this.#setOne(task, limits, nowMs)));
  }

  /** null: it has none. */
  read(device: string): DeviceAttributes | null {
    const attributes = this.#describe(this.#rowsOf(this.#deviceName(device)));
    return attributes.length === 0 ? null : { device, attributes };
  }

  list({ after, limit }: ListDevicesTask): DeviceAttributes[] {
    const behind = after === null ? null : this.#deviceName(after);
    const names = this.#sql.devices.all({ after: behind, limit }) as { device: Stored }[];
    return names.map(({ device: name }) => {
      const rows = this.#rowsOf(name);
      const [device] = openAttribute(this.#seal, rows[0]!);
      return { device, attributes: this.#describe(rows) };
    });
  }

  /**
   * A hub said what time it is. What was stamped so far ahead that no hub would take it is stamped anew, in its order, and
   * sent again. So is everything that was set before a hub was ever heard, should the hub know later times of this edge:
   * they are of a data directory before this one.
   * @returns how many were stamped anew; asked again, it goes on with what is left
   */
  learn(hub: HubTime, nowMs: number): number {
    const ceilingMs = hub.nowMs + hub.maxAheadMs;
    const believedMs = hub.nowMs + hub.maxAheadMs * BELIEVED_SHARE;
    this.#ceiling = { ms: believedMs, atMs: this.#monotonicMs() };
    const ahead = this.#sql.ahead.all(ceilingMs) as Row[];
    const isAhead = ahead.length > 0 || this.#clock.ms > ceilingMs;
    const isBehind = compareTimes(this.#clock, hub.latest) < 0;
    if (isBehind && !this.#hasHeard) this.#behind = hub.latest;
    if (!isAhead && !isBehind && this.#behind === null && this.#hasHeard) return 0;
    return this.#write(() => {
      if (isAhead) this.#clock = (this.#sql.latestUpTo.get(ceilingMs) as HybridTime | undefined) ?? NO_TIME;
      this.#clock = later(this.#clock, hub.latest);
      const rows = isAhead ? ahead : this.#rowsBehind();
      for (const row of rows) this.#stampAnew(row, nowMs);
      if (!isAhead && rows.length < STAMPED_AT_ONCE) {
        this.#behind = null;
        this.#hasHeard = true;
      }
      this.#restamped += rows.length;
      return rows.length;
    });
  }

  #rowsBehind(): Row[] {
    const { ms, counter } = this.#behind ?? NO_TIME;
    return this.#behind === null ? [] : (this.#sql.behind.all(ms, counter) as Row[]);
  }

  report(nowMs: number): AttributeReport {
    const aheadMs = this.#clock.ms === 0 ? 0 : this.#clock.ms - nowMs;
    return { devices: this.#devices, attributes: this.#attributes, aheadMs, restamped: this.#restamped };
  }

  #setOne(task: SetAttributesTask, limits: AttributeLimits, nowMs: number): SetAttributesOutcome {
    const { device, mode, attributes } = task;
    const name = this.#deviceName(device);
    const before = this.#rowsOf(name);
    this.#sql.forget.run(name);
    const rows = this.#rowsOf(name);
    const known = new Map(rows.map((row) => [openAttribute(this.#seal, row)[1], row]));
    const changes = new Map<string, string | null>();
    if (mode === "replace")
      for (const [attribute, row] of known) if (row.isRemoved === 0) changes.set(attribute, null);
    // What is removed need not be known here: the hub may hold it of a data directory before this one.
    for (const [attribute, value] of Object.entries(attributes))
      changes.set(attribute, value === null ? null : JSON.stringify(value));
    const all = new Set([...known.keys(), ...changes.keys()]).size;
    const { maxDevices, maxDeviceAttributes } = limits;
    if (rows.length < before.length) this.#devices += Number(rows.length > 0) - Number(before.length > 0);
    if (all > known.size && all > maxDeviceAttributes)
      return { kind: "refused", limit: "maxDeviceAttributes", most: maxDeviceAttributes };
    const isNew = rows.length === 0 && changes.size > 0;
    if (isNew && this.#devices >= maxDevices && !this.#makesRoom(maxDevices))
      return { kind: "refused", limit: "maxDevices", most: maxDevices };
    for (const [attribute, value] of changes) {
      this.#clock = tick(this.#clock, this.#boundedMs(nowMs));
      this.#put(name, this.#attributeName(attribute), [device, attribute, value], this.#clock, nowMs);
    }
    const after = this.#rowsOf(name);
    this.#devices += Number(after.length > 0) - Number(rows.length > 0);
    this.#attributes += countSet(after) - countSet(before);
    return { kind: "set", device: { device, attributes: this.#describe(after) } };
  }

  /** Devices of which nothing is left but what was removed count no more, once that is known. */
  #makesRoom(maxDevices: number): boolean {
    this.#sql.forgetAll.run();
    this.#count();
    return this.#devices < maxDevices;
  }

  #stampAnew(row: Row, nowMs: number): void {
    const body = openAttribute(this.#seal, row);
    this.#clock = tick(this.#clock, this.#boundedMs(nowMs));
    this.#put(row.device, row.attribute, body, this.#clock, nowMs);
  }

  #put(device: Stored, attribute: Stored, body: AttributeBody, time: HybridTime, nowMs: number): void {
    this.#sql.remove.run(device, attribute);
    const text = JSON.stringify(body);
    const sealed = this.#seal.text(attributePlace(time), text);
    const bytes = ROW_BYTES + text.length;
    const removed = Number(body[2] === null);
    this.#sql.insert.run(device, attribute, time.ms, time.counter, removed, nowMs * 1_000, bytes, sealed);
  }

  /** A clock that runs ahead of the hub's, by more than that takes, is not believed. */
  #boundedMs(nowMs: number): number {
    if (this.#ceiling === null) return nowMs;
    return Math.min(nowMs, this.#ceiling.ms + (this.#monotonicMs() - this.#ceiling.atMs));
  }

  #describe(rows: readonly Row[]): DeviceAttribute[] {
    return rows
      .flatMap((row) => {
        const [, attribute, value] = openAttribute(this.#seal, row);
        return value === null ? [] : [{ attribute, value, time: { ms: row.ms, counter: row.counter } }];
      })
      .sort((a, b) => (a.attribute < b.attribute ? -1 : 1));
  }

  #rowsOf(device: Stored): Row[] {
    return this.#sql.ofDevice.all(device) as Row[];
  }

  #deviceName(device: string): Stored {
    return this.#seal.name("device_attributes/device", device);
  }

  #attributeName(attribute: string): Stored {
    return this.#seal.name("device_attributes/attribute", attribute);
  }

  #write<T>(run: () => T): T {
    this.#seal.prepare();
    try {
      return this.#db.transaction(() => {
        const result = run();
        this.#sql.dropClock.run();
        this.#sql.setClock.run(this.#clock.ms, this.#clock.counter, Number(this.#hasHeard));
        return result;
      })();
    } catch (cause) {
      this.#load();
      throw cause;
    }
  }

  #load(): void {
    type Clock = HybridTime & { readonly hasHeard: number };
    // Missing in a store of which its page could not be read.
    const clock = this.#sql.clock.get() as Clock | undefined;
    const latest = this.#sql.latestUpTo.get(Number.MAX_SAFE_INTEGER) as HybridTime | undefined;
    this.#clock = later(clock === undefined ? NO_TIME : timeOf(clock), latest ?? NO_TIME);
    this.#hasHeard = clock?.hasHeard === 1;
    this.#count();
  }

  #count(): void {
    const { devices, attributes } = this.#sql.counts.get() as {
      devices: number;
      attributes: number | null;
    };
    this.#devices = devices;
    this.#attributes = attributes ?? 0;
  }

  /** What was written before there was a key. */
  #sealPlain(): void {
    if (!this.#seal.isOn) return;
    const rows = this.#sql.plain.all() as Row[];
    if (rows.length === 0) return;
    this.#seal.prepare();
    this.#db.transaction(() => {
      for (const row of rows) {
        const text = row.body as string;
        const [device, attribute] = JSON.parse(text) as AttributeBody;
        const body = this.#seal.text(attributePlace(row), text);
        this.#sql.sealRow.run(this.#deviceName(device), this.#attributeName(attribute), body, row.id);
      }
    })();
  }
}

function timeOf({ ms, counter }: HybridTime): HybridTime {
  return { ms, counter };
}

function countSet(rows: readonly Row[]): number {
  return rows.filter(({ isRemoved }) => isRemoved === 0).length;
}
