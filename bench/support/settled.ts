import { setTimeout as sleep } from "node:timers/promises";
import type { HttpClient } from "../../test/support/http-client.ts";

const LONGEST_WAIT_MS = 120_000;
const LOOK_MS = 20;

/** Waits until a node has applied all that it acknowledged, and its results are stored. */
export async function waitUntilSettled(client: HttpClient): Promise<void> {
  const giveUpMs = performance.now() + LONGEST_WAIT_MS;
  while (!(await client.json<{ settled: boolean }>("/v1/status")).settled) {
    if (performance.now() > giveUpMs) throw new Error("the node did not settle in time");
    await sleep(LOOK_MS);
  }
}
