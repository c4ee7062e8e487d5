import assert from "node:assert/strict";
import { test } from "node:test";
import { HttpClient, type Result } from "../support/http-client.ts";
import { NodeProcess } from "../support/node-process.ts";
import { computeSessions, computeWindows, type OracleWindow } from "../support/oracle.ts";
import { Random } from "../support/random.ts";

const SELECT = "select: { n: count(), total: sum(v) }";
const ABOVE = "select: { n: count(), total: sum(total) }";
const MINUTE_US = 60_000_000;

function configOf(per: string, above: string): string {
  return `
checkpoint: { every: 10s }
streams:
  machines:
    key: device
    time: { field: ts, unit: ms }
    watermark: { bound: 0s, per: ${per}, maxAhead: 36500d }
    lateness: 0s
queries:
  tumbling: { from: machines, window: { tumbling: 10s }, by: [device], ${SELECT} }
  sliding: { from: machines, window: { sliding: 40s, every: 15s }, by: [device], ${SELECT} }
  sessions: { from: machines, window: { session: 9s }, by: [device], ${SELECT} }
${above}`;
}

const OVER = `  over_tumbling: { from: tumbling, window: { tumbling: 1m }, by: [device], ${ABOVE} }
  over_sessions: { from: sessions, window: { tumbling: 1m }, by: [device], ${ABOVE} }
alerts:
  busy: { from: tumbling, when: n > 2 }
`;

function valuesOf(rows: readonly Result[]): Record<string, unknown> {
  return Object.fromEntries(
    rows.map(({ key, window, values }) => [
      `${Date.parse(window.start) * 1_000} ${Date.parse(window.end) * 1_000} ${String(key.device)}`,
      values,
    ]),
  );
}

function expectedOf(windows: readonly OracleWindow[]): Record<string, unknown> {
  return Object.fromEntries(
    windows.map(({ key, startUs, endUs, events, sum }) => [
      `${startUs} ${endUs} ${key}`,
      { n: events, total: sum },
    ]),
  );
}

/** One-minute windows over results, by the last µs of these. */
function minutesOver(below: readonly OracleWindow[]): OracleWindow[] {
  return computeWindows(
    below.map(({ key, endUs, sum }) => ({ key, timeUs: endUs - 1, value: sum })),
    MINUTE_US,
  );
}

for (const per of ["source", "key"]) {
  test(`killed while late events are applied to windows of every kind, per ${per}: as if nothing had been late`, async (context) => {
    const random = Random.fromEnvironment();
    context.diagnostic(`MILLRACE_SEED=${random.seed}`);
    const node = new NodeProcess({ config: configOf(per, per === "key" ? "" : OVER) }, context);
    const client = new HttpClient(() => node.url);
    context.after(() => client.close());
    await node.start();
    const startMs = Date.UTC(2026, 0, 1);
    const devices = ["m0", "m1", "m2"];
    const last = devices.map((device) => ({ device, ts: startMs + 3_600_000, v: 1 }));
    const events = Array.from({ length: 300 }, (_, n) => ({
      device: devices[n % 3]!,
      ts: startMs + random.integer(0, 900_000),
      v: n,
    }));
    await client.send("machines", last);
    for (let at = 0; at < events.length; at += 10) await client.send("machines", events.slice(at, at + 10));
    if (per === "key")
      await client.watermark("machines", { time: new Date(startMs + 7_200_000).toISOString() });
    else await client.watermark("machines", { end: true });
    const apply = () => client.request("POST", "/v1/streams/machines/late/apply", "{}");
    for (let kill = 0; kill < 3; kill++) {
      const applying = apply().catch(() => null);
      await new Promise((resolve) => setTimeout(resolve, random.integer(0, 120)));
      await node.restart("SIGKILL");
      await applying;
    }
    assert.equal((await apply()).status, 200);
    const asked = [...last, ...events].map(({ device, ts, v }) => ({
      key: device,
      timeUs: ts * 1_000,
      value: v,
    }));
    const tumbling = computeWindows(asked, 10_000_000);
    const sessions = computeSessions(asked, 9_000_000);
    const expected: Record<string, readonly OracleWindow[]> = {
      tumbling,
      sliding: computeWindows(asked, 40_000_000, 0, 15_000_000),
      sessions,
      ...(per === "key"
        ? {}
        : { over_tumbling: minutesOver(tumbling), over_sessions: minutesOver(sessions) }),
    };
    for (const [query, windows] of Object.entries(expected))
      assert.deepEqual(valuesOf(await client.results(query)), expectedOf(windows), query);
    const again = JSON.parse((await apply()).text) as { revisions: number; applied: number; waiting: number };
    assert.deepEqual([again.revisions, again.applied, again.waiting], [0, 0, 0]);
    const late = await client.request("GET", "/v1/streams/machines/late?limit=100000");
    for (const line of late.text.split("\n").filter(Boolean)) assert.match(line, /"applied":"20/);
    if (per === "key") return;
    const ignored = async (): Promise<number> => {
      const { alerts } = await client.json<{ alerts: { ignoredRevisions: number }[] }>("/v1/status");
      return alerts[0]!.ignoredRevisions;
    };
    const before = await ignored();
    await client.send("machines", [{ device: "m0", ts: startMs + 5_000, v: 7 }]);
    const revised = JSON.parse((await apply()).text) as { revisions: number };
    assert.ok(revised.revisions >= 4);
    assert.equal((await ignored()) - before, 1, "alerts judge no corrections");
  });
}
