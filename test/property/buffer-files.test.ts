import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { CommitOperation } from "../../workers/messages.ts";
import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import { openForReading } from "../../workers/store/database.ts";
import { checkBalance } from "../../workers/store/ledger.ts";
import { Random } from "../support/random.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeResult,
  NOW_US,
  StoreFixture,
} from "../support/store-fixtures.ts";

const RUNS = Number(process.env.MILLRACE_BUFFER_RUNS ?? 2);
const STEPS = 250;
const MIB = 1024 * 1024;
const CAP_BYTES = 16 * MIB;
const FILES = ["millrace.db", "millrace.db-wal", "millrace.db-shm", "millrace.reserve"];
const SETTINGS: BufferSettings = {
  capBytes: CAP_BYTES,
  retentionUs: 72 * 3_600e6,
  expiresUnsynced: false,
  priorities: [["b", 8]],
  defaultPriority: 5,
};

/** Commits that touch as many pages as they can, and all other work of a store, at its cap. */
class Crowd {
  readonly #fixture: StoreFixture;
  readonly #random: Random;
  #nowUs = NOW_US;
  #lastSeq = 0;
  most = 0;
  refused = 0;
  taken = 0;

  constructor(fixture: StoreFixture, random: Random) {
    this.#fixture = fixture;
    this.#random = random;
    fixture.store.buffer.configure(SETTINGS);
  }

  step(): void {
    this.#nowUs += this.#random.integer(0, 60) * 1e6;
    const dice = this.#random.next();
    const before = this.#sizes();
    if (dice < 0.35) this.#commit([this.#block(this.#random.integer(1_000, 900_000))]);
    else if (dice < 0.6) this.#manySmall();
    else if (dice < 0.7) this.#results();
    else if (dice < 0.8) this.#checkpoint();
    else if (dice < 0.9) this.#maintain();
    else if (dice < 0.95) this.#downsample();
    else if (dice < 0.98) this.#compact();
    else {
      this.#fixture.reopen();
      this.#fixture.store.buffer.configure(SETTINGS);
    }
    const bytes = this.#bytesOnDisk();
    this.most = Math.max(this.most, bytes);
    assert.ok(
      bytes <= CAP_BYTES,
      `${bytes} bytes on disk after a step at ${dice}: was ${before}, is ${this.#sizes()}`,
    );
  }

  #block(bytes: number): CommitOperation {
    const minUs = NOW_US - this.#random.integer(0, 1_000_000) * 1_000_000;
    return makeBlockOperation({
      stream: this.#random.pick(["a", "b"]),
      block: makeBlock({ data: new Uint8Array(bytes).fill(7), count: 5, minUs, maxUs: minUs + 1_000 }),
      idempotencyKey: this.#random.chance(0.8) ? this.#random.next().toString(36) : null,
      arrivalUs: this.#nowUs,
    });
  }

  /** Each at another place of each index. */
  #manySmall(): void {
    this.#commit(
      Array.from({ length: this.#random.integer(1, 600) }, () =>
        this.#block(this.#random.integer(40, 1_500)),
      ),
    );
  }

  #results(): void {
    const rows = Array.from({ length: this.#random.integer(1, 1_500) }, () => {
      const startUs = NOW_US + this.#random.integer(0, 5_000) * 60e6;
      const key = JSON.stringify({ device: this.#random.integer(0, 1_000_000) });
      return makeResult({ startUs, endUs: startUs + 60e6, key });
    });
    this.#commit([{ kind: "results", rows }]);
  }

  #commit(operations: readonly CommitOperation[]): void {
    for (const outcome of this.#fixture.store.buffer.commit(operations, this.#nowUs)) {
      if (outcome.kind === "refused") this.refused++;
      else this.taken++;
      if (outcome.kind === "committed") this.#lastSeq = Math.max(this.#lastSeq, outcome.seq);
    }
  }

  #checkpoint(): void {
    const state = new Uint8Array(this.#random.integer(10, 300_000)).fill(3);
    this.#commit([{ kind: "checkpoint", seq: this.#lastSeq, state }]);
  }

  #maintain(): void {
    const budgetMs = this.#random.pick([0, 5, 50]);
    this.#fixture.store.buffer.maintain({ settings: SETTINGS, nowUs: this.#nowUs, budgetMs });
  }

  #downsample(): void {
    const { buffer } = this.#fixture.store;
    const group = buffer.nextDownsampling();
    if (group === null) return;
    const bytes = group.blocks.reduce((sum, { data }) => sum + data.length, 0);
    const into = makeBlock({ data: new Uint8Array(bytes / 2), count: 3, minUs: 0, maxUs: 60e6 });
    buffer.swapDownsampled({ stream: group.stream, seqs: group.seqs, into, nowUs: this.#nowUs });
  }

  #compact(): void {
    const { buffer, compaction } = this.#fixture.store;
    for (const { seqs, blocks } of compaction.listSmall(this.#lastSeq, 128 * 1024, buffer.mostAtOnce)) {
      const bytes = blocks.reduce((sum, { data }) => sum + data.length, 0);
      const count = blocks.reduce((sum, block) => sum + block.count, 0);
      const into = makeBlock({ data: new Uint8Array(bytes), count, minUs: 0, maxUs: 60e6 });
      buffer.swapWithin(seqs.length, bytes, (check) => compaction.swap(seqs, into, check));
    }
  }

  #bytesOnDisk(): number {
    return this.#sizes().reduce((sum, bytes) => sum + bytes, 0);
  }

  #sizes(): readonly number[] {
    return FILES.map((name) => statSync(join(this.#fixture.dir, name), { throwIfNoEntry: false })?.size ?? 0);
  }
}

test("property: whatever is written at the cap, the files stay within it after every step, log included", async (context) => {
  for (let run = 0; run < RUNS; run++) {
    const random = Random.fromEnvironment();
    const fixture = new StoreFixture(context);
    const crowd = new Crowd(fixture, random);
    for (let step = 0; step < STEPS; step++) crowd.step();
    context.diagnostic(
      `MILLRACE_SEED=${random.seed}: at most ${(crowd.most / MIB).toFixed(2)} MiB, ${crowd.taken} taken, ${crowd.refused} refused`,
    );
    assert.ok(crowd.most > 0.9 * CAP_BYTES, "it was full");
    const db = openForReading(fixture.dir);
    assert.deepEqual(checkBalance(db), []);
    db.close();
  }
});
