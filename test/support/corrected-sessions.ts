import assert from "node:assert/strict";
import { BlockDecoder } from "../../workers/query/block-decoder.ts";
import { createEventWriter } from "../../workers/query/event-json.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { computeSessions, type OracleEvent, type OracleWindow } from "./oracle.ts";
import type { StoredNode } from "./stored-node.ts";

interface SentEvent {
  readonly device: string;
  readonly ts: number;
  readonly v: number;
}

interface Settings {
  readonly per: "stream" | "source" | "key";
  readonly boundUs: number;
  readonly latenessUs: number;
  readonly gapUs: number;
}

/** By query, results by window and key. */
type Rows = Map<string, Map<string, unknown>>;

const decoder = new BlockDecoder(await portableCodec());

/** The queries over sessions: which events count, and which results are given. */
const QUERIES: Readonly<
  Record<
    string,
    { readonly counts: (event: OracleEvent) => boolean; readonly gives: (row: OracleWindow) => boolean }
  >
> = {
  sessions: { counts: () => true, gives: () => true },
  warm: { counts: ({ value }) => value! > 0, gives: ({ sum }) => sum! > 60 },
};

/**
 * What `late --apply` makes of stored sessions. An event near an open session is in that one and not late, also when it is near
 * one that has closed; the closed one stays without it, unless a late event is near. So of all sessions that there would
 * be with every event in time, those with a late event are put together from their pieces, once they are closed, and the others
 * stay as the live windows gave them.
 */
export class CorrectedSessions {
  readonly #node: StoredNode;
  readonly #settings: Settings;
  readonly #events: OracleEvent[] = [];
  readonly #greatestUs = new Map<string, number>();
  #watermarkUs = -Infinity;
  /** Sessions found that are less than they would be, had all events come in time. */
  pieces = 0;

  constructor(node: StoredNode, settings: Settings) {
    this.#node = node;
    this.#settings = settings;
  }

  take(block: readonly SentEvent[], isSkewed: (event: SentEvent) => boolean): void {
    for (const event of block) {
      const { device, ts, v } = event;
      if (isSkewed(event)) continue;
      this.#events.push({ key: device, timeUs: ts, value: v });
      this.#greatestUs.set(device, Math.max(ts, this.#greatestUs.get(device) ?? -Infinity));
    }
    const { per, boundUs } = this.#settings;
    const greatest = [...this.#greatestUs.values()];
    if (per !== "key" && greatest.length > 0)
      this.#watermarkUs = Math.max(
        this.#watermarkUs,
        (per === "stream" ? Math.max(...greatest) : Math.min(...greatest)) - boundUs,
      );
  }

  /** No more is to come. */
  end(): void {
    this.#watermarkUs = Infinity;
  }

  stored(): Rows {
    return new Map(
      Object.keys(QUERIES).map((query) => [
        query,
        new Map(
          this.#node.results(query).map(({ startUs, endUs, key, values }) => {
            const { device } = JSON.parse(key) as { device: string };
            return [`${startUs} ${endUs} ${device}`, JSON.parse(values)];
          }),
        ),
      ]),
    );
  }

  /** The stored sessions as they are once late events are applied: all of them, or those that were not skewed. */
  corrected(includesSkewed: boolean): Rows {
    const rows = this.stored();
    const late = this.#lateEvents(
      ({ isApplied, reason }) => !isApplied && (includesSkewed || reason === "late"),
    );
    const events = [
      ...this.#counted(),
      ...(includesSkewed
        ? this.#lateEvents(({ isApplied, reason }) => !isApplied && reason === "clock-skew")
        : []),
    ];
    for (const [query, { counts, gives }] of Object.entries(QUERIES)) {
      const ofQuery = rows.get(query)!;
      for (const whole of computeSessions(events.filter(counts), this.#settings.gapUs)) {
        const { key, startUs, endUs } = whole;
        const isAsked = late.some(
          (event) => counts(event) && event.key === key && event.timeUs >= startUs && event.timeUs < endUs,
        );
        if (!isAsked || endUs + this.#settings.latenessUs > this.#clockOf(key)) continue;
        for (const id of ofQuery.keys()) if (isWithin(id, whole)) ofQuery.delete(id);
        if (gives(whole)) ofQuery.set(`${startUs} ${endUs} ${key}`, valuesOf(whole));
      }
    }
    return rows;
  }

  /** Every event is in one session, which is as long as its events say. @returns all events that count. */
  check(message: string): readonly OracleEvent[] {
    const events = this.#counted();
    const counted = this.windows().reduce((sum, { events }) => sum + events, 0);
    assert.equal(counted, events.length, message);
    const whole = computeSessions(events, this.#settings.gapUs);
    for (const { key, startUs, endUs } of this.windows()) {
      const around = whole.find(
        (session) => session.key === key && session.startUs <= startUs && session.endUs >= endUs,
      );
      assert.ok(around !== undefined, `${startUs} ${endUs} ${key} is a piece of no session, ${message}`);
      if (around.startUs !== startUs || around.endUs !== endUs) this.pieces++;
    }
    return events;
  }

  /** The stored sessions, by their own values. */
  windows(): OracleWindow[] {
    return this.#node.results("sessions").map(({ startUs, endUs, key, values }) => {
      const { device } = JSON.parse(key) as { device: string };
      const { n, total, high, end } = JSON.parse(values) as Record<"n" | "total" | "high" | "end", number>;
      const [summary] = computeSessions([{ key: device, timeUs: startUs, value: 0 }], endUs - startUs);
      return { ...summary!, startUs, endUs, events: n, sum: total, max: high, last: end };
    });
  }

  #clockOf(device: string): number {
    if (this.#settings.per !== "key") return this.#watermarkUs;
    return Math.max(this.#watermarkUs, (this.#greatestUs.get(device) ?? -Infinity) - this.#settings.boundUs);
  }

  /** Those that came in time, or were late, and the skewed ones that were applied. */
  #counted(): OracleEvent[] {
    return [
      ...this.#events,
      ...this.#lateEvents(({ isApplied, reason }) => isApplied && reason === "clock-skew"),
    ];
  }

  #lateEvents(isWanted: (block: ReturnType<StoredNode["late"]>[number]) => boolean): OracleEvent[] {
    return this.#node.late().flatMap((late) => {
      const { block } = late;
      if (!isWanted(late)) return [];
      const opened = decoder.open(block);
      assert.ok(opened.kind !== "unreadable");
      const write = createEventWriter(opened.rows, "ts");
      return Array.from({ length: opened.rows.rows }, (_, row) => {
        const { device, ts, v } = JSON.parse(write(row)) as { device: string; ts: string; v: number };
        return { key: device, timeUs: Date.parse(ts) * 1_000, value: v };
      });
    });
  }
}

function valuesOf({ events, sum, max, last }: OracleWindow): unknown {
  return { n: events, total: sum, high: max, end: last };
}

function isWithin(id: string, { key, startUs, endUs }: OracleWindow): boolean {
  const [from, to, device] = id.split(" ") as [string, string, string];
  return device === key && Number(from) >= startUs && Number(to) <= endUs;
}
