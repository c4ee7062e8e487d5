import assert from "node:assert/strict";
import { test } from "node:test";
import Database from "better-sqlite3";
import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeResult,
  NOW_US,
  StoreFixture,
} from "../support/store-fixtures.ts";

const KIB = 1024;
const CAP_BYTES = 16 * KIB * KIB;
const SETTINGS: BufferSettings = {
  capBytes: CAP_BYTES,
  retentionUs: 72 * 3_600e6,
  expiresUnsynced: false,
  priorities: [],
  defaultPriority: 5,
};
/** Each commits more than a third of the cap, in all its forms. */
const ROUND_COMMITS = 60;
const WARM_ROUNDS = 6;
const ROUNDS = 4;

/** What a store does at its cap, time after time. */
class Works {
  readonly #fixture: StoreFixture;
  #nowUs = NOW_US;
  #lastSeq = 0;
  downsampled = 0;
  merged = 0;

  constructor(fixture: StoreFixture) {
    this.#fixture = fixture;
  }

  round(): void {
    for (let commit = 0; commit < ROUND_COMMITS; commit++) {
      this.#nowUs += 1e6;
      this.#commit(commit);
      if (commit % 10 === 9) this.#lookAfter();
    }
  }

  #commit(index: number): void {
    const data = new Uint8Array(index % 2 === 0 ? 200 * KIB : 3 * KIB).fill(7);
    const idempotencyKey = `${this.#nowUs}`;
    const arrivalUs = this.#nowUs;
    const block = makeBlockOperation({ block: makeBlock({ data }), idempotencyKey, arrivalUs });
    const startUs = this.#nowUs;
    const results = { kind: "results", rows: [makeResult({ startUs, endUs: startUs + 1e6 })] } as const;
    const [outcome] = this.#fixture.store.buffer.commit([block, results], this.#nowUs);
    if (outcome?.kind === "committed") this.#lastSeq = outcome.seq;
  }

  #lookAfter(): void {
    const { buffer, compaction } = this.#fixture.store;
    const state = new Uint8Array(10 * KIB);
    buffer.commit([{ kind: "checkpoint", seq: this.#lastSeq, state }], this.#nowUs);
    buffer.maintain({ settings: SETTINGS, nowUs: this.#nowUs, budgetMs: 5 });
    const group = buffer.nextDownsampling();
    if (group !== null) {
      const into = makeBlock({ data: new Uint8Array(KIB), count: 3 });
      const swap = { stream: group.stream, seqs: group.seqs, into, nowUs: this.#nowUs };
      if (buffer.swapDownsampled(swap)) this.downsampled++;
    }
    for (const { seqs, blocks } of compaction.listSmall(this.#lastSeq, 128 * KIB, buffer.mostAtOnce)) {
      const count = blocks.reduce((sum, block) => sum + block.count, 0);
      const into = makeBlock({ data: new Uint8Array(KIB), count });
      if (buffer.swapWithin(seqs.length, KIB, (check) => compaction.swap(seqs, into, check))) this.merged++;
    }
  }
}

test("a store at its cap prepares no statement that it has not kept: what is prepared again and again is let go late", (context) => {
  const fixture = new StoreFixture(context);
  fixture.store.buffer.configure(SETTINGS);
  const works = new Works(fixture);
  for (let round = 0; round < WARM_ROUNDS; round++) works.round();
  const [before] = fixture.store.buffer.maintain({ settings: SETTINGS, nowUs: NOW_US, budgetMs: 0 }).ledgers;
  const { downsampled, merged } = works;
  const prepare = context.mock.method(Database.prototype, "prepare");
  const pragma = context.mock.method(Database.prototype, "pragma");
  for (let round = 0; round < ROUNDS; round++) works.round();
  const texts = [...prepare.mock.calls, ...pragma.mock.calls].map((call) => call.arguments[0]);
  const report = fixture.store.buffer.maintain({ settings: SETTINGS, nowUs: NOW_US, budgetMs: 0 });
  assert.deepEqual(texts, []);
  // It had to make room all the while.
  assert.ok(report.usedBytes > CAP_BYTES / 2, `${report.usedBytes} bytes used`);
  assert.ok(works.downsampled > downsampled, "events became aggregates");
  assert.ok(works.merged > merged, "blocks were merged");
  assert.ok(report.ledgers[0]!.accepted > before!.accepted && report.ledgers[0]!.givenUp >= before!.givenUp);
});
