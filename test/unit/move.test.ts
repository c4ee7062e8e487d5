import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { Piscina } from "piscina";
import { makeTempDir } from "../support/temp-dir.ts";

const MOVE = new URL("../../workers/move.ts", import.meta.url).href;

test("a thread's answer is moved and not copied, without piscina as a whole in the thread", async (context) => {
  const file = join(makeTempDir(context), "worker.mjs");
  writeFileSync(
    file,
    `import { createRequire } from "node:module";
import { moveWith } from ${JSON.stringify(MOVE)};
let given;
export function give(length) {
  given = new Uint8Array(length).fill(7);
  return moveWith({ bytes: given }, [given.buffer]);
}
export const left = () => given.byteLength;
export const loaded = () =>
  Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes("piscina/dist/"));
`,
  );
  const pool = new Piscina({ filename: pathToFileURL(file).href, maxThreads: 1 });
  context.after(() => pool.destroy());
  const { bytes } = (await pool.run(1_000, { name: "give" })) as { bytes: Uint8Array };
  assert.deepEqual([bytes.length, bytes[999]], [1_000, 7]);
  assert.equal(await pool.run(null, { name: "left" }), 0);
  const loaded = (await pool.run(null, { name: "loaded" })) as string[];
  assert.ok(loaded.some((path) => path.endsWith("common.js")));
  assert.ok(!loaded.some((path) => path.endsWith("index.js")));
});
