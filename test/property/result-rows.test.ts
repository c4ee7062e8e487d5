import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ResultRow } from "../../workers/messages.ts";
import {
  countResults,
  groupsOf,
  packResults,
  rowsOf,
  splitResults,
  unpackResults,
} from "../../workers/result-rows.ts";

/** Of few windows, so that many rows follow others of theirs. */
const ROW = fc
  .record({
    query: fc.constantFrom("temp", "by site"),
    startUs: fc.constantFrom(0, 1_000_000, -5),
    endUs: fc.constantFrom(2_000_000, 3_000_000),
    key: fc.json().map((json) => JSON.stringify({ key: json })),
    values: fc.json().map((json) => JSON.stringify({ value: json })),
    revision: fc.nat(2),
    kind: fc.constantFrom<ResultRow["kind"]>("on-time", "late", "early"),
    isRetracted: fc.boolean(),
  })
  .map(({ isRetracted, ...row }): ResultRow => (isRetracted ? { ...row, retracted: true } : row));
const ROWS = fc
  .array(fc.tuple(ROW, fc.nat(8)), { maxLength: 12 })
  .map((runs) => runs.flatMap(([row, more]) => Array.from({ length: 1 + more }, () => row)));

test("rows come out of a packed text as they went in", () => {
  fc.assert(
    fc.property(ROWS, (rows) => {
      const text = packResults(rows);
      assert.deepEqual(unpackResults(text), rows);
      assert.deepEqual(groupsOf(text).flatMap(rowsOf), rows);
      assert.equal(countResults(text), rows.length);
    }),
  );
});

test("the parts of a packed text have its rows, each once and in order, and are no longer than asked by more than a head and a row", () => {
  fc.assert(
    fc.property(ROWS, fc.integer({ min: 1, max: 400 }), (rows, chars) => {
      const parts = splitResults(packResults(rows), chars);
      assert.deepEqual(parts.flatMap(unpackResults), rows);
      const longest = Math.max(0, ...rows.map((row) => packResults([row]).length));
      for (const part of parts) assert.ok(part.length <= chars + 2 * longest + 2, part);
    }),
  );
});

test("texts of earlier releases, a row a line with all its members, are read", () => {
  fc.assert(
    fc.property(ROWS, fc.integer({ min: 1, max: 400 }), (rows, chars) => {
      const lines = rows.map((row) => {
        const members = [row.query, row.startUs, row.endUs, row.revision, row.kind, row.key, row.values];
        return [...members, ...(row.retracted ? ["retracted"] : [])].join("\t");
      });
      const text = lines.join("\n");
      assert.deepEqual(unpackResults(text), rows);
      assert.equal(countResults(text), rows.length);
      assert.deepEqual(splitResults(text, chars).flatMap(unpackResults), rows);
    }),
  );
});
