import assert from "node:assert/strict";
import { test } from "node:test";
import type { CheckpointOperation } from "../../workers/store/checkpoint-operations.ts";
import { openForWriting } from "../../workers/store/database.ts";
import { StoreFixture } from "../support/store-fixtures.ts";

const piece = (segment: number, number: number): CheckpointOperation => ({
  kind: "checkpoint-piece",
  segment,
  number,
  bytes: Uint8Array.of(segment, number),
});
const named = (seq: number, first: number, last: number, pieces: number): CheckpointOperation => ({
  kind: "checkpoint",
  seq,
  state: new Uint8Array(0),
  segments: { first, last, pieces },
});
const seqOf = (fixture: StoreFixture): number | null => fixture.store.recovered.checkpoint?.seq ?? null;

test("pieces are no checkpoint until they are named; what a crash left of one goes at the next start", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(piece(1, 0), piece(1, 1), named(5, 1, 1, 2));
  fixture.commit(piece(2, 0));
  fixture.reopen();
  const { recovered, writer } = fixture.store;
  assert.deepEqual(recovered.checkpoint, { seq: 5, state: null, segments: { first: 1, last: 1, pieces: 2 } });
  assert.equal(recovered.lastSegment, 2, "the number of a segment is never given twice");
  assert.deepEqual(writer.checkpoints.readPieces({ segment: 2, number: 0 }, 99), []);
  const read = (number: number, maxBytes: number): number[][] =>
    writer.checkpoints.readPieces({ segment: 1, number }, maxBytes).map((bytes) => [...bytes]);
  assert.deepEqual(read(0, 99), [
    [1, 0],
    [1, 1],
  ]);
  assert.deepEqual(read(0, 1), [[1, 0]]);
  assert.deepEqual(read(2, 1), []);
});

test("a checkpoint of which a piece is damaged or missing is passed over for the one before", (context) => {
  for (const damage of [
    "UPDATE checkpoint_pieces SET bytes = x'ff' WHERE segment = 2",
    "DELETE FROM checkpoint_pieces WHERE segment = 2",
    "DELETE FROM checkpoint_pieces WHERE segment = 2 AND number = 0",
    "UPDATE checkpoint_pieces SET number = 7 WHERE segment = 2 AND number = 1",
  ]) {
    const fixture = new StoreFixture(context);
    fixture.commit(piece(1, 0), named(5, 1, 1, 1));
    fixture.commit(piece(2, 0), piece(2, 1), named(9, 1, 2, 3));
    fixture.reopen();
    assert.equal(seqOf(fixture), 9);
    fixture.store.close();
    const db = openForWriting(fixture.dir);
    db.exec(damage);
    db.close();
    fixture.reopen();
    assert.equal(seqOf(fixture), 5, damage);
  }
});

test("segments that no checkpoint has are swept a little at a time, those that one has or is written are not", (context) => {
  const fixture = new StoreFixture(context);
  fixture.commit(piece(1, 0), piece(1, 1), piece(1, 2), named(1, 1, 1, 3));
  fixture.commit(piece(2, 0), named(2, 2, 2, 1));
  const sweep = { kind: "checkpoint-sweep", below: 9, limit: 2 } as const;
  assert.deepEqual(fixture.commit(sweep), [{ kind: "cleared", rows: 0 }]);
  fixture.commit(piece(3, 0), named(3, 2, 3, 2));
  fixture.commit(piece(9, 0));
  assert.deepEqual(fixture.commit(sweep, sweep), [
    { kind: "cleared", rows: 2 },
    { kind: "cleared", rows: 1 },
  ]);
  const { checkpoints } = fixture.store.writer;
  assert.deepEqual(
    [1, 2, 3, 9].map((segment) => checkpoints.readPieces({ segment, number: 0 }, 99).length),
    [0, 1, 1, 1],
  );
});
