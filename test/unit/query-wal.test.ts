import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { type TestContext, test } from "node:test";
import { QueryClient } from "../../host/query/query-client.ts";
import { StorageClient } from "../../host/store/storage-client.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch, readHeader } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import type { StoredBlock } from "../../workers/messages.ts";
import { openForReading } from "../../workers/store/database.ts";
import { eventually } from "../support/hook.ts";
import { makeBlockOperation } from "../support/store-fixtures.ts";
import { makeTempDir } from "../support/temp-dir.ts";

const MIB = 2 ** 20;
const COMMITS = 700;
const USUAL_BYTES = 20 * MIB;

/** 100 KiB that do not compress. */
function blockOf(timeUs: number): StoredBlock {
  const core = instantiateCore();
  const builder = buildBatch(core);
  const column = builder.addColumn("text", "string");
  for (let row = 0; row < 10; row++)
    builder.setText(column, builder.addRow(BigInt(timeUs + row), 0), randomBytes(5_120).toString("hex"));
  const data = encodeBatch(core, builder.batch, { stream: "machines" });
  const { count, minUs, maxUs, schema } = readHeader(data);
  const encodedBytes = data.length;
  return { data, codec: "none", encodedBytes, count, minUs: Number(minUs), maxUs: Number(maxUs), schema };
}

interface Reading {
  /** Resolves once a read that is under way now is over. */
  readonly turn: () => Promise<void>;
  readonly stop: () => Promise<void>;
}

/**
 * Commits 70 MiB and gives the greatest size that the write-ahead log had meanwhile. Where it grows beyond its usual size, commits
 * wait for the read under way: how far they would come while a machine lets the reading thread rest says nothing.
 */
async function greatestWal(context: TestContext, whileReading: (dir: string) => Reading): Promise<number> {
  const dir = makeTempDir(context);
  const storage = await StorageClient.open(dir);
  const block = blockOf(1_000_000);
  await storage.commit([makeBlockOperation({ block: { ...block, data: block.data.slice() } })]);
  const { turn, stop } = whileReading(dir);
  let greatest = 0;
  for (let commit = 0; commit < COMMITS; commit++) {
    await storage.commit([makeBlockOperation({ block: { ...block, data: block.data.slice() } })]);
    const { walBytes } = await storage.sizes();
    if (walBytes > Math.max(USUAL_BYTES, greatest)) await turn();
    greatest = Math.max(greatest, walBytes);
  }
  await stop();
  await storage.close();
  return greatest;
}

test("reads that never end do not keep the write-ahead log from being emptied", async (context) => {
  let pages = 0;
  const greatest = await greatestWal(context, (dir) => {
    let isRunning = true;
    const reading = (async () => {
      const client = new QueryClient(dir);
      let after: string | null = null;
      while (isRunning) {
        const task = {
          stream: "machines",
          timeField: "ts",
          keyFields: [],
          fromUs: null,
          toUs: null,
          key: null,
        };
        const page: { next: string | null } = await client.events({ ...task, limit: 50, after });
        after = page.next;
        pages++;
      }
      await client.close();
    })();
    return {
      turn: async () => {
        const seen = pages;
        await eventually(() => pages > seen, "the end of a read");
      },
      stop: async () => {
        isRunning = false;
        await reading;
      },
    };
  });
  context.diagnostic(`${greatest / MIB} MiB, ${pages} pages`);
  assert.ok(pages > 0);
  assert.ok(greatest < 40 * MIB, `${greatest} bytes, ${pages} pages`);
});

test("the same with one read transaction held open grows it: so the test above can fail", async (context) => {
  const greatest = await greatestWal(context, (dir) => {
    const reader = openForReading(dir);
    reader.exec("BEGIN");
    reader.prepare("SELECT count(*) FROM blocks").get();
    return { turn: () => Promise.resolve(), stop: async () => void reader.close() };
  });
  assert.ok(greatest > 60 * MIB, `${greatest} bytes`);
});
