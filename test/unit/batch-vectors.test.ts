import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { Batch, BatchItem } from "../../workers/sync/batch.ts";
import { decodeContent, encodeContent } from "../../workers/sync/batch-format.ts";
import { crc32c } from "../../workers/sync/crc32c.ts";

const dir = new URL("data/batch-vectors/", import.meta.url);

/** Bytes stand in Base64, texts as they are. */
type Written = Omit<Batch, "items"> & { items: readonly Record<string, unknown>[] };

function readVector(name: string): Batch {
  const { header, items } = JSON.parse(readFileSync(new URL(`${name}.json`, dir), "utf8")) as Written;
  return {
    header,
    items: items.map((item) => {
      const { data, ndjson, ...rest } = item;
      if (typeof data === "string") return { ...rest, data: bytesOf(Buffer.from(data, "base64")) };
      return { ...rest, ndjson: bytesOf(Buffer.from(String(ndjson))) };
    }) as unknown as BatchItem[],
  };
}

function bytesOf(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer);
}

for (const name of ["v1-empty", "v1-every-kind", "v2-attributes"]) {
  test(`batch vector ${name} is read and written to the byte`, () => {
    const content = bytesOf(readFileSync(new URL(`${name}.mrsb`, dir)));
    const batch = readVector(name);
    const read = decodeContent(content);
    assert.deepEqual(
      { header: read.header, items: read.items.map(copied) },
      { header: batch.header, items: batch.items.map(copied) },
    );
    assert.deepEqual(bytesOf(Buffer.from(encodeContent(batch))), content);
  });
}

test("CRC-32C gives the check values of RFC 3720 §B.4", () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, n) => n)), 0x46dd794e);
  assert.equal(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
});

/** Views of the content become bytes of their own, which can be compared. */
function copied(item: BatchItem): object {
  return item.kind === "block" ? { ...item, data: [...item.data] } : { ...item, ndjson: [...item.ndjson] };
}
