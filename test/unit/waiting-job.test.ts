import assert from "node:assert/strict";
import { test } from "node:test";
import { automaticStream } from "../../host/config/plans.ts";
import { COPIED_BYTES, type IngestRequest } from "../../host/pipeline/engine.ts";
import { RunningStream } from "../../host/pipeline/stream-registry.ts";
import { type JobBodies, type Queued, WaitingJob } from "../../host/pipeline/waiting-job.ts";
import { unpackBodies } from "../../workers/packed-bodies.ts";

const STREAM = new RunningStream(automaticStream("machines"), true);
const MOST = { bytes: 100_000, requests: 3 };

function request(text: string, more: Partial<IngestRequest> = {}): IngestRequest {
  // As a chunk of a socket: what is around the body is somebody else's.
  const body = Buffer.from(`head ${text}`).subarray("head ".length);
  return { stream: "machines", format: "ndjson", encoding: "identity", body, idempotencyKey: null, ...more };
}

function queued({ body }: IngestRequest): Queued {
  return { bytes: body.byteLength, settle: () => undefined, fail: () => undefined };
}

function jobOf(...requests: readonly IngestRequest[]): WaitingJob {
  const job = new WaitingJob(STREAM, requests[0]!);
  for (const each of requests) job.add(each, queued(each));
  return job;
}

function texts(bodies: JobBodies): string[] {
  const all = bodies.kind === "packed" ? unpackBodies(bodies) : bodies.bodies;
  return all.map(({ body }) => Buffer.from(body).toString());
}

test("small bodies are the caller's again at once, whatever their form", () => {
  for (const more of [{}, { encoding: "gzip" }, { idempotencyKey: "k" }, { format: "csv" }] as const) {
    const one = request("one\n", more);
    const job = jobOf(one);
    one.body.fill(0);
    assert.deepEqual(texts(job.bodies()), ["one\n"]);
  }
  const mixed = jobOf(request("x".repeat(COPIED_BYTES + 1)), request("small\n"));
  assert.equal(texts(mixed.bodies())[1], "small\n");
});

test("requests share a job when they are of one kind and there is room", () => {
  const job = jobOf(request("one\n"));
  assert.equal(job.takes(request("two\n"), MOST), true);
  assert.equal(job.takes(request("two\n", { idempotencyKey: "k" }), MOST), false);
  assert.equal(job.takes(request("two\n", { encoding: "zstd" }), MOST), false);
  assert.equal(job.takes(request("two\n", { format: "csv" }), MOST), false);
  assert.equal(job.takes(request("x".repeat(COPIED_BYTES + 1)), MOST), false, "is handed over by itself");
  assert.equal(job.takes(request("two\n"), { bytes: 7, requests: 3 }), false);
  assert.equal(jobOf(request("1"), request("2"), request("3")).takes(request("4"), MOST), false);
  for (const more of [{ idempotencyKey: "k" }, { encoding: "gzip" }] as const)
    assert.equal(jobOf(request("one\n", more)).takes(request("two\n"), MOST), false);
  const large = jobOf(request("x".repeat(COPIED_BYTES + 1)));
  assert.equal(large.takes(request("x".repeat(COPIED_BYTES + 1)), MOST), true);
  assert.equal(large.takes(request("two\n", { format: "csv" }), MOST), true);
});
