import type { Statement } from "better-sqlite3";
import { compareTimes, type HybridTime } from "../attributes/hybrid-clock.ts";
import type { Connection } from "../store/database.ts";
import { prepareAll } from "../store/prepare-all.ts";
import type { SentAttribute } from "../sync/rows.ts";
import type { AttributeRefusal, HubAttributeLimits } from "./edge-news.ts";
import type { Origin } from "./edge-registry.ts";

const SQL = {
  isKnown: "SELECT 1 FROM attributes WHERE edge_id = ? AND device = ? AND attribute = ?",
  count: "SELECT attributes AS count FROM edges WHERE id = ?",
  add: "UPDATE edges SET attributes = attributes + 1 WHERE id = ?",
  /** The greater of a total order stays, as `compareRegisters` has it. */
  merge:
    "INSERT INTO attributes (edge_id, device, attribute, value, ms, counter, incarnation) VALUES (?, ?, ?, ?, ?, ?, ?)" +
    " ON CONFLICT DO UPDATE SET value = excluded.value, ms = excluded.ms, counter = excluded.counter," +
    " incarnation = excluded.incarnation WHERE (excluded.ms, excluded.counter, excluded.incarnation, coalesce(excluded.value, ''))" +
    " > (ms, counter, incarnation, coalesce(value, ''))",
  setClock: "UPDATE edges SET hlc_ms = ?, hlc_counter = ? WHERE id = ?",
  refuse:
    "UPDATE edges SET attributes_refused = attributes_refused + ?, refused_us = ?, refused_why = ? WHERE id = ?",
} as const;

/** What became of a batch's attributes. */
export interface WrittenAttributes {
  readonly stored: number;
  readonly refused: number;
  readonly latest: HybridTime;
}

/**
 * Merges attributes of devices into what is held. What is stamped too far ahead of the hub's clock is left out: it would hold
 * against everything that is set until then. The edge is told, and stamps it anew. Within the writer's transaction.
 */
export class AttributeWriter {
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;
  readonly #limits: HubAttributeLimits;

  constructor(db: Connection, limits: HubAttributeLimits) {
    this.#limits = limits;
    this.#sql = prepareAll(db, SQL);
  }

  /** @param latest of the edge, until now */
  write(
    { edgeId, incarnation }: Pick<Origin, "edgeId" | "incarnation">,
    rows: readonly SentAttribute[],
    latest: HybridTime,
    nowUs: number,
  ): WrittenAttributes {
    let clock = latest;
    let stored = 0;
    let refused = 0;
    let why: AttributeRefusal | null = null;
    for (const row of rows) {
      const { device, attribute, value, ms, counter } = row;
      const refusal = this.#refusalOf(edgeId, row, nowUs);
      if (refusal !== null) {
        refused++;
        why = refusal;
        continue;
      }
      stored += this.#sql.merge.run(edgeId, device, attribute, value, ms, counter, incarnation).changes;
      if (compareTimes(row, clock) > 0) clock = { ms, counter };
    }
    if (refused > 0) this.#sql.refuse.run(refused, nowUs, why, edgeId);
    if (clock !== latest) this.#sql.setClock.run(clock.ms, clock.counter, edgeId);
    return { stored, refused, latest: clock };
  }

  /** Counts one that is new. */
  #refusalOf(edgeId: number, row: SentAttribute, nowUs: number): AttributeRefusal | null {
    if (row.ms > nowUs / 1_000 + this.#limits.maxClockAheadMs) return "clock-ahead";
    if (this.#sql.isKnown.get(edgeId, row.device, row.attribute) !== undefined) return null;
    const { count } = this.#sql.count.get(edgeId) as { count: number };
    if (count >= this.#limits.maxAttributes) return "too-many";
    this.#sql.add.run(edgeId);
    return null;
  }
}
