import assert from "node:assert/strict";
import { valueSymbol } from "piscina";
import { parseConfig } from "../../host/config/load.ts";
import { readTable } from "../../host/config/table/rows.ts";
import { LogReplay, type LogReplayParts } from "../../host/pipeline/log-replay.ts";
import { type RunningStream, StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import { windowSetups } from "../../host/pipeline/window-setups.ts";
import { type Frame, FrameReader } from "../../workers/checkpoint-frames.ts";
import type { CheckpointStep } from "../../workers/checkpoint-pieces.ts";
import type {
  AggregatedBlock,
  ApplyEntry,
  ApplyResult,
  IngestResult,
  ReplayRun,
  StoredBlock,
  LogEntry as StoredEntry,
} from "../../workers/messages.ts";
import { textOf } from "../../workers/packed-rows.ts";
import { unpackResults } from "../../workers/result-rows.ts";
import {
  adopt,
  apply,
  beginCheckpoint,
  beginRestore,
  describe,
  endRestore,
  nextPieces,
  resume,
} from "../../workers/window.ts";
import type { OracleEntry, SentEvent } from "./engine-oracle.ts";
import type { Random } from "./random.ts";

const STREAM = "s";
const MAX_SOURCES = 1_000;

type Lane = Pick<
  typeof import("../../workers/ingest.ts"),
  "extractLate" | "ingest" | "loadTable" | "replay" | "replayRuns"
>;

/** Lanes with a core each, as threads have them. */
const LANES: readonly Lane[] = await Promise.all(
  ["1", "2", "3"].map((lane) => import(`../../workers/ingest.ts?lane=${lane}`) as Promise<Lane>),
);

/** What is in the log, and so after a crash. */
type LogEntry =
  | { readonly kind: "block"; readonly seq: number; readonly arrivalUs: number; readonly block: StoredBlock }
  | { readonly kind: "watermark"; readonly seq: number; readonly timeUs: number }
  | { readonly kind: "tick"; readonly seq: number; readonly atUs: number; readonly isResume: boolean }
  | { readonly kind: "table"; readonly seq: number; readonly text: string };

/** On its way to the windows. */
interface Waiting {
  readonly entry: ApplyEntry;
  readonly block: StoredBlock | null;
}

interface Segment {
  readonly frames: Frame[];
}

/**
 * Lanes and window thread as a node runs them, in one thread and with the log in memory: bytes are parsed, aggregated and
 * stored as blocks, applied in groups, and checkpoints are told piece by piece meanwhile. A crash takes all but the log, what
 * was written of results, and whole checkpoints.
 */
export class EngineRun {
  readonly #random: Random;
  readonly #lanes: readonly Lane[];
  readonly #stream: RunningStream;
  readonly #log: LogEntry[] = [];
  readonly #knowing = new Set<Lane>();
  #waiting: Waiting[] = [];
  #capture: (Segment & { readonly kind: "whole" | "changes"; readonly seq: number }) | null = null;
  #chain: Segment[] = [];
  #checkpointSeq = 0;
  /** Another checkpoint can build on the last one. */
  #isChained = false;
  /** As those of the oracle. */
  readonly rows = new Map<string, string>();
  /** Rows set aside as late, by the number of their block in the log. */
  readonly late = new Map<number, string>();
  crashes = 0;
  /** Runs of blocks that replays have merged as one. */
  merged = 0;

  constructor(yaml: string, random: Random) {
    this.#random = random;
    const loaded = parseConfig(yaml, "test.yaml");
    assert.ok(loaded.ok, loaded.ok ? "" : `${JSON.stringify(loaded.problems)}\n${yaml}`);
    this.#stream = new StreamRegistry(loaded.config).stream(STREAM)!;
    this.#lanes = LANES.slice(0, random.integer(1, LANES.length));
    this.#boot();
  }

  /** Takes an entry into the log; it is applied then or, with others, later. @returns its number. */
  add(entry: OracleEntry): number {
    const seq = this.#log.length + 1;
    if (entry.kind === "block") this.#ingest(seq, entry.arrivalUs, entry.events);
    else if (entry.kind === "table") {
      this.#flush();
      const text = `device,least\n${[...entry.least].map((row) => `${row.join(",")}\n`).join("")}`;
      this.#log.push({ kind: "table", seq, text });
      this.#loadTable(text);
    } else {
      this.#log.push({ ...entry, seq });
      this.#waiting.push({ entry: { ...entry, seq, stream: STREAM }, block: null });
    }
    if (this.#random.chance(0.6)) this.#flush();
    if (this.#random.chance(0.4)) this.#checkpoint();
    return seq;
  }

  /** Applies what waits. */
  settle(): void {
    this.#flush();
  }

  /** To be called at the end: another run finds no checkpoint on its way. */
  close(): void {
    if (this.#capture !== null) while (!moved<CheckpointStep>(nextPieces()).isDone);
  }

  async crash(): Promise<void> {
    this.crashes++;
    this.#waiting = [];
    // The thread that tells it goes with a crash; this one lives on, and is to be through with it.
    this.close();
    this.#capture = null;
    this.#isChained = false;
    this.#boot();
    if (this.#chain.length > 0) this.#restore();
    const replay = this.#logReplay();
    const read: StoredEntry[] = [];
    for (const entry of this.#log) {
      if (entry.kind === "table") {
        await replay.take(read.splice(0));
        this.#flush();
        this.#loadTable(entry.text);
      } else if (entry.seq > this.#checkpointSeq) {
        const own = entry.kind === "block" ? { ...entry, block: copyOf(entry.block) } : entry;
        read.push({ ...own, stream: STREAM });
        if (this.#random.chance(0.1)) await replay.take(read.splice(0));
      }
    }
    await replay.take(read);
    this.#flush();
  }

  /** As a node has it, with the threads' work done at once. */
  #logReplay(): LogReplay {
    const lanes = this.#lanes.map((lane) => ({
      replay: async (_: unknown, block: StoredBlock, arrivalUs: number) => {
        const task = { stream: STREAM, setup: this.#setupFor(lane), block, arrivalUs };
        return moved<AggregatedBlock>(lane.replay(task));
      },
      replayRuns: async (_: unknown, runs: readonly ReplayRun[]) => {
        const task = { stream: STREAM, setup: this.#setupFor(lane), runs };
        return moved<(AggregatedBlock | null)[]>(lane.replayRuns(task));
      },
    }));
    const apply = {
      pendingBytes: 0,
      push: ({ entry, block }: Waiting) => {
        if (entry.kind === "block" && block === null) this.merged++;
        this.#waiting.push({ entry, block });
        if (this.#random.chance(0.3)) this.#flush();
      },
      settled: async () => this.#flush(),
    };
    const parts = {
      lanes,
      apply,
      registry: { stream: () => this.#stream },
      windows: { describe: async () => describe() },
    };
    return new LogReplay(parts as unknown as LogReplayParts);
  }

  #boot(): void {
    this.#knowing.clear();
    this.#loadTable("device,least\n");
    apply([{ kind: "config", seq: 0, setups: [], takeovers: [] }]);
    apply([{ kind: "config", seq: 0, setups: windowSetups(this.#stream, MAX_SOURCES), takeovers: [] }]);
  }

  #loadTable(text: string): void {
    const table = readTable("limits", text, "csv", "device");
    for (const lane of this.#lanes) lane.loadTable(table);
  }

  #setupFor(lane: Lane): ReturnType<RunningStream["setup"]> | null {
    if (this.#knowing.has(lane)) return null;
    this.#knowing.add(lane);
    return this.#stream.setup();
  }

  #ingest(seq: number, arrivalUs: number, events: readonly SentEvent[]): void {
    const lane = this.#random.pick(this.#lanes);
    const cut = this.#random.integer(0, events.length);
    const bodies = [events.slice(0, cut), events.slice(cut)].map((part) => {
      const text = part.map((event) => JSON.stringify(event)).join("\n");
      return {
        format: "ndjson" as const,
        encoding: "identity" as const,
        body: new TextEncoder().encode(text),
      };
    });
    const task = { stream: STREAM, setup: this.#setupFor(lane), arrivalUs, maxBodyBytes: 1e6, bodies };
    const { block, partials, maxEventUs, sources } = moved<IngestResult>(lane.ingest(task));
    assert.equal(block?.count, events.length);
    const stored = { ...block!, data: new Uint8Array(block!.data) };
    this.#log.push({ kind: "block", seq, arrivalUs, block: stored });
    const entry = { kind: "block", seq, stream: STREAM, arrivalUs, partials, maxEventUs, sources } as const;
    this.#waiting.push({ entry, block: stored });
  }

  #flush(): void {
    const group = this.#waiting;
    if (group.length === 0) return;
    this.#waiting = [];
    const portion = { rows: this.#random.integer(1, 9), chars: Number.POSITIVE_INFINITY };
    let result = apply(
      group.map(({ entry }) => entry),
      portion,
    );
    for (;;) {
      this.#keep(result, group);
      if (!result.hasMore) return;
      result = resume();
    }
  }

  #keep({ rows, late }: ApplyResult, group: readonly Waiting[]): void {
    for (const row of rows.flatMap((packed) => unpackResults(textOf(packed)))) {
      const { query, startUs, endUs, key, revision, kind, values, retracted } = row;
      const id = `${query} ${startUs} ${endUs} ${key} ${revision}`;
      const text = JSON.stringify([kind, retracted === true, JSON.parse(values)]);
      // A replay may repeat a row, and not change it.
      assert.equal(this.rows.get(id) ?? text, text, id);
      this.rows.set(id, text);
    }
    for (const { seq, groups } of late) {
      const { block } = group.find(({ entry }) => entry.seq === seq)!;
      const lane = this.#random.pick(this.#lanes);
      const task = {
        stream: STREAM,
        setup: this.#setupFor(lane),
        block: copyOf(block!),
        groups,
        former: null,
      };
      const text = Buffer.from(lane.extractLate(task)?.rows ?? []).toString("hex");
      assert.equal(this.late.get(seq) ?? text, text, `late events of ${seq}`);
      this.late.set(seq, text);
    }
  }

  /** Begins a checkpoint, or goes on with it. */
  #checkpoint(): void {
    const before = this.#capture;
    if (before === null) {
      const kind = this.#isChained && this.#random.chance(0.8) ? "changes" : "whole";
      const { seq } = beginCheckpoint(kind);
      this.#capture = { kind, seq, frames: [] };
      return;
    }
    const { frames, isDone } = moved<CheckpointStep>(nextPieces());
    before.frames.push(...frames);
    if (!isDone) return;
    this.#capture = null;
    this.#chain = before.kind === "whole" ? [before] : [...this.#chain, before];
    this.#checkpointSeq = before.seq;
    this.#isChained = true;
  }

  #restore(): void {
    const heads = this.#chain.map(({ frames }) => {
      const reader = new FrameReader();
      for (const frame of frames) {
        const framed = reader.push(frame);
        if (framed?.kind === "head") return framed.bytes;
      }
      throw new Error("a checkpoint has no head");
    });
    assert.deepEqual(beginRestore(heads), []);
    for (const [segment, { frames }] of this.#chain.entries()) adopt({ segment, frames });
    endRestore(this.#checkpointSeq);
  }
}

/** What a task gives is wrapped, so that its buffers are moved to another thread. */
function moved<T>(answer: unknown): T {
  return (answer as Record<symbol, T>)[valueSymbol] ?? (answer as T);
}

function copyOf(block: StoredBlock): StoredBlock {
  return { ...block, data: new Uint8Array(block.data) };
}
