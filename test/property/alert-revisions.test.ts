import assert from "node:assert/strict";
import { test } from "node:test";
import type { ResultRow } from "../../workers/messages.ts";
import { plainAlerts, sorted, standing } from "../support/alert-fixture.ts";
import { Random } from "../support/random.ts";
import { StoredNode } from "../support/stored-node.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 40);
const SECOND_US = 1_000_000;
const QUERIES = ["sessions", "tumbling"] as const;

interface Rule {
  readonly settings: string;
  readonly isEnough: (inARow: number, lastedUs: number) => boolean;
  /** Of how many events. */
  readonly isTrue: (n: number) => boolean;
  readonly isClear: (n: number) => boolean;
}

const RULES: Readonly<Record<string, Rule>> = {
  few: {
    settings: "when: n < 3",
    isEnough: () => true,
    isTrue: (n) => n < 3,
    isClear: (n) => n >= 3,
  },
  twice: {
    settings: "when: n > 1, for: 2",
    isEnough: (inARow) => inARow >= 2,
    isTrue: (n) => n > 1,
    isClear: (n) => n <= 1,
  },
  long: {
    settings: "when: n > 2, clear: n < 2, for: 40s",
    isEnough: (_, lastedUs) => lastedUs >= 40 * SECOND_US,
    isTrue: (n) => n > 2,
    isClear: (n) => n < 2,
  },
};

function configOf(latenessSeconds: number, gapSeconds: number): string {
  const alerts = QUERIES.flatMap((query) =>
    Object.entries(RULES).map(([name, { settings }]) => `${name}_${query}: { from: ${query}, ${settings} }`),
  );
  return `
streams:
  s:
    key: device
    time: { field: ts, unit: s }
    watermark: { bound: 0s, maxAhead: 36500d }
    lateness: ${latenessSeconds}s
queries:
  sessions: { from: s, window: { session: ${gapSeconds}s }, select: { n: count() } }
  tumbling: { from: s, window: { tumbling: 10s }, select: { n: count() } }
alerts: { ${alerts.join(", ")} }
`;
}

/** Every alert, by the windows as they stand. */
function expectedOf({ isEnough, isTrue, isClear }: Rule, rows: readonly ResultRow[]) {
  return [...Map.groupBy(rows, ({ key }) => key)].flatMap(([key, ofKey]) => {
    const samples = ofKey
      .toSorted((one, other) => one.endUs - other.endUs)
      .map(({ startUs, endUs, values }) => {
        const { n } = JSON.parse(values) as { n: number };
        return { startUs, endUs, when: isTrue(n), clear: isClear(n) };
      });
    return plainAlerts(key, samples, isEnough);
  });
}

test(`${RUNS} streams: alerts stand as the latest windows say, whenever there are checkpoints`, (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  let retracted = 0;
  for (let run = 0; run < RUNS; run++) {
    const latenessSeconds = random.pick([5, 30, 60]);
    const gapSeconds = random.pick([4, 11, 30]);
    const node = new StoredNode(makeTempDir(context), configOf(latenessSeconds, gapSeconds));
    let now = 0;
    for (let block = random.integer(3, 12); block > 0; block--) {
      const events = Array.from({ length: random.integer(1, 6) }, () => {
        now += random.integer(0, 15);
        const ago = random.chance(0.4) ? random.integer(0, latenessSeconds + gapSeconds) : 0;
        return { device: `d${random.integer(0, 1)}`, ts: Math.max(0, now - ago) };
      });
      node.send(events, 0);
      if (random.chance(0.4)) node.checkpoint();
      for (const query of QUERIES) {
        const rows = node.results(query);
        for (const [name, rule] of Object.entries(RULES)) {
          const told = node.alerts.filter(({ alert }) => alert === `${name}_${query}`);
          const message = `${name}, ${query}, run ${run}, ${block - 1} blocks before the last`;
          assert.deepEqual(sorted(standing(told)), sorted(expectedOf(rule, rows)), message);
        }
      }
    }
    retracted += node.results("sessions", "all").filter((row) => row.retracted).length;
    node.close();
  }
  assert.ok(RUNS < 20 || retracted > RUNS / 10, `${retracted} sessions were retracted`);
});
