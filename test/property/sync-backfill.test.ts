import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AlertRow, CommitOperation, ResultRow } from "../../workers/messages.ts";
import { type MasterKeys, masterKey } from "../../workers/seal/master-key.ts";
import { Store } from "../../workers/store/store.ts";
import { decodeAlerts, decodeResults } from "../../workers/sync/rows.ts";
import { SyncReader } from "../../workers/sync/sync-reader.ts";
import { nativeCodec } from "../../workers/zstd.ts";
import { NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 60);
const codec = nativeCodec();
const MASTERS: MasterKeys = { current: masterKey(new Uint8Array(32).fill(7)), previous: [] };
const SINKS = ["hub", "file"];

/** Rows of a few windows and keys, so that a cursor often stands within a window. */
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("results" as const),
      rows: fc.array(fc.tuple(fc.nat(3), fc.nat(4), fc.nat(2)), { maxLength: 6 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("alerts" as const),
      rows: fc.array(fc.tuple(fc.nat(3), fc.nat(2)), { maxLength: 3 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("claim" as const),
      sink: fc.nat(1),
      class: fc.constantFrom("results" as const, "alerts" as const),
      rows: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("sinks" as const), count: fc.constantFrom(1, 2, 2) }),
  },
);

const KEYS = ["a", "é", "\u{1f600}", "zz"];
const nameOf = (row: ResultRow): string =>
  JSON.stringify([row.query, row.startUs, row.key, row.endUs, row.revision]);
const alertNameOf = (row: Pick<AlertRow, "alert" | "sinceUs" | "key" | "id" | "revision">): string =>
  JSON.stringify([row.alert, row.sinceUs, row.key, row.id, row.revision]);

const CASES = [
  { name: "", masters: null, isStarved: false },
  { name: ", sealed", masters: MASTERS, isStarved: false },
  { name: ", on a machine that has no time for it", masters: null, isStarved: true },
] as const;

for (const { name: which, masters, isStarved } of CASES)
  test(`each result and alert goes to each sink once, stored before it was there or after${which}`, (context) => {
    // By the clock each portion has taken far too long.
    let nowMs = 0;
    if (isStarved) context.mock.method(performance, "now", () => (nowMs += 60_000));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 50 }), fc.nat(30), (steps, before) => {
        const dir = makeTempDir(context);
        let store = Store.open(dir, undefined, masters);
        let sinks: string[] = [];
        let revision = 0;
        const stored = new Set<string>();
        const open = (): void => {
          store.sync.open({ sinks, priorities: {}, defaultPriority: 5 }, codec);
        };
        open();
        // A name is written once: a revision each.
        const commit = (
          rows: readonly (readonly [number, number, number])[],
          alerts: readonly (readonly [number, number])[],
        ): void => {
          const results = rows.map(([query, window, key]): ResultRow => {
            const [startUs, text] = [NOW_US + window * 10, `{"k":"${KEYS[key]}"}`];
            return {
              query: `q${query}`,
              startUs,
              endUs: startUs + 10,
              key: text,
              values: `{"n":${revision}}`,
              revision: revision++,
              kind: "on-time",
            };
          });
          const told = alerts.map(([since, key]): AlertRow => {
            const sinceUs = NOW_US + since;
            return {
              alert: "hot",
              severity: "warning",
              definition: "d",
              key: `{"k":"${KEYS[key]}"}`,
              state: "firing",
              sinceUs,
              atUs: sinceUs,
              value: "{}",
              id: `i${key}`,
              revision: revision++,
              isRetracted: false,
              isTold: true,
            };
          });
          const operations: CommitOperation[] = [
            { kind: "results", rows: results },
            { kind: "alerts", rows: told, webhooks: [] },
          ];
          store.writer.commit(operations, NOW_US);
          for (const row of results) stored.add(nameOf(row));
          for (const row of told) stored.add(alertNameOf(row));
        };
        for (let n = 0; n < before; n++) commit([[n % 2, n % 5, n % 3]], n % 4 === 0 ? [[n % 3, n % 2]] : []);
        const sent = new Map(SINKS.map((sink) => [sink, [] as string[]]));
        const claim = (sink: string, kind: "results" | "alerts", rows: number): boolean => {
          const size = { rows, bytes: 1e9 };
          const answer = store.sync.claim(
            { sink, class: kind, size, enough: { rows: 1, bytes: 1 }, olderThanUs: NOW_US * 2 },
            NOW_US,
          );
          if (answer.kind !== "claimed") return false;
          const reader = new SyncReader(dir, codec, masters);
          for (const item of reader.items(answer.batch.id, kind).items) {
            if (item.kind === "results")
              sent.get(sink)!.push(...decodeResults(item.ndjson).map((row) => nameOf(row as ResultRow)));
            if (item.kind === "alerts") sent.get(sink)!.push(...decodeAlerts(item.ndjson).map(alertNameOf));
          }
          reader.close();
          store.sync.settle([{ kind: "delivered", batch: answer.batch.id }]);
          return true;
        };
        const restart = (): void => {
          store.close();
          store = Store.open(dir, undefined, masters);
          open();
        };
        for (const each of steps) {
          if (each.kind === "results") commit(each.rows, []);
          else if (each.kind === "alerts") commit([], each.rows);
          else if (each.kind === "restart") restart();
          else if (each.kind === "sinks") {
            // Sinks come, and stay.
            if (each.count > sinks.length) sinks = SINKS.slice(0, each.count);
            open();
          } else if (sinks.includes(SINKS[each.sink]!)) claim(SINKS[each.sink]!, each.class, each.rows);
        }
        sinks = SINKS;
        open();
        for (const sink of SINKS)
          for (const kind of ["results", "alerts"] as const) while (claim(sink, kind, 7)) assert.ok(true);
        for (const sink of SINKS) assert.deepEqual(sent.get(sink)!.toSorted(), [...stored].sort(), sink);
        const reader = new SyncReader(dir, codec, masters);
        assert.deepEqual(reader.backlog("hub").rows, {
          alerts: 0,
          losses: 0,
          attributes: 0,
          results: 0,
          events: 0,
        });
        reader.close();
        store.close();
      }),
      { numRuns: RUNS },
    );
  });
