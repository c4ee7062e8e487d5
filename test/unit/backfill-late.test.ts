import assert from "node:assert/strict";
import { test } from "node:test";
import { valueSymbol } from "piscina";
import { automaticStream, streamPlan } from "../../host/config/plans.ts";
import { begin, byLog, byTime } from "../../workers/backfill.ts";
import { ingest } from "../../workers/ingest.ts";
import type { IngestResult, QueryPlan, StoredBlock } from "../../workers/messages.ts";
import { packLateRows } from "../../workers/store/late-rows.ts";
import { Store } from "../../workers/store/store.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const STREAM = "s";
const SECOND_US = 1_000_000;
const PLAN: QueryPlan = {
  id: 0,
  name: "q",
  stream: STREAM,
  window: { kind: "tumbling", sizeUs: 10 * SECOND_US, offsetUs: 0 },
  latenessUs: 0,
  by: [],
  select: [{ name: "n", fn: "count", field: null, parameter: null }],
};

function blockOf(...seconds: readonly number[]): StoredBlock {
  const lines = seconds.map((second) => JSON.stringify({ ts: second * SECOND_US }));
  const plan = {
    ...streamPlan(automaticStream(STREAM)),
    time: { fields: ["ts"], isDeclared: true, unit: "us" as const },
  };
  const answer = ingest({
    stream: STREAM,
    setup: { plan, queries: [], isPerSource: false, schema: [] },
    arrivalUs: 1_000 * SECOND_US,
    maxBodyBytes: 1e6,
    bodies: [{ format: "ndjson", encoding: "identity", body: new TextEncoder().encode(lines.join("\n")) }],
  }) as unknown as Record<symbol, IngestResult>;
  const block = answer[valueSymbol]!.block!;
  return { ...block, data: new Uint8Array(block.data) };
}

test("late events that a backfill finds are set aside, but those that live queries have set aside already", (context) => {
  const dir = makeTempDir(context);
  const store = Store.open(dir);
  context.after(() => store.close());
  const commit = (...operations: Parameters<typeof store.writer.commit>[0]) =>
    store.writer.commit(operations, 0);
  const rest = { idempotencyKey: null, deadLetters: [], unkeptDeadLetters: 0, skewed: null };
  const send = (...seconds: readonly number[]): number => {
    const block = blockOf(...seconds);
    commit({ kind: "block", stream: STREAM, arrivalUs: 7, block, accepted: block.count, ...rest });
    return store.writer.lastSeq;
  };
  send(100);
  commit({ kind: "config", body: "{}" });
  const untilSeq = store.writer.lastSeq;
  const seq = send(1, 200, 2, 3);
  const asideLive = packLateRows(Uint8Array.of(0, 0, 1, 0));
  commit({ kind: "late", stream: STREAM, sourceSeq: seq, block: blockOf(2), rows: asideLive, atUs: 7 });
  const backfill = () => {
    begin({ dir, plan: PLAN, tables: [], fromUs: null, untilSeq, watermarkUs: 150 * SECOND_US, below: null });
    while (!byTime(null).isDone);
    return byLog(seq + 1).late;
  };
  const [found, ...others] = backfill();
  assert.deepEqual(others, []);
  assert.ok(found !== undefined);
  assert.deepEqual([found.seq, found.arrivalUs, found.block.count], [seq, 7, 2]);
  assert.deepEqual(found.rows, packLateRows(Uint8Array.of(1, 0, 0, 1)));
  const { block, rows } = found;
  const outcomes = commit({ kind: "late", stream: STREAM, sourceSeq: seq, block, rows, atUs: 7 });
  assert.equal(outcomes[0]!.kind, "committed");
  assert.deepEqual(backfill(), [], "after a crash the same backfill sets nothing aside twice");
});
