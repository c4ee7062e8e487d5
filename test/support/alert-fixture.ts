import assert from "node:assert/strict";
import { alertPlan } from "../../host/config/alert.ts";
import { parseConfig } from "../../host/config/load.ts";
import { queryPlan, streamPlan } from "../../host/config/plans.ts";
import { formatProblem } from "../../host/config/problems.ts";
import type { AlertPlan, AlertRow, QueryPlan, StreamPlan } from "../../workers/messages.ts";
import type { AlertLine } from "./http-client.ts";

export interface AlertFixture {
  readonly alert: AlertPlan;
  readonly query: QueryPlan;
  readonly stream: StreamPlan;
}

/** An alert `a` over query `q` (`mean`, by device, tumbling) or stream `s`, with settings such as `when: mean > 90`. */
export function alertFixture(settings: string): AlertFixture {
  const loaded = parseConfig(
    `streams: { s: { key: device, time: { field: ts, unit: us }, watermark: { maxAhead: 36500d } } }
queries: { q: { from: s, window: { tumbling: 10s }, select: { mean: avg(temp) } } }
alerts: { a: { ${settings} } }
`,
    "test.yaml",
  );
  assert.ok(loaded.ok, loaded.ok ? "" : loaded.problems.map(formatProblem).join("\n"));
  const { streams, queries, alerts } = loaded.config;
  const stream = streams.get("s")!;
  return {
    alert: alertPlan(alerts.get("a")!, stream, 0),
    query: queryPlan(queries.get("q")!, stream, 0),
    stream: streamPlan(stream),
  };
}

/** One alert of one key, as it should stand. Times in µs. */
export interface ExpectedAlert {
  readonly key: string;
  readonly sinceUs: number;
  readonly atUs: number;
  readonly state: "pending" | "firing" | "resolved";
}

/** A sample in the order in which it counts. */
export interface PlainSample {
  readonly startUs: number;
  readonly endUs: number;
  readonly when: boolean;
  readonly clear: boolean;
}

/** What alerts a key's samples make: worked out from the definition, one sample after the other. */
export function plainAlerts(
  key: string,
  samples: readonly PlainSample[],
  isEnough: (inARow: number, lastedUs: number) => boolean,
): ExpectedAlert[] {
  const alerts: { key: string; sinceUs: number; atUs: number; state: ExpectedAlert["state"] }[] = [];
  let inARow = 0;
  for (const { startUs, endUs, when, clear } of samples) {
    const open = alerts.at(-1);
    const isOpen = open !== undefined && open.state !== "resolved";
    inARow = when ? inARow + 1 : 0;
    if (isOpen && open.state === "firing") {
      if (when || !clear) continue;
      open.state = "resolved";
      open.atUs = endUs;
      inARow = 0;
    } else if (isOpen && !when) {
      open.state = "resolved";
      open.atUs = endUs;
    } else if (when) {
      if (!isOpen) {
        inARow = 1;
        alerts.push({ key, sinceUs: startUs, atUs: endUs, state: "pending" });
      }
      const last = alerts.at(-1)!;
      if (!isEnough(inARow, endUs - last.sinceUs)) continue;
      last.state = "firing";
      last.atUs = endUs;
    }
  }
  return alerts;
}

/** A step that was read from a node, as far as an oracle looks at it. */
export function asRow({ alert, key, state, since, at, id, revision, retracted }: AlertLine): AlertRow {
  const us = (time: string): number => Date.parse(time) * 1_000;
  return {
    alert,
    severity: "",
    definition: "",
    key: JSON.stringify(key),
    state: state as AlertRow["state"],
    sinceUs: us(since),
    atUs: us(at),
    value: "{}",
    id,
    revision,
    isRetracted: retracted === true,
    isTold: true,
  };
}

/** How alerts stand after these steps, in the oracle's form. Fails when a step says nothing new or revisions are not in a row. */
export function standing(rows: readonly AlertRow[]): ExpectedAlert[] {
  const byId = Map.groupBy(rows, ({ id }) => id);
  const latest = [...byId.values()].map((steps) => {
    steps.forEach((step, index) => {
      assert.equal(step.revision, index, "revisions follow each other");
      const before = steps[index - 1];
      if (before === undefined) return;
      const isNews =
        before.state !== step.state || before.atUs !== step.atUs || before.isRetracted !== step.isRetracted;
      assert.ok(isNews, "a step is told once");
    });
    return steps.at(-1)!;
  });
  return latest
    .filter(({ isRetracted }) => !isRetracted)
    .map(({ key, sinceUs, atUs, state }) => ({ key, sinceUs, atUs, state }));
}

export function sorted(alerts: readonly ExpectedAlert[]): ExpectedAlert[] {
  return [...alerts].sort((a, b) =>
    a.key < b.key ? -1 : a.key > b.key ? 1 : a.sinceUs - b.sinceUs || a.atUs - b.atUs,
  );
}
