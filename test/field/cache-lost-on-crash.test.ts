import assert from "node:assert/strict";
import { test } from "node:test";
import { startFieldNode } from "../support/field-node.ts";

test("cache-lost-on-crash: what was acknowledged is there after kill -9, without any setting that asks for it", async (context) => {
  const { node, client } = await startFieldNode(null, context);
  let sent = 0;
  for (let round = 0; round < 5; round++) {
    for (let n = 0; n < 7; n++) await client.send("s", [{ ts: Date.UTC(2026, 0, 1) + sent, n: sent++ }]);
    // Right behind the answer.
    await node.restart("SIGKILL");
    assert.deepEqual(
      (await client.events("s")).map(({ n }) => n),
      Array.from({ length: sent }, (_, n) => n),
    );
  }
});
