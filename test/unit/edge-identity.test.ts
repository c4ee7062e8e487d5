import assert from "node:assert/strict";
import { test } from "node:test";
import { judgeIdentity, type KnownIncarnation } from "../../workers/hub/edge-identity.ts";

const EDGE = { current: { id: "disk", sinceUs: 100 }, hasReturned: false };
/** Start 5 of the data directory was heard of last, and made its first batch at 1,000. */
const KNOWN: KnownIncarnation = {
  startNumber: 5,
  current: { id: "five", sinceUs: 1_000 },
  isForked: false,
};

function judge(number: number, createdUs: number, isNumberTaken: boolean, known = KNOWN) {
  const header = { start: { number, id: "other" }, createdUs, incarnation: "disk" };
  const { noticed, isCopy, setStart, setCurrentStart } = judgeIdentity(header, known, EDGE, {
    isNew: true,
    isNumberTaken,
  });
  return { noticed, isCopy, setStart, setCurrentStart };
}

test("the first batch of an earlier start that comes late is no copy, and changes nothing", () => {
  const nothing = { noticed: null, isCopy: false, setStart: false, setCurrentStart: false };
  assert.deepEqual(judge(4, 999, false), nothing);
  assert.deepEqual(judge(1, 1_000, false), nothing);
});

test("a new name of a number that is taken, or made after a later start began, is of a copy that was put back", () => {
  const copy = { noticed: "replayed", isCopy: true, setStart: false, setCurrentStart: true };
  assert.deepEqual(judge(5, 999, true), copy);
  assert.deepEqual(judge(4, 10, true), copy);
  assert.deepEqual(judge(4, 1_001, false), copy);
});

test("the next start takes the place of the last", () => {
  assert.deepEqual(judge(6, 1_001, false), {
    noticed: null,
    isCopy: false,
    setStart: true,
    setCurrentStart: true,
  });
});
