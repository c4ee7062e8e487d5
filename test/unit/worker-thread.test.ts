import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { WorkerThread } from "../../host/pipeline/worker-thread.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const addressOf = (path: string): string => new URL(`../../${path}`, import.meta.url).href;

/** A module with functions to call. */
function moduleFile(context: TestContext): string {
  const file = join(makeTempDir(context), "worker.mjs");
  writeFileSync(
    file,
    `import { callServer } from ${JSON.stringify(addressOf("workers/serve-calls.ts"))};
import { moveWith } from ${JSON.stringify(addressOf("workers/move.ts"))};
export const serve = callServer(import.meta.url);
const said = [];
let given;
export const say = (word) => said.push(word);
export const all = () => said;
export async function sayLater(word) {
  await new Promise((resolve) => setTimeout(resolve, 20));
  return said.push(word);
}
export function give(length) {
  given = new Uint8Array(length).fill(7);
  return moveWith({ bytes: given }, [given.buffer]);
}
export const left = () => given.byteLength;
export const sum = (bytes) => bytes.reduce((total, byte) => total + byte, 0);
export function fail(message) { throw new TypeError(message); }
export const unclonable = () => () => 1;
let hasTurned = false;
export const begin = () => void setImmediate(() => { hasTurned = true; });
export const turned = () => hasTurned;
export const end = () => process.exit(3);
`,
  );
  return pathToFileURL(file).href;
}

function threadOf(context: TestContext): WorkerThread {
  const thread = new WorkerThread(moduleFile(context));
  context.after(() => thread.close());
  return thread;
}

test("calls are answered in their order, one at a time, also where one takes its time", async (context) => {
  const thread = threadOf(context);
  const words = ["a", "b", "c", "d"];
  const counts = await Promise.all(words.map((word) => thread.call(word === "b" ? "sayLater" : "say", word)));
  assert.deepEqual(counts, [1, 2, 3, 4]);
  assert.deepEqual(await thread.call("all", null), words);
});

test("a thread that somebody wants to hear the end of is not replaced: what it held is gone", async (context) => {
  const replaced = threadOf(context);
  await replaced.call("say", "a");
  await assert.rejects(replaced.call("end", null));
  assert.deepEqual(await replaced.call("all", null), []);
  const thread = threadOf(context);
  const heard: unknown[] = [];
  thread.onLost = (cause) => heard.push(cause);
  await thread.call("say", "a");
  await assert.rejects(thread.call("end", null));
  await assert.rejects(thread.call("all", null));
  await assert.rejects(thread.call("say", "b"));
  assert.equal(heard.length, 1);
  const quiet = threadOf(context);
  quiet.onLost = (cause) => heard.push(cause);
  await quiet.call("say", "a");
  await quiet.close();
  assert.equal(heard.length, 1, "it was ended, not lost");
});

test("a thread that has slept is woken by each call", async (context) => {
  const thread = threadOf(context);
  for (let count = 1; count <= 200; count++) {
    assert.equal(await thread.call("say", count), count);
    if (count % 50 === 0) await sleep(5);
  }
});

test("the event loop of a thread that is only called has its turns: what is finalized waits for them", async (context) => {
  const thread = threadOf(context);
  await thread.call("begin", null);
  // As often as it takes: without a pause, so that the thread hardly sleeps.
  while (!(await thread.call("turned", null)));
});

test("what is called and answered is moved where it is said, else copied", async (context) => {
  const thread = threadOf(context);
  const { bytes } = await thread.call<{ bytes: Uint8Array }>("give", 1_000);
  assert.deepEqual([bytes.length, bytes[999]], [1_000, 7]);
  assert.equal(await thread.call("left", null), 0);
  assert.equal(await thread.call("sum", bytes), 7_000);
  assert.equal(bytes.length, 1_000);
  assert.equal(await thread.call("sum", bytes, [bytes.buffer as ArrayBuffer]), 7_000);
  assert.equal(bytes.length, 0);
});

test("a call fails by itself: what throws, what is not there, what cannot be cloned", async (context) => {
  const thread = threadOf(context);
  const failed = await Promise.allSettled([
    thread.call("fail", "no"),
    thread.call("nothing", null),
    thread.call("unclonable", null),
    thread.call("say", () => 1),
    thread.call("say", "yes"),
  ]);
  assert.deepEqual(
    failed.map(({ status }) => status),
    ["rejected", "rejected", "rejected", "rejected", "fulfilled"],
  );
  await assert.rejects(thread.call("fail", "no"), { name: "TypeError", message: "no" });
  await assert.rejects(thread.call("nothing", null), /nothing/);
});

test("a thread that is lost fails its calls, and the next are made in a new one", async (context) => {
  const thread = threadOf(context);
  await thread.call("say", "before");
  const lost = await Promise.allSettled([thread.call("end", null), thread.call("say", "after")]);
  assert.deepEqual(
    lost.map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.deepEqual(await thread.call("all", null), []);
});

test("calls under way fail when the thread is closed, and so do later ones", async (context) => {
  const thread = threadOf(context);
  await thread.call("say", "first");
  const underWay = assert.rejects(thread.call("sayLater", "late"), /ended/);
  await thread.close();
  await underWay;
  await assert.rejects(thread.call("say", "later"), /ended/);
});

test("a thread keeps its process running while it is asked, and not when it rests", async (context) => {
  const file = join(makeTempDir(context), "main.mjs");
  writeFileSync(
    file,
    `import { WorkerThread } from ${JSON.stringify(addressOf("host/pipeline/worker-thread.ts"))};
const thread = new WorkerThread(${JSON.stringify(moduleFile(context))});
console.log(await thread.call("sayLater", "once"), await thread.call("sayLater", "twice"));
`,
  );
  const { status, stdout } = spawnSync(process.execPath, [file], { encoding: "utf8", timeout: 60_000 });
  assert.deepEqual([status, stdout], [0, "1 2\n"]);
});
