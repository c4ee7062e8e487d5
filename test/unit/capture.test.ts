import assert from "node:assert/strict";
import { test } from "node:test";
import { instantiateCore } from "../../workers/core/module.ts";
import { createLocal, createWindows, type Windows } from "../../workers/core/window.ts";
import type { WindowPlan } from "../../workers/messages.ts";
import { makeOutputs, makePlan, withBatch } from "./window-batch.ts";

const core = instantiateCore();
const SECOND_US = 1_000_000;
/** So many that the numbers of keys that are not in use any more are given anew. */
const KEYS = 40_000;
const WINDOWS: Readonly<Record<string, WindowPlan>> = {
  tumbling: { kind: "tumbling", sizeUs: SECOND_US, offsetUs: 0 },
  sliding: { kind: "sliding", sizeUs: 2 * SECOND_US, everyUs: SECOND_US, offsetUs: 0 },
  session: { kind: "session", gapUs: SECOND_US },
};

interface Segment {
  readonly head: Uint8Array;
  readonly pieces: readonly Uint8Array[];
}

/** The next pieces, as many as there are. */
function rest(windows: Windows): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = windows.capture.next();
    if (piece === null) break;
    if (piece !== "looking") pieces.push(piece);
  }
  windows.capture.end("kept");
  return pieces;
}

for (const [name, window] of Object.entries(WINDOWS)) {
  const plan = makePlan({ window, latenessUs: 0, select: makeOutputs({ n: ["count"], sum: ["sum", "v"] }) });
  const local = createLocal(core, plan);
  const send = (windows: Windows, from: number, count: number, second: number): void =>
    withBatch(
      core,
      {
        times: Array.from({ length: count }, () => BigInt(second * SECOND_US)),
        columns: [
          { name: "device", kind: "text", cells: Array.from({ length: count }, (_, n) => `key ${from + n}`) },
          { name: "v", kind: "float", cells: Array.from({ length: count }, (_, n) => n / 8) },
        ],
      },
      (batch) => {
        windows.merge(local.aggregate(batch), -(2n ** 62n));
      },
    );
  const restored = (segments: readonly Segment[]): Uint8Array => {
    const windows = createWindows(core, plan);
    windows.adoption.begin(segments.at(-1)!.head);
    for (const { head, pieces } of segments) {
      windows.adoption.head(head);
      for (const piece of pieces) windows.adoption.piece(piece);
    }
    windows.adoption.end();
    const state = windows.snapshot();
    windows.dispose();
    return state;
  };

  test(`${name}: keys that are gone, and those that come again, between two captures and while one is told`, () => {
    const windows = createWindows(core, plan);
    send(windows, 0, KEYS, 0);
    const whole = { head: windows.capture.begin("whole"), pieces: rest(windows) };
    assert.deepEqual(restored([whole]), windows.snapshot());
    assert.ok(whole.pieces.length > 3 && whole.pieces.every(({ length }) => length < 300 * 1024));

    // All are closed but some that come again, under other numbers.
    send(windows, KEYS - 10, 20, 20);
    windows.fire(10n * BigInt(SECOND_US));
    const changes = { head: windows.capture.begin("changes"), pieces: rest(windows) };
    assert.equal(windows.adoption.isWhole(changes.head), false);
    assert.deepEqual(restored([whole, changes]), windows.snapshot());

    // And while a capture is told: as of when it began.
    send(windows, 0, KEYS, 40);
    const head = windows.capture.begin("changes");
    const truth = windows.snapshot();
    const first = windows.capture.next();
    assert.ok(first instanceof Uint8Array);
    windows.fire(60n * BigInt(SECOND_US));
    send(windows, 7, 30, 80);
    const during = { head, pieces: [first, ...rest(windows)] };
    assert.deepEqual(restored([whole, changes, during]), truth);
    windows.fire(61n * BigInt(SECOND_US));
    const last = { head: windows.capture.begin("changes"), pieces: rest(windows) };
    assert.deepEqual(restored([whole, changes, during, last]), windows.snapshot());
    windows.dispose();
  });

  test(`${name}: what is damaged or of another query is refused`, () => {
    const windows = createWindows(core, plan);
    send(windows, 0, 10, 0);
    const head = windows.capture.begin("whole");
    const [piece] = rest(windows);
    const before = windows.snapshot();
    for (let at = 0; at < head.length; at++) {
      const damaged = head.slice();
      damaged[at]! ^= 0x20;
      assert.throws(() => windows.adoption.begin(damaged), { code: "E_CHECKPOINT_VERSION" });
      assert.throws(() => windows.adoption.begin(head.slice(0, at)), { code: "E_CHECKPOINT_VERSION" });
    }
    assert.deepEqual(windows.snapshot(), before, "the state is as it was");
    windows.adoption.begin(head);
    windows.adoption.head(head);
    assert.throws(() => windows.adoption.piece(piece!.slice(0, -3)), { code: "E_CHECKPOINT_VERSION" });
    windows.dispose();
  });
}
