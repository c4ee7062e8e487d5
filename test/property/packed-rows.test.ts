import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { PackedRows, ResultRow } from "../../workers/messages.ts";
import { bytewiseGroups, packedOf, piecesOf, RowPieces, textOf } from "../../workers/packed-rows.ts";
import { packResults, rowsOf, unpackResults } from "../../workers/result-rows.ts";
import { splitDerived } from "../../workers/store/derived-parts.ts";

const PIECE_BYTES = 64 * 1024;
const LETTERS = ["a", "ß", "路", "🚌", '"', "\t"];

/** Of few windows, and up to 12 KB long, so that a dozen of them fill a piece. */
const ROW = fc
  .record({
    query: fc.constantFrom("temp", "by.site"),
    startUs: fc.constantFrom(0, -5),
    endUs: fc.constant(2_000_000),
    key: fc.string({ unit: fc.constantFrom(...LETTERS), maxLength: 8 }).map((key) => JSON.stringify({ key })),
    values: fc
      .tuple(fc.constantFrom(...LETTERS), fc.oneof(fc.nat(20), fc.nat(3_000)))
      .map(([letter, times]) => JSON.stringify({ value: letter.repeat(times) })),
    revision: fc.nat(1),
    kind: fc.constantFrom<ResultRow["kind"]>("on-time", "late"),
    isRetracted: fc.boolean(),
  })
  .map(({ isRetracted, ...row }): ResultRow => (isRetracted ? { ...row, retracted: true } : row));
/** Texts that are gathered, each of some rows; some are longer than a piece. */
const PACKS = fc.array(fc.array(fc.tuple(ROW, fc.nat(8)), { minLength: 1, maxLength: 4 }).map(withRuns), {
  maxLength: 12,
});

function withRuns(runs: readonly (readonly [ResultRow, number])[]): ResultRow[] {
  return runs.flatMap(([row, more]) => Array.from({ length: 1 + more }, () => row));
}

const unpacked = (packed: PackedRows): ResultRow[] => unpackResults(textOf(packed));

function assertPieces(pieces: readonly PackedRows[], rows: readonly ResultRow[]): void {
  assert.deepEqual(pieces.flatMap(unpacked), rows);
  for (const piece of pieces) {
    assert.equal(piece.count, unpacked(piece).length);
    assert.equal(piece.bytes.length, piece.bytes.buffer.byteLength, "nothing else moves with a piece");
  }
}

test("rows come out of the pieces as they went in, each once and in order, whatever was gathered before", () => {
  fc.assert(
    fc.property(fc.array(PACKS, { minLength: 1, maxLength: 3 }), (rounds) => {
      const gathered = new RowPieces();
      for (const packs of rounds) {
        for (const rows of packs) gathered.add(packResults(rows), rows.length);
        const pieces = gathered.take();
        assertPieces(pieces, packs.flat());
        const longest = Math.max(0, ...packs.flat().map((row) => Buffer.byteLength(packResults([row]))));
        // A text that is longer than a piece is parted by characters, which have up to three bytes each.
        for (const { bytes } of pieces) assert.ok(bytes.length <= 3 * (PIECE_BYTES + 2 * longest + 2));
      }
      assert.deepEqual(gathered.take(), []);
    }),
    { numRuns: 60 },
  );
});

test("rows under one head, gathered few at a time, share it", () => {
  const row = (number: number): ResultRow => ({
    query: "temp",
    startUs: 0,
    endUs: 1,
    key: `{"n":${number}}`,
    values: "{}",
    revision: 0,
    kind: "on-time",
  });
  const rows = Array.from({ length: 100 }, (_, number) => row(number));
  const gathered = new RowPieces();
  for (let from = 0; from < rows.length; from += 10)
    gathered.add(packResults(rows.slice(from, from + 10)), 10);
  const pieces = gathered.take();
  assert.deepEqual(pieces.map(textOf), [packResults(rows)]);
  assertPieces(pieces, rows);
});

test("a packed text in pieces has its rows, and an empty one has none", () => {
  fc.assert(
    fc.property(PACKS, (packs) => assertPieces(piecesOf(packResults(packs.flat())), packs.flat())),
    { numRuns: 60 },
  );
  assert.deepEqual(piecesOf(""), []);
  assert.equal(packedOf("").count, 0);
});

test("groups by bytes have the bytes of their rows", () => {
  fc.assert(
    fc.property(PACKS, (packs) => {
      const rows = packs.flat();
      const inBytes = bytewiseGroups(packedOf(packResults(rows))).map((group) => ({
        ...group,
        lines: Buffer.from(group.lines, "latin1").toString("utf8"),
      }));
      assert.deepEqual(inBytes.flatMap(rowsOf), rows);
    }),
    { numRuns: 60 },
  );
});

test("a piece that finds no room is parted, and its parts have its rows in order", () => {
  const partsOf = (rows: readonly ResultRow[]): PackedRows[] | null => {
    const packed = packedOf(packResults(rows));
    const parts = splitDerived([{ kind: "packed-results", packed, isLive: true }]);
    if (parts === null) return null;
    return parts.flat().map((operation) => {
      assert.ok(operation.kind === "packed-results" && operation.isLive);
      return operation.packed;
    });
  };
  fc.assert(
    fc.property(PACKS, (packs) => {
      const pieces = partsOf(packs.flat());
      // Where the last row is the longer half, there are no two parts.
      if (pieces !== null) assertPieces(pieces, packs.flat());
    }),
    { numRuns: 60 },
  );
  fc.assert(
    fc.property(ROW, fc.integer({ min: 8, max: 40 }), (row, times) => {
      const rows = Array.from({ length: times }, () => row);
      const pieces = partsOf(rows);
      assert.ok(pieces !== null && pieces.length > 1);
      assertPieces(pieces, rows);
    }),
  );
});
