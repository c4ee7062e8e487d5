import assert from "node:assert/strict";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type CoreModule, copyIn, copyOut, instantiateCore } from "../../workers/core/module.ts";
import { PACKAGE_ROOT } from "../../workers/package-root.ts";
import { makeTempDir } from "../support/temp-dir.ts";

function allocate(core: CoreModule, length: number): number {
  return (core.exports as unknown as { allocate(length: number): number }).allocate(length) >>> 0;
}

test("instances of one file have memories of their own", () => {
  const [one, other] = [instantiateCore(), instantiateCore()];
  const bytes = Uint8Array.from({ length: 100 }, (_, index) => index + 1);
  const at = allocate(one, bytes.length);
  copyIn(one, at, bytes);
  assert.equal(allocate(other, bytes.length), at);
  assert.deepEqual(copyOut(other, at, bytes.length), new Uint8Array(bytes.length));
  assert.deepEqual(copyOut(one, at, bytes.length), bytes);
});

test("another build is taken by its file, and a file that is missing is told of each time", (context) => {
  const file = join(makeTempDir(context), "other.wasm");
  for (let turn = 0; turn < 2; turn++) assert.throws(() => instantiateCore(file), { code: "ENOENT" });
  copyFileSync(new URL(`${PACKAGE_ROOT}build/millrace.wasm`), file);
  assert.ok(allocate(instantiateCore(file), 8) > 0);
});
