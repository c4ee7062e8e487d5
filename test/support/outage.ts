import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { encodeBatch, readHeader, resetBatch } from "../../workers/core/codec.ts";
import { type CoreModule, instantiateCore } from "../../workers/core/module.ts";
import type { StoredBlock } from "../../workers/messages.ts";
import { BlockDecoder } from "../../workers/query/block-decoder.ts";
import type { BufferLevel } from "../../workers/store/buffer-level.ts";
import type { BufferReport, BufferSettings } from "../../workers/store/buffer-operations.ts";
import { databaseFile } from "../../workers/store/data-dir.ts";
import { RESOLUTION_US } from "../../workers/store/downsampling.ts";
import { checkBalance, type Imbalance } from "../../workers/store/ledger.ts";
import { Store } from "../../workers/store/store.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { downsample } from "./downsample.ts";
import { Random } from "./random.ts";
import { makeBlockOperation } from "./store-fixtures.ts";

export interface OutageOptions {
  readonly dir: string;
  readonly capBytes: number;
  /** Event time without a hub. */
  readonly hours: number;
  /** Of all streams together. */
  readonly eventsPerSecond: number;
  /** Event time of one commit, and of one checkpoint. */
  readonly stepSeconds: number;
  readonly seed: number;
}

export interface OutageReport {
  readonly events: number;
  readonly commits: number;
  readonly refused: number;
  /** The largest of all samples, one after every commit. */
  readonly mostDiskBytes: number;
  /** In the order in which each was first seen. */
  readonly levels: readonly BufferLevel[];
  readonly imbalances: readonly Imbalance[];
  readonly last: BufferReport;
  /** Event times of what is held as it came, by stream; null: nothing. */
  readonly held: ReadonlyMap<string, { readonly fromUs: number; readonly toUs: number } | null>;
  /** The newest event that was given up, by stream; null: none. */
  readonly givenUpToUs: ReadonlyMap<string, number | null>;
  readonly endUs: number;
}

const START_US = Date.UTC(2026, 0, 1) * 1_000;
/** Numbers of devices, of which a minute's aggregates are small; and texts of which there are none. */
const SENSORS = "sensors";
const JOURNAL = "journal";
const JOURNAL_SHARE = 0.15;
const DEVICES = 50;

/**
 * Days without a hub on a clock that jumps from commit to commit: the store, its keeper, the codecs and SQLite with its
 * fsyncs are the real ones; HTTP, the parser and the windows are left out, and the thread's timers with them: after
 * each commit the keeper works until it has nothing more to do.
 */
export async function runOutage(options: OutageOptions): Promise<OutageReport> {
  const outage = new Outage(options, new BlockDecoder(await portableCodec()), await portableCodec());
  try {
    return outage.run();
  } finally {
    outage.close();
  }
}

class Outage {
  readonly #options: OutageOptions;
  readonly #store: Store;
  readonly #decoder: BlockDecoder;
  readonly #codec: Awaited<ReturnType<typeof portableCodec>>;
  readonly #random: Random;
  readonly #settings: BufferSettings;
  readonly #levels = new Set<BufferLevel>(["normal"]);
  readonly #temperatures = new Float64Array(DEVICES).fill(20);
  #core: CoreModule = instantiateCore();
  #last: BufferReport | null = null;

  constructor(
    options: OutageOptions,
    decoder: BlockDecoder,
    codec: Awaited<ReturnType<typeof portableCodec>>,
  ) {
    this.#options = options;
    this.#decoder = decoder;
    this.#codec = codec;
    this.#random = new Random(options.seed);
    this.#store = Store.open(options.dir);
    this.#settings = {
      capBytes: options.capBytes,
      retentionUs: 72 * 3_600e6,
      expiresUnsynced: false,
      priorities: [[JOURNAL, 7]],
      defaultPriority: 5,
    };
  }

  run(): OutageReport {
    const { hours, stepSeconds, eventsPerSecond, dir } = this.#options;
    const steps = Math.ceil((hours * 3_600) / stepSeconds);
    const perStep = Math.round(eventsPerSecond * stepSeconds);
    let events = 0;
    let refused = 0;
    let mostDiskBytes = 0;
    const imbalances: Imbalance[] = [];
    this.#maintain(START_US);
    for (let step = 0; step < steps; step++) {
      const fromUs = START_US + step * stepSeconds * 1e6;
      const toUs = fromUs + stepSeconds * 1e6;
      const journal = Math.round(perStep * JOURNAL_SHARE);
      const blocks = [
        [SENSORS, this.#sensors(fromUs, toUs, perStep - journal)],
        [JOURNAL, this.#journal(fromUs, toUs, journal)],
      ] as const;
      const outcomes = this.#store.buffer.commit(
        blocks.map(([stream, block]) => makeBlockOperation({ stream, block, arrivalUs: toUs })),
        toUs,
      );
      outcomes.forEach((outcome, index) => {
        if (outcome.kind === "committed") events += blocks[index]![1].count;
        else refused++;
      });
      const seq = this.#store.writer.lastSeq;
      this.#store.buffer.commit([{ kind: "checkpoint", seq, state: new Uint8Array(2_000) }], toUs);
      mostDiskBytes = Math.max(mostDiskBytes, folderBytes(dir));
      this.#maintain(toUs);
      mostDiskBytes = Math.max(mostDiskBytes, folderBytes(dir));
      if (step % 500 === 0) imbalances.push(...this.#balance());
    }
    imbalances.push(...this.#balance());
    const endUs = START_US + steps * stepSeconds * 1e6;
    const levels = [...this.#levels];
    const last = this.#last!;
    return {
      events,
      commits: steps,
      refused,
      mostDiskBytes,
      levels,
      imbalances,
      last,
      ...this.#ranges(),
      endUs,
    };
  }

  close(): void {
    this.#store.close();
  }

  #maintain(nowUs: number): void {
    const { buffer } = this.#store;
    for (let isDone = false; !isDone; ) {
      const report = buffer.maintain({ settings: this.#settings, nowUs, budgetMs: 5 });
      for (const level of report.levels) this.#levels.add(level);
      this.#last = report;
      const group = report.wantsDownsampling ? buffer.nextDownsampling() : null;
      if (group !== null) {
        const { stream, seqs, blocks } = group;
        const task = { stream, keyFields: ["device"], resolutionUs: RESOLUTION_US };
        const into = downsample(this.#decoder, blocks, task);
        buffer.downsampling.swap({ stream, seqs, into, nowUs });
      }
      isDone = !report.hasMore && group === null;
    }
  }

  #balance(): Imbalance[] {
    return this.#read((db) => checkBalance(db));
  }

  #ranges(): Pick<OutageReport, "held" | "givenUpToUs"> {
    return this.#read((db) => {
      const streams = [SENSORS, JOURNAL];
      const ofStream = "stream_id = (SELECT id FROM streams WHERE name = ?)";
      const held = db.prepare(
        `SELECT min(min_us) AS fromUs, max(max_us) AS toUs FROM blocks WHERE resolution_us = 0 AND ${ofStream}`,
      );
      const given = db
        .prepare(
          `SELECT max(to_us) FROM losses WHERE reason = 'given-up' AND kind = 'events' AND ${ofStream}`,
        )
        .pluck();
      type Range = { fromUs: number | null; toUs: number | null };
      return {
        held: new Map(
          streams.map((stream) => {
            const { fromUs, toUs } = held.get(stream) as Range;
            return [stream, fromUs === null || toUs === null ? null : { fromUs, toUs }];
          }),
        ),
        givenUpToUs: new Map(streams.map((stream) => [stream, given.get(stream) as number | null])),
      };
    });
  }

  #read<T>(read: (db: Database.Database) => T): T {
    const db = new Database(databaseFile(this.#options.dir), { readonly: true });
    try {
      return read(db);
    } finally {
      db.close();
    }
  }

  #sensors(fromUs: number, toUs: number, count: number): StoredBlock {
    return this.#encode(SENSORS, (builder) => {
      const device = builder.addColumn("device", "string");
      const temp = builder.addColumn("temp", "float");
      const rpm = builder.addColumn("rpm", "int");
      for (let n = 0; n < count; n++) {
        const row = builder.addRow(BigInt(timeOf(fromUs, toUs, n, count)), 0);
        const which = this.#random.integer(0, DEVICES - 1);
        const next = this.#temperatures[which]! + this.#random.integer(-5, 5) / 10;
        this.#temperatures[which] = next;
        builder.setText(device, row, `press-${which}`);
        builder.setFloat(temp, row, Math.round(next * 10) / 10);
        builder.setInt(rpm, row, BigInt(this.#random.integer(900, 1_100)));
      }
    });
  }

  #journal(fromUs: number, toUs: number, count: number): StoredBlock {
    return this.#encode(JOURNAL, (builder) => {
      const device = builder.addColumn("device", "string");
      for (let n = 0; n < count; n++) {
        const row = builder.addRow(BigInt(timeOf(fromUs, toUs, n, count)), 0);
        builder.setText(device, row, `order-${this.#random.next().toString(36).slice(2)}`);
      }
    });
  }

  #encode(stream: string, fill: (builder: ReturnType<typeof buildBatch>) => void): StoredBlock {
    // Batches that are built are not freed one by one: the core goes with them.
    if (this.#core.memory.buffer.byteLength > 64 * 1024 * 1024) this.#core = instantiateCore();
    const builder = buildBatch(this.#core);
    fill(builder);
    const encoded = encodeBatch(this.#core, builder.batch, { stream });
    const { count, minUs, maxUs, schema } = readHeader(encoded);
    resetBatch(this.#core, builder.batch);
    const data = new Uint8Array(this.#codec.compress(encoded, 1));
    return {
      data,
      codec: "zstd",
      encodedBytes: encoded.length,
      count,
      minUs: Number(minUs),
      maxUs: Number(maxUs),
      schema,
    };
  }
}

function timeOf(fromUs: number, toUs: number, n: number, count: number): number {
  return Math.floor(fromUs + ((toUs - fromUs) * n) / count);
}

/** Of all files: database, log, index, lock and reserve. */
function folderBytes(dir: string): number {
  return readdirSync(dir).reduce((sum, file) => sum + statSync(join(dir, file)).size, 0);
}
