import assert from "node:assert/strict";
import { test } from "node:test";
import { runOutage } from "../support/outage.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const MIB = 1024 * 1024;
/** Of 1,000 events/s and a cap of 256 MiB: both are made smaller alike, the 72 hours are whole. */
const SCALE = Number(process.env.MILLRACE_OUTAGE_SCALE ?? 1 / 32);

test("72 h without a hub: the disk stays within the cap, the newest is held, the ledger is exact, levels come in order", async (context) => {
  const capBytes = 256 * MIB * SCALE;
  const eventsPerSecond = 1_000 * SCALE;
  const task = { hours: 72, stepSeconds: 240, seed: 1, capBytes, eventsPerSecond };
  const report = await runOutage({ dir: makeTempDir(context), ...task });
  const { mostDiskBytes, levels, imbalances, refused, held, givenUpToUs, last, endUs, events } = report;
  context.diagnostic(
    `${events} events in 72 h at ${eventsPerSecond}/s, cap ${capBytes}, most on disk ${mostDiskBytes}`,
  );
  context.diagnostic(JSON.stringify(last.ledgers));
  assert.ok(mostDiskBytes <= capBytes, `${mostDiskBytes} of ${capBytes}`);
  assert.deepEqual(levels, ["normal", "alert", "evict", "downsample", "give-up"]);
  assert.deepEqual(imbalances, []);
  assert.equal(refused, 0);
  assert.equal(
    last.ledgers.reduce((sum, { accepted }) => sum + accepted, 0),
    events,
  );
  for (const [stream, range] of held) {
    assert.ok(range !== null, `${stream} holds events`);
    assert.ok(range.toUs > endUs - 241e6, `${stream} holds the newest`);
    const lostToUs = givenUpToUs.get(stream) ?? Number.NEGATIVE_INFINITY;
    assert.ok(lostToUs < range.fromUs, `${stream}: what was given up is older than what is held`);
  }
  const sensors = last.ledgers.find(({ stream }) => stream === "sensors");
  assert.ok((sensors?.downsampled ?? 0) > 0, "old events became aggregates");
  assert.equal(sensors?.givenUp, 0, "what is of more worth is not given up for what is of less");
  const [from] = [held.get("sensors")?.fromUs ?? endUs];
  assert.ok(endUs - from > 3_600e6, "the last hours are held as they came");
});
