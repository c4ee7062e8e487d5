import assert from "node:assert/strict";
import { test } from "node:test";
import { ApplyLoop } from "../../host/pipeline/apply-loop.ts";
import type { Checkpointer } from "../../host/pipeline/checkpointer.ts";
import type { CommitQueue } from "../../host/pipeline/commit-queue.ts";
import type { Stages } from "../../host/pipeline/stages.ts";
import type { StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import type { WindowWorker } from "../../host/pipeline/window-worker.ts";

const LONG_MS = 1_000_000;

/** A loop whose window thread works until it is told to fail, which ends the loop. */
function workingLoop() {
  const { promise, reject } = Promise.withResolvers<never>();
  // The loop asks the thread when its turn has ended: by then it may have failed.
  promise.catch(() => undefined);
  const loop = new ApplyLoop(
    { apply: () => promise, onLost: () => undefined } as unknown as WindowWorker,
    {} as CommitQueue,
    {} as StreamRegistry,
    [],
    { hasWork: false, fail: () => undefined } as unknown as Checkpointer,
    {} as Stages,
    () => undefined,
  );
  const push = (): void =>
    loop.push({
      entry: { kind: "tick", seq: 1, stream: "s", atUs: 1, isResume: false },
      block: null,
      arrivalUs: 0,
    });
  return { loop, push, end: () => reject(new Error("ended")) };
}

test("the window thread counts as idle when nothing is being applied, and only then", async () => {
  const { loop, push, end } = workingLoop();
  await loop.idle(LONG_MS);
  push();
  let isIdle = false;
  const idle = loop.idle(LONG_MS).then(() => {
    isIdle = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(isIdle, false);
  end();
  await idle;
  await loop.idle(LONG_MS);
});

test("who waits for an idle window thread goes on after a while all the same", async () => {
  const { loop, push, end } = workingLoop();
  push();
  await loop.idle(1);
  end();
  await loop.idle(LONG_MS);
});
