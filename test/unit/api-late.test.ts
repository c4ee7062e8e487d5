import assert from "node:assert/strict";
import { test } from "node:test";
import { schemas } from "../../host/api/schemas.ts";
import { KNOWN, startTestNode, type TestProblem } from "./api-fixture.ts";

const PATH = `/v1/streams/${KNOWN}/late/apply`;
const nothing = { rows: [], lateIds: [], events: 0, waitingEvents: 0, unreadableEvents: 0 };

test("late events are applied step by step, and what comes of each step is written before the next", async (context) => {
  const { url, engine, reads } = await startTestNode(context);
  engine.watermarkUs = 60_000_000;
  const row = {
    query: "q",
    startUs: 0,
    endUs: 60_000_000,
    key: "{}",
    values: '{"n":2}',
    revision: 1,
    kind: "late",
  } as const;
  const refused = [{ query: "other", reason: "why" }];
  reads.corrections.push(
    { ...nothing, rows: [row], lateIds: [3, 4], events: 9, nextId: 4, refused },
    { ...nothing, waitingEvents: 2, unreadableEvents: 1, nextId: null, refused },
  );
  const answer = await fetch(url + PATH, { method: "POST", body: '{"clockSkew":true}' });
  assert.deepEqual(schemas.LateApplyAnswer.parse(await answer.json()), {
    applied: 9,
    revisions: 1,
    waiting: 2,
    unreadable: 1,
    refused,
    next: null,
  });
  assert.deepEqual(engine.corrections, [{ rows: [row], lateIds: [3, 4] }]);
  assert.deepEqual(
    reads.correctionTasks.map(({ afterId, includesSkewed }) => [afterId, includesSkewed]),
    [
      [0, true],
      [4, true],
    ],
  );
  assert.ok(engine.settles > 0, "results of closed windows are durable first");
});

test("a long application stops after some steps and says where to go on", async (context) => {
  const { url, engine, reads } = await startTestNode(context);
  engine.watermarkUs = 1;
  for (let id = 1; id <= 20; id++)
    reads.corrections.push({ ...nothing, lateIds: [id], events: 1, nextId: id, refused: [] });
  let after: number | null = null;
  let applied = 0;
  for (let requests = 1; requests === 1 || after !== null; requests++) {
    const body = JSON.stringify(after === null ? {} : { after });
    const answer = schemas.LateApplyAnswer.parse(
      await (await fetch(url + PATH, { method: "POST", body })).json(),
    );
    applied += answer.applied;
    after = answer.next;
    assert.ok(requests < 10);
  }
  assert.equal(applied, 20);
});

test("what cannot be applied: 400, 404, and a stream without a watermark has nothing late", async (context) => {
  const { url, reads } = await startTestNode(context);
  const post = (path: string, body: string): Promise<Response> => fetch(url + path, { method: "POST", body });
  for (const body of ["[]", "{", '{"after":-1}', '{"clockskew":true}', "x".repeat(5_000)]) {
    const answer = await post(PATH, body);
    assert.deepEqual([answer.status, ((await answer.json()) as TestProblem).code], [400, "E_LATE_APPLY"]);
  }
  assert.equal((await post("/v1/streams/nothing/late/apply", "")).status, 404);
  assert.equal((await post("/v1/streams/a%20b/late/apply", "")).status, 400);
  const answer = schemas.LateApplyAnswer.parse(await (await post(PATH, "")).json());
  assert.deepEqual([answer.applied, answer.next], [0, null]);
  assert.equal(reads.correctionTasks.length, 1);
});
