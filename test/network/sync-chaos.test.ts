import { test } from "node:test";
import { runChaos } from "../support/chaos-fleet.ts";
import { HUB_STORE, withoutHubDatabase } from "../support/hub-database.ts";
import { Random } from "../support/random.ts";

const EDGES = Number(process.env.MILLRACE_EDGES ?? 2);
const KILLS = Number(process.env.MILLRACE_KILLS ?? 8);
const LONGEST_LIFE_MS = 1_500;
const skip = withoutHubDatabase();

test(`${EDGES} edges, a bad network, ${KILLS} kills of edges and hub (${HUB_STORE}): the hub holds what the edges hold`, {
  skip,
}, async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const options = { edges: EDGES, kills: KILLS, longestLifeMs: LONGEST_LIFE_MS, random };
  context.diagnostic(JSON.stringify(await runChaos(options, context)));
});
