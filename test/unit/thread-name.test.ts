import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { spawnNode } from "../support/node-process.ts";

const ROUND_MS = 20;
const MOST_ROUNDS = 6_000;

describe("threads of a node", { skip: process.platform !== "linux" }, () => {
  it("bear the names of what they do, the main thread its own", async (context) => {
    const node = await spawnNode({ config: "workers: { ingest: 2 }" }, context);
    const named = (): string[] =>
      threadNames(node.pid).filter((name) => ["storage", "window", "ingest"].includes(name));
    // A lane may still be loading when the node is ready.
    for (let round = 0; round < MOST_ROUNDS && named().length < 4; round++) await sleep(ROUND_MS);
    assert.deepEqual(named().toSorted(), ["ingest", "ingest", "storage", "window"]);
    assert.ok(threadNames(node.pid).includes("MainThread"));
    await node.stop();
  });
});

function threadNames(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    try {
      return [readFileSync(`/proc/${pid}/task/${thread}/comm`, "utf8").trim()];
    } catch {
      // It ended meanwhile.
      return [];
    }
  });
}
