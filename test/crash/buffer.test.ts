import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { audit } from "../support/ledger-audit.ts";
import { Random } from "../support/random.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const KILLS = Number(process.env.MILLRACE_KILLS ?? 8);
/** Batches of a life: of 50 KB, so that those of all lives are several times the cap. */
const LIFE_BATCHES = [40, 160] as const;
/** Batches that may have been committed without their acknowledgement having been read: one of each loop. */
const IN_FLIGHT = 2;
const LARGEST_BATCH = 100;
const CHILD = fileURLToPath(new URL("../support/buffer-child.ts", import.meta.url));

test(`${KILLS} times kill -9 while room is made: the ledger balances, and every acknowledged event is in it`, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const dir = makeTempDir(context);
  let acknowledged = 0;
  let moved = 0;
  for (let life = 1; life <= KILLS; life++) {
    acknowledged += await liveAndDie(dir, random);
    const { imbalances, ledgers, integrity } = audit(dir);
    assert.equal(integrity, "ok");
    assert.deepEqual(imbalances, []);
    const accepted = ledgers.reduce((sum, ledger) => sum + ledger.accepted, 0);
    assert.ok(accepted >= acknowledged, `${accepted} of ${acknowledged} acknowledged`);
    assert.ok(accepted <= acknowledged + life * IN_FLIGHT * LARGEST_BATCH);
    moved = ledgers.reduce((sum, { downsampled, givenUp }) => sum + Math.min(downsampled, givenUp), 0);
  }
  context.diagnostic(`${acknowledged} events acknowledged; ${JSON.stringify(audit(dir).ledgers)}`);
  assert.ok(moved > 0, "events were downsampled and given up");
});

/** @returns events that were acknowledged */
async function liveAndDie(dir: string, random: Random): Promise<number> {
  const args = [CHILD, dir, String(random.integer(0, 2 ** 30))];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  const most = random.integer(...LIFE_BATCHES);
  const { promise: isEnough, resolve } = Promise.withResolvers<void>();
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk;
    if (output.split("\n").length > most) resolve();
  });
  await Promise.race([isEnough, once(child, "exit")]);
  await sleep(random.integer(0, 50));
  assert.equal(child.exitCode, null, "the child did not fail by itself");
  child.kill("SIGKILL");
  await once(child, "close");
  const lines = output.slice(0, output.lastIndexOf("\n") + 1).split("\n");
  return lines.filter(Boolean).reduce((sum, line) => sum + Number(line.split(" ")[1]), 0);
}
