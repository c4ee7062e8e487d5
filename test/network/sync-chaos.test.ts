import { appendFileSync } from "node:fs";
import { test } from "node:test";
import { runChaos } from "../support/chaos-fleet.ts";
import { HUB_STORE, withoutHubDatabase } from "../support/hub-database.ts";
import { Random } from "../support/random.ts";

const SECONDS = Number(process.env.MILLRACE_CHAOS_SECONDS ?? 8);
/** Where to tell how far a long run is; default: nowhere. */
const LOG_FILE = process.env.MILLRACE_CHAOS_LOG;
const skip = withoutHubDatabase();

test(`five edges and a hub (${HUB_STORE}), a bad network, ${SECONDS} s of kills: the hub holds what was acknowledged`, {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const tell = (line: string): void => {
    if (LOG_FILE !== undefined) appendFileSync(LOG_FILE, `${new Date().toISOString()} ${line}\n`);
  };
  const report = await runChaos({ seconds: SECONDS, store: HUB_STORE, random, tell }, context);
  tell(JSON.stringify(report));
  context.diagnostic(JSON.stringify(report));
});
