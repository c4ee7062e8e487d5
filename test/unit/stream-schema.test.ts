import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { FieldType, SchemaField } from "../../workers/messages.ts";
import { mergeSchemas, widen } from "../../workers/schema.ts";

const type = fc.constantFrom<FieldType>("bool", "int", "float", "string");
const schema = fc
  .dictionary(fc.constantFrom("a", "b", "c", "d"), type)
  .map((fields): SchemaField[] => Object.entries(fields).map(([name, type]) => ({ name, type })));

const asMap = (fields: readonly SchemaField[]): Map<string, FieldType> =>
  new Map(fields.map(({ name, type }) => [name, type]));

test("widening is commutative, associative and idempotent, so workers agree whatever they saw first", () => {
  fc.assert(
    fc.property(type, type, type, (a, b, c) => {
      assert.equal(widen(a, a), a);
      assert.equal(widen(a, b), widen(b, a));
      assert.equal(widen(widen(a, b), c), widen(a, widen(b, c)));
    }),
  );
});

test("merging schemas gives the same fields in any order and only ever widens", () => {
  fc.assert(
    fc.property(schema, schema, (a, b) => {
      const ab = asMap(mergeSchemas(a, b));
      assert.deepEqual(new Map([...ab].sort()), new Map([...asMap(mergeSchemas(b, a))].sort()));
      for (const { name, type } of [...a, ...b]) assert.equal(widen(ab.get(name)!, type), ab.get(name));
    }),
  );
});

test("a schema that already holds the fields stays the same object", () => {
  const known: SchemaField[] = [{ name: "temp", type: "float" }];
  assert.equal(mergeSchemas(known, [{ name: "temp", type: "int" }]), known);
});
