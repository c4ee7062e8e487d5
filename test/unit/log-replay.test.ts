import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { parseConfig } from "../../host/config/load.ts";
import type { CommittedEntry } from "../../host/pipeline/apply-loop.ts";
import { LogReplay, type LogReplayParts } from "../../host/pipeline/log-replay.ts";
import { StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import type { AggregatedBlock, LogEntry } from "../../workers/messages.ts";

const NOTHING: AggregatedBlock = { partials: [], maxEventUs: null, skewedCount: 0, sources: null };

type ReplayLane = LogReplayParts["lanes"][number];

function blockAt(seq: number): LogEntry {
  const block = {
    data: new Uint8Array(),
    codec: "none",
    encodedBytes: 0,
    count: 1,
    minUs: seq,
    maxUs: seq,
    schema: [],
  } as const;
  return { kind: "block", seq, stream: "s", arrivalUs: seq, block };
}

test("blocks of a lane that was ended meanwhile are aggregated by one that is there", async () => {
  const loaded = parseConfig(
    "streams: { s: { key: device } }\nqueries: { q: { from: s, window: { count: 3 }, by: [device], select: { n: count() } } }",
    "test.yaml",
  );
  assert.ok(loaded.ok, loaded.ok ? "" : JSON.stringify(loaded.problems));
  const lanes: ReplayLane[] = [];
  const laneOf = (): ReplayLane => {
    const lane: ReplayLane = {
      replay: async () => {
        if (!lanes.includes(lane)) throw new Error("the thread was ended");
        return NOTHING;
      },
      // A trap, say: its blocks are to be taken one by one.
      replayRuns: async () => Promise.reject(new Error("trapped")),
    };
    return lane;
  };
  lanes.push(laneOf(), laneOf());
  const pushed: number[] = [];
  const replay = new LogReplay({
    storage: { setAside: async () => [] } as unknown as LogReplayParts["storage"],
    registry: new StreamRegistry(loaded.config),
    windows: {} as LogReplayParts["windows"],
    lanes,
    apply: {
      pendingBytes: 0,
      push: ({ entry }: CommittedEntry) => {
        pushed.push(entry.seq);
        // With nothing to do for it, the pool ends the lane that came last.
        if (lanes.length > 1) lanes.pop();
      },
      settled: () => Promise.resolve(),
    },
    switchAt: () => Promise.reject(new Error("no entry of this log")),
    log: pino({ level: "silent" }),
  });
  const seqs = Array.from({ length: 64 }, (_, index) => index + 1);
  await replay.take(seqs.map(blockAt));
  assert.deepEqual(pushed, seqs);
});
