import { writeSync } from "node:fs";
import { StorageClient } from "../../host/store/storage-client.ts";
import type { CommitOperation, CommitOutcome } from "../../workers/messages.ts";
import { Random } from "./random.ts";
import { makeBatch, makeCheckpoint, makeLate, makeResults, mergeLines } from "./store-operations.ts";

/** What the child prints, a line each, once it is durable. */
export type Acknowledged =
  | { readonly kind: "batch"; readonly name: string; readonly seq: number | null }
  | { readonly kind: "watermark" | "late" | "checkpoint"; readonly seq: number }
  | { readonly kind: "results"; readonly name: string };

/*
 * Commits random operations until it is killed. Arguments: data directory, number of this life, seed. Batches of
 * earlier lives are sent again, whether they were acknowledged or not.
 */
const [dir = "", lifeText = "0", seedText = "0"] = process.argv.slice(2);
const life = Number(lifeText);
const LOOPS = 3;
const MAX_OPERATIONS = 8;
const BATCHES_RESENT = 40;

const storage = await StorageClient.open(dir);
const blockSeqs: number[] = [];
let lastSeq = storage.recovered.lastSeq;
let batches = 0;

await Promise.all([
  ...Array.from({ length: LOOPS }, (_, loop) => commitForever(new Random(Number(seedText) + loop))),
  compactForever(),
]);

async function commitForever(random: Random): Promise<void> {
  for (let round = 0; ; round++) {
    const chosen = Array.from({ length: random.integer(1, MAX_OPERATIONS) }, (_, n) =>
      choose(random, `r${life}-${random.seed}-${round}-${n}`),
    );
    const outcomes = await storage.commit(chosen.map(({ operation }) => operation));
    const acknowledged = chosen.map(({ acknowledge }, index) => acknowledge(outcomes[index]!));
    writeSync(1, acknowledged.map((each) => `${JSON.stringify(each)}\n`).join(""));
  }
}

function choose(
  random: Random,
  name: string,
): { operation: CommitOperation; acknowledge: (outcome: CommitOutcome) => Acknowledged } {
  const dice = random.next();
  if (dice < 0.1) {
    const operation = { kind: "watermark", stream: "doors", timeUs: random.integer(0, 9) } as const;
    return { operation, acknowledge: (outcome) => ({ kind: "watermark", seq: seqOf(outcome)! }) };
  }
  if (dice < 0.2) {
    return { operation: makeResults(name), acknowledge: () => ({ kind: "results", name }) };
  }
  if (dice < 0.3 && blockSeqs.length > 0) {
    const seq = random.pick(blockSeqs);
    return { operation: makeLate(seq), acknowledge: () => ({ kind: "late", seq }) };
  }
  if (dice < 0.33) {
    const seq = lastSeq;
    return { operation: makeCheckpoint(seq), acknowledge: () => ({ kind: "checkpoint", seq }) };
  }
  const isResend = dice < 0.5;
  const batch = isResend
    ? `${random.integer(0, life)}-${random.integer(0, BATCHES_RESENT)}`
    : `${life}-${batches++}`;
  const acknowledge = (outcome: CommitOutcome): Acknowledged => {
    const seq = seqOf(outcome);
    if (seq !== null) blockSeqs.push(seq);
    return { kind: "batch", name: batch, seq };
  };
  return { operation: makeBatch(batch).operation, acknowledge };
}

function seqOf(outcome: CommitOutcome): number | null {
  if (outcome.kind !== "committed") return null;
  lastSeq = Math.max(lastSeq, outcome.seq);
  return outcome.seq;
}

async function compactForever(): Promise<void> {
  for (;;) {
    for (const group of await storage.listSmall({ upToSeq: lastSeq, targetBytes: 20_000 })) {
      await storage.swap({ removeSeqs: group.seqs, into: mergeLines(group.blocks) });
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
