import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { backUp } from "../../host/store/backup.ts";
import { MillraceError } from "../../workers/errors.ts";
import { masterKey } from "../../workers/seal/master-key.ts";
import { Reader } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { findTexts } from "../support/secret-node.ts";
import { makeBlock, makeBlockOperation, makeResult, NOW_US } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const MASTERS = { current: masterKey(new Uint8Array(32).fill(3)), previous: [] };

test("a backup of encrypted data needs no key, has nothing in the plain, and opens with the key alone", async (context) => {
  const dir = makeTempDir(context);
  const store = Store.open(dir, undefined, MASTERS);
  const block = makeBlock({ data: new Uint8Array(Buffer.from("zq-block-text")) });
  const result = makeResult({ key: '{"device":"zq-key"}' });
  store.writer.commit([makeBlockOperation({ block }), { kind: "results", rows: [result] }], NOW_US);
  const target = join(makeTempDir(context), "copy");
  await backUp({ dir, target, onProgress: () => {} });
  store.close();
  assert.deepEqual(findTexts(target, ["zq-block-text", "zq-key"]), []);
  assert.throws(
    () => Store.open(target),
    (error: unknown) => error instanceof MillraceError && error.code === "E_KEY_MISSING",
  );
  const reader = new Reader(target, MASTERS);
  context.after(() => reader.close());
  assert.equal(Buffer.from(reader.block(1)!.data).toString(), "zq-block-text");
  assert.equal(reader.latestResult(result)?.values, result.values);
});
