import type { Statement } from "better-sqlite3";
import { alertJson } from "../alert/alert-json.ts";
import type { StandingAlert } from "../alert/standing.ts";
import type { AlertRow, AlertWebhooks, WebhookOutcome } from "../messages.ts";
import { openAlert, openWebhook, type StoredWebhook, sealAlert, sealWebhook } from "../seal/alert-seal.ts";
import type { Seal, Stored } from "../seal/seal.ts";
import type { Connection } from "./database.ts";
import type { Outbox } from "./outbox.ts";
import { prepareAll } from "./prepare-all.ts";

/** A post that waits. */
export interface QueuedWebhook {
  readonly id: number;
  readonly url: string;
  /** The same in every attempt. */
  readonly idempotencyKey: string;
  readonly alert: string;
  readonly body: string;
  /** Attempts that failed. */
  readonly attempts: number;
}

type StoredOpen = Omit<AlertRow, "isRetracted" | "isTold" | "key" | "id" | "value" | "seq"> &
  Readonly<Record<"key" | "id" | "value", Stored>> & { readonly isRetracted: number };

/** Posts set aside that are kept for a look; the oldest beyond them are forgotten. */
const SET_ASIDE_KEPT = 1_000;

const SAME_EPISODE = (other: string): string =>
  ["alert", "since_us", "key", "id"].map((column) => `${other}.${column} = a.${column}`).join(" AND ");

const SQL = {
  insert:
    "INSERT INTO alerts (alert, since_us, key, id, revision, definition, severity, state, at_us, value, retracted, seq)" +
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
  /** Which of an alert's steps is the latest, whatever the order in which they were written. */
  markLatest:
    "UPDATE alerts SET is_latest = (revision = (SELECT max(revision) FROM alerts n WHERE n.alert = alerts.alert" +
    " AND n.since_us = alerts.since_us AND n.key = alerts.key AND n.id = alerts.id))" +
    " WHERE alert = ? AND since_us = ? AND key = ? AND id = ?",
  openDefinitions: "SELECT DISTINCT definition FROM alerts WHERE is_latest = 1 AND state <> 'resolved'",
  openOf:
    "SELECT alert, since_us AS sinceUs, key, id, revision, definition, severity, state, at_us AS atUs, value, retracted AS isRetracted FROM alerts" +
    " WHERE is_latest = 1 AND state <> 'resolved' AND definition = ?",
  /** What was open once the log was applied up to an entry; of what entry a step came was not stored by releases before. */
  openAt:
    "SELECT alert, since_us AS sinceUs, key, id, revision, definition, severity, state, at_us AS atUs, value, retracted AS isRetracted," +
    ` EXISTS (SELECT 1 FROM alerts f WHERE ${SAME_EPISODE("f")} AND f.revision <= a.revision AND f.state = 'firing') AS hasFired` +
    " FROM alerts a WHERE coalesce(seq, 0) <= ? AND state <> 'resolved' AND NOT EXISTS" +
    ` (SELECT 1 FROM alerts n WHERE ${SAME_EPISODE("n")} AND n.revision > a.revision AND coalesce(n.seq, 0) <= ?)`,
  queue:
    "INSERT INTO webhooks (alert, url, episode, idempotency_key, body, next_at_us) VALUES (?, ?, ?, ?, ?, ?)" +
    " ON CONFLICT DO NOTHING",
  /** Addresses one after the other: a look into the index for each, however much waits. */
  urls:
    "WITH RECURSIVE u(url) AS (SELECT min(url) FROM webhooks WHERE is_set_aside = 0 UNION ALL" +
    " SELECT (SELECT min(url) FROM webhooks w WHERE is_set_aside = 0 AND w.url > u.url) FROM u WHERE u.url IS NOT NULL)" +
    " SELECT url FROM u WHERE url IS NOT NULL",
  /** A step waits until those before it of the same alert are through. */
  due:
    "SELECT id, url, idempotency_key AS idempotencyKey, alert, body, attempts FROM webhooks w WHERE is_set_aside = 0" +
    " AND url = ? AND next_at_us <= ? AND NOT EXISTS (SELECT 1 FROM webhooks b WHERE b.is_set_aside = 0 AND b.url = w.url" +
    " AND b.episode = w.episode AND b.id < w.id) ORDER BY next_at_us, id LIMIT ?",
  nextDue: "SELECT min(next_at_us) AS nextAtUs FROM webhooks WHERE is_set_aside = 0 AND next_at_us > ?",
  waiting: "SELECT count(*) AS waiting FROM webhooks WHERE is_set_aside = 0",
  deliver: "DELETE FROM webhooks WHERE id = ?",
  fail: "UPDATE webhooks SET attempts = attempts + 1, next_at_us = ?, last_error = ? WHERE id = ?",
  /** Its later steps wait with it, so that they are not looked at again and again. */
  holdBack:
    "UPDATE webhooks SET next_at_us = max(next_at_us, ?) WHERE is_set_aside = 0 AND (url, episode) =" +
    " (SELECT url, episode FROM webhooks WHERE id = ?)",
  setAside: "UPDATE webhooks SET attempts = attempts + 1, is_set_aside = 1, last_error = ? WHERE id = ?",
  setAsideOldest:
    "UPDATE webhooks SET is_set_aside = 1, last_error = ? WHERE id IN" +
    " (SELECT id FROM webhooks WHERE is_set_aside = 0 ORDER BY id LIMIT ?)",
  forget:
    "DELETE FROM webhooks WHERE is_set_aside = 1 AND id NOT IN" +
    ` (SELECT id FROM webhooks WHERE is_set_aside = 1 ORDER BY id DESC LIMIT ${SET_ASIDE_KEPT})`,
} as const;

/** Steps of alerts, and the outbox of their webhooks. Its methods run within the writer's transaction. */
export class AlertStore {
  readonly #sql: Readonly<Record<keyof typeof SQL, Statement<unknown[]>>>;

  readonly #seal: Seal;
  readonly #outbox: Outbox;

  constructor(db: Connection, seal: Seal, outbox: Outbox) {
    this.#seal = seal;
    this.#outbox = outbox;
    this.#sql = prepareAll(db, SQL);
  }

  /** A step that is there already is left as it is, and nobody is told of it again: a replay changes nothing. */
  write(rows: readonly AlertRow[], webhooks: readonly AlertWebhooks[], nowUs: number): void {
    const written: AlertRow[] = [];
    for (const row of rows) {
      const { alert, sinceUs, revision, definition, severity, state, atUs, isRetracted } = row;
      const { key, id, value } = sealAlert(this.#seal, row);
      const fixed = [alert, sinceUs, key, id, revision, definition, severity, state, atUs, value];
      if (this.#sql.insert.run(...fixed, Number(isRetracted), row.seq ?? null).changes === 0) continue;
      written.push(row);
      this.#sql.markLatest.run(alert, sinceUs, key, id);
      if (!row.isTold) continue;
      const body = alertJson(row);
      for (const url of webhooks.find((each) => each.alert === alert)?.urls ?? []) {
        const post = sealWebhook(this.#seal, alert, url, `${row.id}-${revision}`, body);
        this.#sql.queue.run(alert, post.url, id, post.idempotencyKey, post.body, nowUs);
      }
    }
    this.#outbox.addAlerts(written, nowUs);
  }

  /** Ends what is pending or firing under definitions that are no more: nothing would ever end it. */
  keepOnly(definitions: readonly string[], nowUs: number, seq: number): void {
    for (const { definition } of this.#sql.openDefinitions.all() as { definition: string }[]) {
      if (definitions.includes(definition)) continue;
      const open = this.#sql.openOf.all(definition) as StoredOpen[];
      const ended = open.map((row) => ({
        ...row,
        ...openAlert(this.#seal, row),
        revision: row.revision + 1,
        state: "resolved" as const,
        isRetracted: false,
        isTold: false,
        seq,
      }));
      this.write(ended, [], nowUs);
    }
  }

  /** The steps at which episodes stood that were open once the log was applied up to that entry. Looks at all steps. */
  openAt(seq: number): StandingAlert[] {
    type Row = StoredOpen & { readonly hasFired: number };
    return (this.#sql.openAt.all(seq, seq) as Row[]).map((row) => {
      const { alert, definition, sinceUs, atUs, state, revision, hasFired } = row;
      const { key, id, value } = openAlert(this.#seal, row);
      return { alert, definition, sinceUs, atUs, state, revision, key, id, value, hasFired: hasFired !== 0 };
    });
  }

  settle(id: number, outcome: WebhookOutcome): void {
    if (outcome.kind === "delivered") this.#sql.deliver.run(id);
    else if (outcome.kind === "failed") {
      this.#sql.fail.run(outcome.nextAtUs, this.#error(outcome.error), id);
      this.#sql.holdBack.run(outcome.nextAtUs, id);
    } else {
      this.#sql.setAside.run(this.#error(outcome.error), id);
      this.#sql.forget.run();
    }
  }

  /** Posts that are due, `perUrl` of each address at most: the first of each come before the second of any. */
  due(nowUs: number, perUrl: number): QueuedWebhook[] {
    const urls = this.#sql.urls.all() as { url: Stored }[];
    const lists = urls.map(({ url }) =>
      (this.#sql.due.all(url, nowUs, perUrl) as StoredWebhook[]).map((row) => openWebhook(this.#seal, row)),
    );
    return Array.from({ length: perUrl }).flatMap((_, place) =>
      lists.flatMap((list) => list.slice(place, place + 1)),
    );
  }

  /** What an address answered may tell of what was posted. */
  #error(text: string): Stored {
    return this.#seal.text("webhooks/last_error", text);
  }

  /** When a post becomes due that is not due yet, or null when there is none. µs since the epoch. */
  nextDueUs(nowUs: number): number | null {
    return (this.#sql.nextDue.get(nowUs) as { nextAtUs: number | null }).nextAtUs;
  }

  waiting(): number {
    return (this.#sql.waiting.get() as { waiting: number }).waiting;
  }

  /** Sets the oldest posts aside until no more than `most` wait. @returns how many. */
  limit(most: number, error: string): number {
    const excess = this.waiting() - most;
    if (excess <= 0) return 0;
    this.#sql.setAsideOldest.run(this.#error(error), excess);
    this.#sql.forget.run();
    return excess;
  }
}
