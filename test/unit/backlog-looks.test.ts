import assert from "node:assert/strict";
import { test } from "node:test";
import { BacklogLooks } from "../../host/sync/backlog-looks.ts";
import type { SyncBacklog } from "../../workers/store/sync-operations.ts";

const backlogOf = (events: number, parked = 0): SyncBacklog => ({
  rows: { alerts: 0, losses: 0, attributes: 0, results: 0, events },
  bytes: events * 10,
  oldestUs: events === 0 ? null : 1,
  parked,
});

/** Looks that take a second by a clock that stands still otherwise, and end when they are told to. */
function start() {
  const state = { events: 0, parked: 0, looks: 0, nowMs: 0 };
  const ends: (() => void)[] = [];
  const looks = new BacklogLooks({
    look: async () => {
      state.looks++;
      const seen = backlogOf(state.events, state.parked);
      await new Promise<void>((resolve) => ends.push(resolve));
      state.nowMs += 1_000;
      return [backlogOf(0), seen];
    },
    clock: { monotonicMs: () => state.nowMs },
  });
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const events = async (): Promise<number | undefined> => (await looks.read())[1]?.rows.events;
  const answered = async (asked: Promise<number | undefined>): Promise<number | undefined> => {
    await turn();
    while (ends.length > 0) {
      ends.shift()?.();
      await turn();
    }
    return asked;
  };
  return { state, ends, events, answered, turn };
}

test("of what waits the last look tells, for as long as its cost asks for", async () => {
  const { state, events, answered } = start();
  state.events = 5;
  assert.equal(await answered(events()), 5);
  state.events = 7;
  state.nowMs += 49_999;
  assert.equal(await events(), 5);
  state.nowMs += 1;
  assert.equal(await answered(events()), 7);
  assert.equal(state.looks, 2);
});

test("that nothing waits is never told from a look that began before the question", async () => {
  const { state, ends, events, answered, turn } = start();
  state.parked = 1;
  assert.equal(await answered(events()), 0);
  state.events = 3;
  assert.equal(await answered(events()), 3);
  state.events = 0;
  state.nowMs += 60_000;
  const before = events();
  await turn();
  state.events = 4;
  const behind = [events(), events()];
  assert.equal(ends.length, 1, "who asks meanwhile waits for it");
  assert.equal(await answered(before), 0);
  assert.deepEqual(await Promise.all(behind), [4, 4]);
  assert.equal(state.looks, 4, "and shares the next one");
});
