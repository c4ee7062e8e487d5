import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import Database from "better-sqlite3";
import { BLOCK_STATE } from "../../workers/store/block-states.ts";
import type { BufferSettings } from "../../workers/store/buffer-operations.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { checkBalance, readLedgers } from "../../workers/store/ledger.ts";
import { Random } from "../support/random.ts";
import {
  makeBlock,
  makeBlockOperation,
  makeDeadLetter,
  makeResult,
  NOW_US,
  StoreFixture,
} from "../support/store-fixtures.ts";

const RUNS = Number(process.env.MILLRACE_BUFFER_RUNS ?? 4);
const STEPS = 400;
const MIB = 1024 * 1024;
const STREAMS = ["a", "b", "c"];
const HOUR_US = 3_600e6;

/** Random work on a store with a small cap, and what must hold of it whatever happens. */
class Trial {
  readonly #fixture: StoreFixture;
  readonly #random: Random;
  readonly #db: Database.Database;
  readonly #accepted = new Map<string, number>();
  readonly #settings: BufferSettings;
  #nowUs = NOW_US;
  #refused = 0;

  constructor(fixture: StoreFixture, random: Random) {
    this.#fixture = fixture;
    this.#random = random;
    this.#db = new Database(databaseFile(fixture.dir));
    this.#settings = {
      capBytes: random.integer(4, 10) * MIB,
      retentionUs: random.integer(1, 100) * HOUR_US,
      expiresUnsynced: random.chance(0.3),
      priorities: [
        ["a", random.integer(0, 9)],
        ["b", random.integer(0, 9)],
      ],
      defaultPriority: 5,
    };
  }

  get refused(): number {
    return this.#refused;
  }

  step(): void {
    this.#nowUs += this.#random.integer(0, 2) * HOUR_US;
    const dice = this.#random.next();
    const before = this.#untouchable();
    if (dice < 0.5) this.#ingest();
    else if (dice < 0.6) this.#results();
    else if (dice < 0.7) this.#maintain();
    else if (dice < 0.78) this.#downsample();
    else if (dice < 0.86) this.#moveStates();
    else if (dice < 0.94) this.#checkpoint();
    else if (dice < 0.97) this.#compact();
    else {
      this.#fixture.reopen();
      this.begin();
    }
    this.#verify();
    const after = new Set(this.#db.prepare("SELECT seq || ' ' || resolution_us FROM blocks").pluck().all());
    for (const block of before) assert.ok(after.has(block), `block ${block} may not be touched`);
  }

  /** Events that are not held as they came. */
  lost(): number {
    return readLedgers(this.#db).reduce((sum, { accepted, held }) => sum + accepted - held, 0);
  }

  close(): void {
    this.#db.close();
  }

  #ingest(): void {
    const stream = this.#random.pick(STREAMS);
    const count = this.#random.integer(1, 50);
    const data = new Uint8Array(this.#random.integer(10, 120_000)).fill(7);
    const minUs = this.#nowUs - this.#random.integer(0, 3) * HOUR_US;
    const block = makeBlock({ data, count, minUs, maxUs: minUs + 1_000 });
    const skewed = this.#random.chance(0.2) ? makeBlock({ data: data.slice(0, 50), count: 1 }) : null;
    const operation = makeBlockOperation({
      stream,
      block,
      arrivalUs: this.#nowUs,
      skewed,
      deadLetters: this.#random.chance(0.3) ? [makeDeadLetter(1)] : [],
      unkeptDeadLetters: this.#random.chance(0.1) ? 3 : 0,
    });
    const [outcome] = this.#fixture.store.buffer.commit([operation], this.#nowUs);
    if (outcome?.kind === "committed") this.#accepted.set(stream, (this.#accepted.get(stream) ?? 0) + count);
    else {
      assert.equal(outcome?.kind, "refused");
      this.#refused++;
    }
  }

  #results(): void {
    const rows = Array.from({ length: this.#random.integer(1, 200) }, (_, n) =>
      makeResult({ startUs: this.#nowUs, endUs: this.#nowUs + 60e6, key: JSON.stringify({ n }) }),
    );
    this.#fixture.store.buffer.commit([{ kind: "results", rows }], this.#nowUs);
  }

  #maintain(): void {
    const budgetMs = this.#random.pick([0, 5, 50]);
    this.#fixture.store.buffer.maintain({ settings: this.#settings, nowUs: this.#nowUs, budgetMs });
  }

  #downsample(): void {
    const { buffer } = this.#fixture.store;
    const group = buffer.nextDownsampling();
    if (group === null) return;
    const kind = this.#random.integer(0, 3);
    const size = kind === 1 ? 10 * MIB : this.#random.integer(10, 5_000);
    const into =
      kind === 0 ? null : makeBlock({ data: new Uint8Array(size), count: 3, minUs: 0, maxUs: 60e6 });
    if (kind === 2) this.#moveStates();
    buffer.downsampling.swap({ stream: group.stream, seqs: group.seqs, into, nowUs: this.#nowUs });
  }

  /** As the sync does, which moves blocks between these states. */
  #moveStates(): void {
    const [from, to] = this.#random.pick([
      ["pending", "syncing"],
      ["syncing", "synced"],
      ["syncing", "pending"],
    ]);
    const some = this.#random.integer(1, 5);
    const seqs = this.#db
      .prepare(`SELECT seq FROM blocks WHERE ${BLOCK_STATE} = ? ORDER BY seq LIMIT ?`)
      .pluck()
      .all(from, some);
    // As it does now, or as an earlier release did.
    const isFormer = this.#random.integer(0, 3) === 0;
    for (const seq of seqs) {
      this.#db.prepare("DELETE FROM block_states WHERE seq = ?").run(seq);
      const own = isFormer ? to : "pending";
      this.#db.prepare("UPDATE blocks SET state = ? WHERE seq = ?").run(own, seq);
      if (!isFormer && to !== "pending")
        this.#db.prepare("INSERT INTO block_states (seq, state) VALUES (?, ?)").run(seq, to);
    }
  }

  #checkpoint(): void {
    const state = new Uint8Array(this.#random.integer(10, 50_000));
    const seq = this.#fixture.store.writer.lastSeq;
    this.#fixture.store.buffer.commit([{ kind: "checkpoint", seq, state }], this.#nowUs);
  }

  #compact(): void {
    const { compaction, writer } = this.#fixture.store;
    for (const { seqs, blocks } of compaction.listSmall(writer.lastSeq, 300_000)) {
      // Merging takes room of its own for a moment.
      if (blocks.length > 40) continue;
      const count = blocks.reduce((sum, block) => sum + block.count, 0);
      const bytes = blocks.reduce((sum, { data }) => sum + data.length, 0);
      compaction.swap(seqs, makeBlock({ data: new Uint8Array(bytes), count }));
    }
  }

  /** Blocks on their way to the hub, and those behind the newest checkpoint. */
  #untouchable(): string[] {
    return this.#db
      .prepare(
        `SELECT seq || ' ' || resolution_us FROM blocks WHERE ${BLOCK_STATE} = 'syncing' OR seq > (SELECT coalesce(max(seq), 0) FROM checkpoints)`,
      )
      .pluck()
      .all() as string[];
  }

  #verify(): void {
    assert.deepEqual(checkBalance(this.#db), []);
    for (const { stream, accepted } of readLedgers(this.#db))
      assert.equal(accepted, this.#accepted.get(stream) ?? 0);
    const bytes = readdirSync(this.#fixture.dir).reduce(
      (sum, file) => sum + statSync(join(this.#fixture.dir, file)).size,
      0,
    );
    // Without a look no cap is known yet; results and checkpoints are written beyond it if need be.
    const derived =
      (this.#db
        .prepare("SELECT coalesce(sum(octet_length(state)), 0) FROM checkpoints")
        .pluck()
        .get() as number) + MIB;
    assert.ok(bytes <= this.#settings.capBytes! + derived, `${bytes} bytes of ${this.#settings.capBytes}`);
  }

  /** So that the cap holds from the first step on. */
  begin(): void {
    this.#maintain();
  }
}

test(`property: over ${RUNS} runs of random work and restarts the ledger balances after every step`, async (context) => {
  const seeds = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${seeds.seed}`);
  let refused = 0;
  let lost = 0;
  for (let run = 0; run < RUNS; run++) {
    await context.test(`run ${run}`, (own) => {
      const fixture = new StoreFixture(own);
      const trial = new Trial(fixture, new Random(seeds.integer(0, 2 ** 30)));
      trial.begin();
      for (let step = 0; step < STEPS; step++) trial.step();
      refused += trial.refused;
      lost += trial.lost();
      trial.close();
    });
  }
  context.diagnostic(`${lost} events left the store, ${refused} batches were refused`);
  assert.ok(lost > 0, "the caps were reached");
});
