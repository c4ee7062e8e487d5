import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeBlock, newBatch, readHeader } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { type BatchModel, read } from "../property/codec-model.ts";

/** Blocks as earlier releases wrote them, and what is in them. Never regenerate one: add another. */
const FOLDER = new URL("data/block-vectors/", import.meta.url);
const core = instantiateCore();

interface Vector {
  readonly about: string;
  readonly stream: string;
  readonly schemaId: number;
  /** Times and cells as decimal strings of their 64 bits, each with an `n`; texts as they are, with a `'` before. */
  readonly model: BatchModel;
}

function parse(text: string): Vector {
  return JSON.parse(text, (_key, value: unknown) => {
    if (typeof value !== "string") return value;
    if (/^-?\d+n$/.test(value)) return BigInt(value.slice(0, -1));
    return value.startsWith("'") ? value.slice(1) : value;
  }) as Vector;
}

const names = readdirSync(FOLDER)
  .filter((file) => file.endsWith(".mrbk"))
  .map((file) => file.slice(0, -5));

test("there are vectors of the first version", () => {
  assert.ok(names.some((name) => name.startsWith("v1-")));
});

for (const name of names) {
  test(`the block ${name} reads as it was written`, () => {
    const { stream, schemaId, model } = parse(readFileSync(new URL(`${name}.json`, FOLDER), "utf8"));
    const block = readFileSync(new URL(`${name}.mrbk`, FOLDER));
    const header = readHeader(block);
    assert.deepEqual([header.version, header.stream, header.schemaId], [1, stream, schemaId]);
    assert.equal(header.count, model.times.length);
    const into = newBatch(core);
    decodeBlock(core, block, into);
    assert.deepEqual(read(core, into), model);
  });
}
