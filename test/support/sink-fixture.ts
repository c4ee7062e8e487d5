import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { all, sinkState, synced } from "./fleet.ts";
import { HttpClient } from "./http-client.ts";
import { NodeProcess } from "./node-process.ts";
import type { Cleanup } from "./temp-dir.ts";

type Row = Readonly<Record<string, unknown>>;

const PATIENCE_MS = 240_000;

/** What a sink holds, each row as the sink's own form has it as JSON. */
export interface SinkRows {
  readonly events: readonly Row[];
  readonly results: readonly Row[];
  readonly alerts: readonly Row[];
}

/** An edge whose only sink is one of `sync.sinks`, in YAML's flow form: `{ file: /dir }` with what stands in `options`. */
export class SinkEdge {
  readonly node: NodeProcess;
  readonly client: HttpClient;
  #sent = 0;

  constructor(sink: string, cleanup: Cleanup, options = "") {
    const config = `
node: { id: press-1 }
checkpoint: { every: 10s }
streams:
  machines: { key: device, time: { field: ts, unit: ms }, watermark: { bound: 1s, maxAhead: 36500d }, lateness: 10s }
queries:
  per_device: { from: machines, window: { tumbling: 10s }, by: [device], select: { n: count(), mean: avg(temp) } }
alerts:
  hot: { from: per_device, when: mean > 60, severity: critical }
sync:
  batch: { events: 500, every: 100ms }
  retry: { first: 50ms, longest: 500ms }
  probe: 200ms
  timeout: 3s
  breaker: { open: 500ms }
  sinks:
    out: { ${sink} }
${options}`;
    this.node = new NodeProcess({ config }, cleanup);
    this.client = new HttpClient(() => this.node.url);
    cleanup.after(() => this.client.close());
  }

  /** Requests of 200 events each. */
  async send(requests: number): Promise<void> {
    const start = Date.UTC(2026, 0, 1);
    for (let request = 0; request < requests; request++) {
      const events = Array.from({ length: 200 }, () => {
        const n = this.#sent++;
        const odd = n % 50 === 0 ? { note: `"quoted", \\slashed\\ and\ttabbed ${n}`, at: { row: n } } : {};
        return {
          ts: start + n * 20,
          device: `m${n % 7}`,
          temp: 50 + ((n * 37) % 30),
          n,
          ok: n % 3 > 0,
          ...odd,
        };
      });
      try {
        await this.client.send("machines", events);
      } catch (cause) {
        throw new Error(`the edge took no events:\n${this.node.tail()}`, { cause });
      }
    }
  }

  async end(): Promise<void> {
    await this.client.watermark("machines", { end: true });
    await synced(this.node, this.client);
  }

  /** The sink has what the edge has, once. @returns how many rows were compared. */
  async assertHolds({ events, results, alerts }: SinkRows): Promise<number> {
    const here = {
      events: await all(this.client, "/v1/streams/machines/events"),
      results: await all(this.client, "/v1/queries/per_device/results?revisions=all"),
      alerts: await all(this.client, "/v1/alerts?revisions=all"),
    };
    assertEqual("events", sorted(events.map(plain)), sorted(here.events));
    assertEqual("results", sorted(results.map(resultOf)), sorted(here.results.map(resultOf)));
    assertEqual("alerts", sorted(alerts.map(alertOf)), sorted(here.alerts.map(alertOf)));
    return events.length + results.length + alerts.length;
  }

  /** Waits until an attempt failed for this. One before it may have failed for another, as a time limit on a busy machine. */
  async failsFor(reason: RegExp): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (;;) {
      const { lastError } = await sinkState(this.client);
      if (lastError !== null && reason.test(lastError)) return;
      if (performance.now() > deadline) assert.match(lastError ?? "nothing failed", reason);
      await sleep(50);
    }
  }

  async parked(): Promise<number> {
    return (await sinkState(this.client)).backlog.parked;
  }

  /** Kills it while it sends, again and again, and then lets it end. */
  async sendThroughKills(kills: number): Promise<void> {
    await this.node.start();
    for (let kill = 0; kill < kills; kill++) {
      await this.send(5);
      await this.node.restart("SIGKILL");
    }
    await this.send(5);
    await this.end();
  }
}

/**
 * Of sinks that only append: results and alerts that an edge made again after it was killed stand there again, and of
 * the rows of one name the one with the greatest id holds.
 */
export function newest({ events, results, alerts }: SinkRows): SinkRows {
  const pick = (rows: readonly Row[], name: (row: Row) => unknown): Row[] => {
    const byName = new Map<string, Row>();
    for (const row of rows) {
      const known = byName.get(JSON.stringify(name(row)));
      if (known === undefined || Number(row.id ?? 0) >= Number(known.id ?? 0))
        byName.set(JSON.stringify(name(row)), row);
    }
    return [...byName.values()];
  };
  return {
    events,
    results: pick(results, ({ edge, query, window, key, revision }) => [edge, query, window, key, revision]),
    alerts: pick(alerts, ({ edge, alert, key, since, episode, revision, state }) => [
      edge,
      alert,
      key,
      since,
      episode,
      revision,
      state,
    ]),
  };
}

function assertEqual(what: string, there: readonly string[], here: readonly string[]): void {
  const [missing, extra] = [without(here, there), without(there, here)];
  const shown = [
    ...missing.slice(0, 3).map((row) => `- ${row}`),
    ...extra.slice(0, 3).map((row) => `+ ${row}`),
  ];
  assert.equal(
    missing.length + extra.length,
    0,
    `${what}: ${missing.length} missing, ${extra.length} too many of ${here.length}\n${shown.join("\n")}`,
  );
}

/** Those of the first list that the second has not, or not as often. */
function without(rows: readonly string[], others: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const row of others) counts.set(row, (counts.get(row) ?? 0) + 1);
  return rows.filter((row) => {
    const count = counts.get(row) ?? 0;
    counts.set(row, count - 1);
    return count <= 0;
  });
}

function plain({ edge, ...row }: Row): Row {
  assert.equal(edge, "press-1");
  return row;
}

function resultOf({ window, key, values, revision, kind }: Row): Row {
  return { window, key, values, revision, kind };
}

function alertOf({ alert, severity, key, state, since, value, revision }: Row): Row {
  return { alert, severity, key, state, since, value, revision };
}

function sorted(rows: readonly Row[]): string[] {
  return rows.map((row) => JSON.stringify(row, byName)).sort();
}

/** Members in one order, whoever wrote them. */
function byName(_name: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
