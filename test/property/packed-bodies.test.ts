import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { BodyOutcome, IngestBody } from "../../workers/messages.ts";
import { packBodies, packOutcomes, unpackBodies, unpackOutcomes } from "../../workers/packed-bodies.ts";

const body = fc.record({
  format: fc.constantFrom("ndjson" as const, "csv" as const),
  encoding: fc.oneof(
    { weight: 20, arbitrary: fc.constant("identity" as const) },
    { weight: 1, arbitrary: fc.constant("gzip" as const) },
  ),
  // As a part of a larger buffer, which is what small bodies are.
  body: fc
    .uint8Array({ maxLength: 40, minLength: 4 })
    .map((bytes) => new Uint8Array(bytes).subarray(2, bytes.length - 1)),
});
const outcome: fc.Arbitrary<BodyOutcome> = fc.oneof(
  fc.record({
    kind: fc.constant("parsed" as const),
    accepted: fc.nat(),
    bad: fc.constant(0),
    errors: fc.constant([]),
  }),
  fc.record({
    kind: fc.constant("parsed" as const),
    accepted: fc.nat(),
    bad: fc.integer({ min: 1, max: 9 }),
    errors: fc.constant([{ line: 1, path: "temp", code: "E_TYPE", message: "not a float", text: "{}" }]),
  }),
  fc.constant({ kind: "too-large" as const }),
  fc.record({ kind: fc.constant("bad-encoding" as const), detail: fc.string() }),
);

test("packed bodies come out as they went in; only uncompressed ones of one format are packed", () => {
  let packedCount = 0;
  fc.assert(
    fc.property(fc.array(body, { maxLength: 20 }), (bodies) => {
      const packed = packBodies(bodies as IngestBody[]);
      const kinds = new Set(bodies.map(({ format, encoding }) => `${format} ${encoding}`));
      const isAlike = kinds.size === 1 && bodies[0]?.encoding === "identity";
      assert.equal(packed !== null, bodies.length > 1 && isAlike);
      if (packed === null) return;
      packedCount++;
      const plain = ({ format, encoding, body: bytes }: IngestBody): unknown => [
        format,
        encoding,
        [...bytes],
      ];
      assert.deepEqual(unpackBodies(packed).map(plain), (bodies as IngestBody[]).map(plain));
    }),
    { numRuns: 500 },
  );
  assert.ok(packedCount > 10);
});

test("large bodies go by themselves", () => {
  const large = (): IngestBody => ({ format: "ndjson", encoding: "identity", body: new Uint8Array(9_000) });
  assert.equal(packBodies([large(), large()]), null);
});

test("packed outcomes come out as they went in", () => {
  fc.assert(
    fc.property(fc.array(outcome), (outcomes) => {
      const copies = outcomes.map((each) => ({ ...each }));
      assert.deepEqual(unpackOutcomes(packOutcomes(copies)), copies);
    }),
  );
});
