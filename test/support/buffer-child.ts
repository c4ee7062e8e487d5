import { writeSync } from "node:fs";
import { StorageClient } from "../../host/store/storage-client.ts";
import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import { Random } from "./random.ts";
import { makeBlock, makeBlockOperation, makeDeadLetter, makeResult } from "./store-fixtures.ts";

/*
 * Fills a store beyond its small cap until it is killed, with everything at work that makes room. Arguments: data
 * directory, seed. Prints stream and events of each batch that was acknowledged, a line each.
 */
const [dir = "", seedText = "0"] = process.argv.slice(2);
const MIB = 1024 * 1024;
const SETTINGS: BufferSettings = {
  capBytes: 6 * MIB,
  retentionUs: 3_600e6,
  expiresUnsynced: false,
  priorities: [["doors", 8]],
  defaultPriority: 5,
};
const random = new Random(Number(seedText));
const storage = await StorageClient.open(dir);
let lastSeq = storage.recovered.lastSeq;

await Promise.all([commitForever(), commitForever(), maintainForever()]);

async function commitForever(): Promise<never> {
  for (;;) {
    const stream = random.pick(["machines", "doors"]);
    const count = random.integer(1, 100);
    const data = new Uint8Array(random.integer(1_000, 100_000));
    const nowUs = Date.now() * 1_000;
    const block = makeBlock({ data, count, minUs: nowUs - 7_200e6, maxUs: nowUs - 7_200e6 });
    const deadLetters = random.chance(0.2) ? [makeDeadLetter(1)] : [];
    const batch = makeBlockOperation({ stream, block, arrivalUs: nowUs, deadLetters });
    const rows = Array.from({ length: random.integer(0, 40) }, (_, n) =>
      makeResult({ startUs: nowUs, endUs: nowUs + 1, key: `{"n":${n}}` }),
    );
    const [outcome] = await storage.commit([batch, { kind: "results", rows }]);
    if (outcome?.kind !== "committed") continue;
    lastSeq = Math.max(lastSeq, outcome.seq);
    writeSync(1, `${stream} ${count}\n`);
  }
}

async function maintainForever(): Promise<never> {
  for (;;) {
    const nowUs = Date.now() * 1_000;
    await storage.maintain({ settings: SETTINGS, nowUs, budgetMs: 4 });
    const state = new Uint8Array(random.integer(10, 20_000));
    if (random.chance(0.5)) await storage.commit([{ kind: "checkpoint", seq: lastSeq, state }]);
    const group = await storage.listForDownsampling();
    if (group === null) continue;
    const bytes = group.blocks.reduce((sum, { data }) => sum + data.length, 0);
    const isWorthIt = random.chance(0.5);
    const into = !isWorthIt ? null : makeBlock({ data: new Uint8Array(Math.ceil(bytes / 20)), count: 5 });
    await storage.swapDownsampled({ stream: group.stream, seqs: group.seqs, into, nowUs });
  }
}
