import assert from "node:assert/strict";
import { valueSymbol } from "piscina";
import { correctionTask } from "../../host/api/correction-task.ts";
import { parseConfig } from "../../host/config/load.ts";
import { resultsSetup } from "../../host/config/plans.ts";
import { queryTrees } from "../../host/pipeline/query-tree.ts";
import { type RunningStream, StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import { extractLate, ingest } from "../../workers/ingest.ts";
import type {
  AlertRow,
  ApplyEntry,
  ApplyResult,
  IngestResult,
  ResultRow,
  ResultsSetup,
  StoredBlock,
  WindowSetup,
} from "../../workers/messages.ts";
import { textOf } from "../../workers/packed-rows.ts";
import { type CorrectionStep, close, correct, lateKeys, open } from "../../workers/query.ts";
import { unpackResults } from "../../workers/result-rows.ts";
import { Reader } from "../../workers/store/reader.ts";
import { Store } from "../../workers/store/store.ts";
import { apply, beginCheckpoint, closings, nextPieces, resume } from "../../workers/window.ts";

/** What a step of a correction gives, without its rows. */
export type Applied = Pick<CorrectionStep, "events" | "waitingEvents" | "unreadableEvents" | "refused"> & {
  readonly revisions: number;
};

/**
 * A node's path from events to results, corrections among it, in one thread and without a network: parsed, stored,
 * applied and written as the pipeline does it. There is one at a time.
 */
export class StoredNode {
  readonly #stream = "s";
  readonly #registry: StreamRegistry;
  readonly #store: Store;
  readonly #dir: string;
  readonly #alerts: AlertRow[] = [];

  constructor(dir: string, yaml: string) {
    const loaded = parseConfig(yaml, "test.yaml");
    assert.ok(loaded.ok, loaded.ok ? "" : JSON.stringify(loaded.problems));
    this.#dir = dir;
    this.#registry = new StreamRegistry(loaded.config);
    this.#store = Store.open(dir);
    open({ dir, masters: null });
    // The windows of the node before are gone.
    apply([{ kind: "config", seq: 0, setups: [], takeovers: [] }]);
    apply([{ kind: "config", seq: 0, setups: this.#setups(), takeovers: [] }]);
  }

  get lastSeq(): number {
    return this.#store.writer.lastSeq;
  }

  get store(): Store {
    return this.#store;
  }

  /** What alerts have told, in that order. */
  get alerts(): readonly AlertRow[] {
    return this.#alerts;
  }

  /** What is to come must not depend on it. */
  checkpoint(): void {
    beginCheckpoint("whole");
    for (let isDone = false; !isDone; ) {
      const step = nextPieces() as unknown as Record<symbol, ReturnType<typeof nextPieces>>;
      ({ isDone } = step[valueSymbol]!);
    }
  }

  /** Lines of one request. */
  send(events: readonly object[], arrivalUs: number): void {
    const stream = this.#running();
    const body = new TextEncoder().encode(events.map((event) => JSON.stringify(event)).join("\n"));
    const task = {
      stream: this.#stream,
      setup: stream.setup(),
      arrivalUs,
      maxBodyBytes: 1e7,
      bodies: [{ format: "ndjson" as const, encoding: "identity" as const, body }],
    };
    const answer = ingest(task) as unknown as Record<symbol, IngestResult>;
    const { block, skewed, partials, maxEventUs, sources } = answer[valueSymbol]!;
    assert.ok(block !== null);
    stream.learn(block.schema);
    const [outcome] = this.#store.writer.commit(
      [
        {
          kind: "block",
          stream: this.#stream,
          arrivalUs,
          block: copyOf(block),
          idempotencyKey: null,
          accepted: block.count,
          deadLetters: [],
          unkeptDeadLetters: 0,
          skewed: skewed === null ? null : copyOf(skewed),
        },
      ],
      arrivalUs,
    );
    assert.ok(outcome?.kind === "committed");
    const { seq } = outcome;
    this.#apply(
      { kind: "block", seq, stream: this.#stream, arrivalUs, partials, maxEventUs, sources },
      block,
    );
  }

  watermark(timeUs: number | "end"): void {
    const [outcome] = this.#store.writer.commit([{ kind: "watermark", stream: this.#stream, timeUs }], 0);
    assert.ok(outcome?.kind === "committed");
    this.#apply({ kind: "watermark", seq: outcome.seq, stream: this.#stream, timeUs }, null);
  }

  /** `millrace late --apply`; what comes of a step is written only if `isWritten` says so. */
  async applyLate(includesSkewed = false, isWritten: () => boolean = () => true): Promise<Applied> {
    const total = {
      events: 0,
      waitingEvents: 0,
      unreadableEvents: 0,
      revisions: 0,
      refused: [] as CorrectionStep["refused"],
    };
    const engine = {
      queryTrees: () => queryTrees(this.#running()),
      closings: (asked: Parameters<typeof closings>[0]) => Promise.resolve(closings(asked)),
      tables: () => this.#registry.tables,
    };
    const reads = {
      lateKeys: (task: Parameters<typeof lateKeys>[0]) => Promise.resolve(expected(lateKeys(task))),
    };
    for (let afterId: number | null = 0; afterId !== null; ) {
      const selection = { stream: this.#stream, includesSkewed, afterId };
      const step: CorrectionStep = expected(correct(await correctionTask(engine, reads, selection)));
      const { rows, lateIds, events, waitingEvents, unreadableEvents, refused, nextId } = step;
      if (isWritten())
        this.#store.writer.commit([{ kind: "correction", stream: this.#stream, rows, lateIds, atUs: 1 }], 1);
      total.events += events;
      total.waitingEvents += waitingEvents;
      total.unreadableEvents += unreadableEvents;
      total.revisions += rows.length;
      total.refused = refused;
      afterId = nextId;
    }
    return total;
  }

  results(query: string, revisions: "latest" | "all" = "latest"): ResultRow[] {
    return this.#read((reader) =>
      reader.results({
        query,
        fromUs: null,
        toUs: null,
        key: null,
        kind: null,
        revisions,
        limit: 1e9,
        after: null,
      }),
    );
  }

  /** Blocks set aside, and whether windows were corrected by them. */
  late(): readonly {
    readonly count: number;
    readonly isApplied: boolean;
    readonly reason: string;
    readonly block: StoredBlock;
  }[] {
    return this.#read((reader) =>
      reader.late(this.#stream, 0, 1e9).map(({ block, reason, appliedUs }) => ({
        count: block.count,
        isApplied: appliedUs !== null,
        reason,
        block,
      })),
    );
  }

  close(): void {
    close();
    this.#store.close();
  }

  #read<T>(read: (reader: Reader) => T): T {
    const reader = new Reader(this.#dir);
    try {
      return read(reader);
    } finally {
      reader.close();
    }
  }

  #apply(entry: ApplyEntry, block: StoredBlock | null): void {
    for (let result = apply([entry]); ; result = resume()) {
      this.#keep(result, block);
      if (!result.hasMore) return;
    }
  }

  #keep({ rows, late, alerts }: ApplyResult, block: StoredBlock | null): void {
    this.#alerts.push(...alerts);
    this.#store.writer.commit(
      [{ kind: "results", rows: rows.flatMap((packed) => unpackResults(textOf(packed))) }],
      0,
    );
    for (const { seq, groups } of late) {
      assert.ok(block !== null);
      const found = extractLate({ stream: this.#stream, setup: null, block, groups, former: null });
      if (found !== null)
        this.#store.writer.commit(
          [
            {
              kind: "late",
              stream: this.#stream,
              sourceSeq: seq,
              block: copyOf(found.block),
              rows: found.rows,
              atUs: 0,
            },
          ],
          0,
        );
    }
  }

  #running(): RunningStream {
    const stream = this.#registry.stream(this.#stream);
    assert.ok(stream !== undefined);
    return stream;
  }

  #setups(stream: RunningStream = this.#running(), results?: ResultsSetup): WindowSetup[] {
    const { name, key, watermark } = stream.config;
    const { boundUs, idleUs, per } = watermark;
    const queries = stream.queries.map(({ plan }) => plan);
    const { alerts } = stream;
    const setup = { stream: name, boundUs, idleUs, per, key: key.fields, maxSources: 1_000, queries, alerts };
    const above = stream.queries.flatMap(({ plan, asStream }) =>
      asStream === null ? [] : this.#setups(asStream, resultsSetup(plan)),
    );
    return [results === undefined ? setup : { ...setup, results }, ...above];
  }
}

function copyOf(block: StoredBlock): StoredBlock {
  return { ...block, data: new Uint8Array(block.data) };
}

function expected<T>(answer: T): Exclude<T, { readonly failure: unknown }> {
  if (typeof answer === "object" && answer !== null && "failure" in answer)
    throw new Error(JSON.stringify(answer.failure));
  return answer as Exclude<T, { readonly failure: unknown }>;
}
