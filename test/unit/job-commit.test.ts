import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { parseConfig } from "../../host/config/load.ts";
import type { IngestOutcome, IngestRefusal } from "../../host/pipeline/engine.ts";
import type { ParsedJob } from "../../host/pipeline/intake.ts";
import { JobCommit, type JobCommitParts } from "../../host/pipeline/job-commit.ts";
import { Lane } from "../../host/pipeline/lane.ts";
import { Stages } from "../../host/pipeline/stages.ts";
import { StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import type { IngestResult } from "../../workers/messages.ts";
import { fieldsOf } from "../../workers/schema.ts";

const ARRIVAL_US = 1_767_225_600_000_000;
const REFUSAL: IngestRefusal = { kind: "overloaded", status: 503, retryAfterSeconds: 1, detail: "full" };

function laneOf(context: TestContext): Lane {
  const lane = new Lane({ isSummed: false });
  context.after(() => lane.close());
  return lane;
}

test("what a lane learned of events that maxState refused does not outlive them", async (context) => {
  const loaded = parseConfig("streams: { s: { key: device } }", "test.yaml");
  assert.ok(loaded.ok, loaded.ok ? "" : JSON.stringify(loaded.problems));
  const stream = new StreamRegistry(loaded.config).stream("s")!;
  const lane = laneOf(context);
  const ingest = (text: string): Promise<IngestResult> => {
    const body = new TextEncoder().encode(text);
    const bodies = { kind: "apart", bodies: [{ format: "ndjson", encoding: "identity", body }] } as const;
    return lane.ingest(stream, ARRIVAL_US, 1e6, bodies);
  };
  const jobs = new JobCommit({
    stages: new Stages(),
    stateGuard: { refusal: () => REFUSAL },
  } as unknown as JobCommitParts);
  const answers: IngestOutcome[] = [];
  const request = {
    bytes: 1,
    settle: (outcome: IngestOutcome) => answers.push(outcome),
    fail: assert.ifError,
  };
  const job: ParsedJob = {
    stream,
    requests: [request],
    idempotencyKey: null,
    arrivalUs: ARRIVAL_US,
    planVersion: stream.planVersion,
    result: await ingest('{"device":"a","v":"none"}'),
    lane,
  };
  await jobs.commit(job);
  assert.deepEqual(answers, [REFUSAL]);
  const { block } = await ingest('{"device":"a","v":1}');
  assert.deepEqual(
    block === null ? undefined : fieldsOf(block.schema).find(({ name }) => name === "v"),
    { name: "v", type: "int" },
    "no text of this field was ever stored",
  );
});
