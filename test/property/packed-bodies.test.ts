import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { BodyOutcome } from "../../workers/messages.ts";
import { BodyPack, packOutcomes, unpackBodies, unpackOutcomes } from "../../workers/packed-bodies.ts";

// As a part of a larger buffer, which is what small bodies are.
const body = fc
  .uint8Array({ maxLength: 9_000, minLength: 4, size: "max" })
  .map((bytes) => bytes.subarray(2, bytes.length - 1));
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

test("packed bodies come out as they went in, whatever becomes of their buffers", () => {
  fc.assert(
    fc.property(
      fc.constantFrom("ndjson", "csv", "json"),
      fc.array(body, { maxLength: 40 }),
      (format, bodies) => {
        const pack = new BodyPack(format);
        const before = bodies.map((bytes) => [format, "identity", [...bytes]]);
        for (const bytes of bodies) {
          pack.add(bytes);
          bytes.fill(0);
        }
        const unpacked = unpackBodies(pack.take());
        assert.deepEqual(
          unpacked.map(({ format: form, encoding, body: bytes }) => [form, encoding, [...bytes]]),
          before,
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("packed outcomes come out as they went in", () => {
  fc.assert(
    fc.property(fc.array(outcome), (outcomes) => {
      const copies = outcomes.map((each) => ({ ...each }));
      assert.deepEqual(unpackOutcomes(packOutcomes(copies)), copies);
    }),
  );
});
