import assert from "node:assert/strict";
import { test } from "node:test";
import { keyBytes, keyJson } from "../../workers/core/group-key.ts";

const SLOTS = [["device", "id"], ["line"], ["on"]];

test("a group's key as text and as bytes is the same key", () => {
  for (const text of [
    '{"device":"press 3","line":1,"on":true}',
    '{"id":"Gerät ☂","line":-9223372036854775808,"on":false}',
    '{"id":9007199254740993,"line":0.5,"on":null}',
    '{"line":null,"on":""}',
  ])
    assert.equal(keyJson(keyBytes(text, SLOTS), SLOTS), text);
});
