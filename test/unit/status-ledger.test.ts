import assert from "node:assert/strict";
import { test } from "node:test";
import { startFieldNode } from "../support/field-node.ts";

interface Status {
  settled: boolean;
  streams: { accepted: number }[];
  buffer: { imbalance: number; streams: { stream: string; accepted: number; held: number }[] };
}

test("GET /v1/status: its ledger holds what was acknowledged before it, at once and for many who ask", async (context) => {
  const { client } = await startFieldNode("streams:\n  s: { key: d }\n", context);
  for (let round = 1; round <= 10; round++) {
    await client.send("s", [{ d: "a" }, { d: "b" }, { d: "c" }]);
    const asked = Array.from({ length: 4 }, () => client.request("GET", "/v1/status"));
    for (const { text } of await Promise.all(asked)) {
      const { settled, streams, buffer } = JSON.parse(text) as Status;
      // On a machine where a look takes longer than a reader should wait, it says so.
      if (!settled) continue;
      const [ledger] = buffer.streams;
      assert.deepEqual(
        [streams[0]?.accepted, ledger?.accepted, ledger?.held, buffer.imbalance],
        [3 * round, 3 * round, 3 * round, 0],
      );
    }
  }
});
