import type { AlertRow } from "../messages.ts";
import type { AlertStore } from "./alert-store.ts";
import { type BufferLevel, percentOf } from "./buffer-level.ts";
import type { BufferUse } from "./buffer-operations.ts";
import type { Connection } from "./database.ts";

/** Its name among the alerts. A colon is in no name that a configuration may give. */
export const BUFFER_ALERT = "millrace:buffer";

/** Writes the node's own alert of its buffer: it fires at 70 %, again at each higher level, and ends with the last. */
export class BufferAlert {
  readonly #db: Connection;
  readonly #alerts: AlertStore;
  #episode: { readonly sinceUs: number; readonly revision: number; readonly highest: BufferLevel } | null =
    null;

  constructor(db: Connection, alerts: AlertStore) {
    this.#db = db;
    this.#alerts = alerts;
  }

  /** Opens a transaction of its own. */
  tell(level: BufferLevel, use: BufferUse, nowUs: number): void {
    const before = this.#episode;
    if (level === "normal") {
      if (before === null) return;
      this.#write(before.sinceUs, before.revision + 1, "resolved", level, use, nowUs);
      this.#episode = null;
      return;
    }
    if (before !== null && percentOf(level) <= percentOf(before.highest)) return;
    const sinceUs = before?.sinceUs ?? nowUs;
    const revision = before === null ? 0 : before.revision + 1;
    this.#write(sinceUs, revision, "firing", level, use, nowUs);
    this.#episode = { sinceUs, revision, highest: level };
  }

  #write(
    sinceUs: number,
    revision: number,
    state: AlertRow["state"],
    level: BufferLevel,
    { usedBytes, capBytes, diskFreeBytes }: BufferUse,
    atUs: number,
  ): void {
    const row: AlertRow = {
      alert: BUFFER_ALERT,
      severity: percentOf(level) >= 95 ? "critical" : "warning",
      definition: BUFFER_ALERT,
      key: "{}",
      state,
      sinceUs,
      atUs,
      value: JSON.stringify({ level, usedBytes, capBytes, diskFreeBytes }),
      id: `${BUFFER_ALERT}-${sinceUs}`,
      revision,
      isRetracted: false,
      isTold: false,
    };
    this.#db.transaction(() => this.#alerts.write([row], [], atUs))();
  }
}
