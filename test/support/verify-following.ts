import assert from "node:assert/strict";
import { asRow, type ExpectedAlert, plainAlerts, sorted, standing } from "./alert-fixture.ts";
import type { HttpClient } from "./http-client.ts";
import type { LoadEvent } from "./load.ts";
import { type OracleWindow, windowId } from "./oracle.ts";
import { loadWindows } from "./verify-load.ts";

const WINDOW_US = 30_000_000;

/** A query over the results of `per_client`, for the end of `loadConfig`. */
export const QUERY_ABOVE = `
  above:
    from: per_client
    window: { tumbling: 30s }
    by: [client]
    select: { windows: count(), n: sum(n), top: max(top), end: last(end) }
`;

/** Alerts over results, over results of results, and over events. */
export const ALERTS = `
alerts:
  swings: { from: per_client, when: end > 2000, clear: end < -2000, for: 2 }
  turns: { from: above, when: end > 0, for: 2 }
  peaks: { from: load, when: v > 9900, clear: v < -9000 }
`;

/** What a window of `above` is made of. */
interface Above {
  readonly key: string;
  readonly startUs: number;
  readonly of: readonly OracleWindow[];
}

/**
 * Windows over windows and every step of every alert are there, each once, as the events that were sent make them. To be
 * called when the stream has ended.
 */
export async function verifyFollowing(
  client: HttpClient,
  sent: readonly LoadEvent[],
): Promise<{ readonly windows: number; readonly steps: number }> {
  const below = loadWindows(sent).toSorted((a, b) => a.startUs - b.startUs);
  const above = windowsOver(below);
  const results = await client.results("above", { revisions: "all" });
  assert.deepEqual(
    results
      .map(
        ({ key, window, values, revision }): Named => [
          windowId(String(key.client), Date.parse(window.start) * 1_000),
          { ...values, revision },
        ],
      )
      .toSorted(byId),
    above
      .map(
        ({ key, startUs, of }): Named => [
          windowId(key, startUs),
          {
            windows: of.length,
            n: of.reduce((sum, { events }) => sum + events, 0),
            top: Math.max(...of.map(({ max }) => max!)),
            end: of.at(-1)!.last,
            revision: 0,
          },
        ],
      )
      .toSorted(byId),
    "windows over windows",
  );
  const byClient = [...Map.groupBy(sent, ({ client: name }) => name)];
  const expected: Readonly<Record<string, readonly ExpectedAlert[]>> = {
    swings: byClient.flatMap(([name]) =>
      plainAlerts(
        keyOf(name),
        below
          .filter(({ key }) => key === name)
          .map(({ startUs, endUs, last }) => ({
            startUs,
            endUs,
            when: last! > 2_000,
            clear: last! < -2_000,
          })),
        (inARow) => inARow >= 2,
      ),
    ),
    turns: byClient.flatMap(([name]) =>
      plainAlerts(
        keyOf(name),
        above
          .filter(({ key }) => key === name)
          .map(({ startUs, of }) => {
            const when = of.at(-1)!.last! > 0;
            return { startUs, endUs: startUs + WINDOW_US, when, clear: !when };
          }),
        (inARow) => inARow >= 2,
      ),
    ),
    // In the order of the log, which is that in which a client sent them.
    peaks: byClient.flatMap(([name, events]) =>
      plainAlerts(
        keyOf(name),
        events.map(({ ts, v }) => {
          return { startUs: ts * 1_000, endUs: ts * 1_000, when: v > 9_900, clear: v < -9_000 };
        }),
        () => true,
      ),
    ),
  };
  let steps = 0;
  for (const [alert, all] of Object.entries(expected)) {
    const rows = (await client.alerts({ alert, revisions: "all" })).map(asRow);
    steps += rows.length;
    assert.deepEqual(sorted(standing(rows)), sorted(all), `steps of ${alert}`);
  }
  return { windows: above.length, steps };
}

function windowsOver(below: readonly OracleWindow[]): Above[] {
  const groups = Map.groupBy(below, ({ key, startUs }) =>
    windowId(key, Math.floor(startUs / WINDOW_US) * WINDOW_US),
  );
  return [...groups.values()].map((of) => {
    const { key, startUs } = of[0]!;
    return { key, startUs: Math.floor(startUs / WINDOW_US) * WINDOW_US, of };
  });
}

function keyOf(client: string): string {
  return JSON.stringify({ client });
}

type Named = readonly [id: string, values: unknown];

function byId([one]: Named, [other]: Named): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
