import assert from "node:assert/strict";
import { test } from "node:test";
import type { AggregateName } from "../../workers/messages.ts";
import { HttpClient } from "../support/http-client.ts";
import { spawnNode } from "../support/node-process.ts";
import { aggregatePlainly, type OracleValue } from "../support/oracle-aggregates.ts";
import { Random } from "../support/random.ts";

const DEVICES = ["press-1", "press-2", "ofen ü"];
const EVENTS = 900;
const WINDOW_S = 60;
const MINUTES = 3;
const PATIENCE_MS = 120_000;

/** What is selected, and what the oracle makes of it. */
const CALLS: Readonly<
  Record<string, readonly [AggregateName, string, { parameter?: number; bounds?: number[] }?]>
> = {
  "last(state)": ["last", "state"],
  "min(state)": ["min", "state"],
  "mode(state)": ["mode", "state"],
  "topk(state, 2)": ["topk", "state", { parameter: 2 }],
  "topk(temp, 3)": ["topk", "temp", { parameter: 3 }],
  "distinct(user)": ["distinct", "user"],
  "distinct(temp)": ["distinct", "temp"],
  "any(on)": ["any", "on"],
  "all(on)": ["all", "on"],
  "first(on)": ["first", "on"],
  "twa(on, step)": ["twa", "on", { parameter: 1 }],
  "histogram(temp, 20, 22.5, 25)": ["histogram", "temp", { bounds: [20, 22.5, 25] }],
  "delta(total)": ["delta", "total"],
  "rate(total)": ["rate", "total"],
  "twa(temp)": ["twa", "temp"],
  "integral(temp)": ["integral", "temp"],
  "integral(temp, step)": ["integral", "temp", { parameter: 1 }],
};

type Event = Record<string, OracleValue | null> & { device: string; ts: number };

/** Fields are missing now and then; some times agree. */
function makeEvents(random: Random): Event[] {
  return Array.from({ length: EVENTS }, () => {
    const fields = {
      temp: random.integer(180, 300) / 10,
      total: random.integer(0, 1_000),
      on: random.chance(0.9),
      state: random.pick(["ok", "ok", "warn", "error", "größer", 'a "b"']),
      user: `user-${random.integer(0, 400)}`,
    };
    const present = Object.entries(fields).filter(() => random.chance(0.8));
    const second = random.integer(0, WINDOW_S * MINUTES - 1);
    return { device: random.pick(DEVICES), ts: second * 1_000, ...Object.fromEntries(present) } as Event;
  });
}

function expectedRows(events: readonly Event[], names: ReadonlyMap<string, string>): Map<string, unknown> {
  const groups = Map.groupBy(events, ({ device, ts }) => `${device} ${Math.floor(ts / 1_000 / WINDOW_S)}`);
  return new Map(
    [...groups].map(([id, group]) => [
      id,
      Object.fromEntries(
        [...names].map(([name, call]) => {
          const [fn, field, parameters] = CALLS[call]!;
          const values = group.map((event) => ({ timeUs: event.ts * 1_000, value: event[field] ?? null }));
          return [name, aggregatePlainly(fn, values, parameters)];
        }),
      ),
    ]),
  );
}

for (const workers of [1, 3]) {
  test(`aggregates of every type equal the oracle: ${workers} workers, any order, killed in between`, async (context) => {
    const random = Random.fromEnvironment();
    const names = new Map(Object.keys(CALLS).map((call, index) => [`v${index}`, call]));
    const config = JSON.stringify({
      workers: { ingest: workers },
      checkpoint: { every: "50ms" },
      streams: {
        m: {
          key: "device",
          time: { field: "ts", unit: "ms" },
          watermark: { bound: "1h", maxAhead: "36500d" },
        },
      },
      queries: { q: { from: "m", window: { tumbling: `${WINDOW_S}s` }, select: Object.fromEntries(names) } },
    });
    const node = await spawnNode({ config }, context);
    const client = new HttpClient(() => node.url);
    context.after(() => client.close());
    const events = makeEvents(random);
    for (let from = 0, step = 0; from < events.length; step++) {
      const size = random.integer(1, 120);
      await client.send("m", events.slice(from, from + size));
      from += size;
      if (step % 5 === 4) await node.restart("SIGKILL");
    }
    await client.watermark("m", { end: true });
    const expected = expectedRows(events, names);
    const deadline = performance.now() + PATIENCE_MS;
    let rows = await client.results("q");
    while (rows.length < expected.size && performance.now() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      rows = await client.results("q");
    }
    assert.equal(rows.length, expected.size, `seed ${random.seed}`);
    for (const { key, window, values } of rows) {
      const id = `${String(key.device)} ${Date.parse(window.start) / 1_000 / WINDOW_S}`;
      assert.deepEqual(values, expected.get(id), `${id}, seed ${random.seed}`);
    }
  });
}
