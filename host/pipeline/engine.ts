import type {
  BodyEncoding,
  BodyFormat,
  LineError,
  ResultRow,
  SchemaField,
  SkewedDevice,
  SourceCounts,
  StoredBlock,
  TableData,
} from "../../workers/messages.ts";
import type { Closing } from "../../workers/query/corrected-query.ts";
import type { Downsampled } from "../../workers/query/tasks.ts";
import type { ResultGroup } from "../../workers/result-rows.ts";
import type { RemovedBlocks } from "../../workers/store/stream-table.ts";
import type { ClockReport } from "../../workers/window.ts";
import type { AlertCounts, AlertListener } from "../alert/running-alerts.ts";
import type { WebhookStatus } from "../alert/webhook-sender.ts";
import type { Config, QueryConfig, StreamConfig } from "../config/config.ts";
import type { CheckpointFigures } from "./checkpointer.ts";
import type { NamedKeys } from "./largest-keys.ts";
import type { ConfigOrigin, NamedChange } from "./query-set.ts";
import type { QueryTree } from "./query-tree.ts";

/** Hears of result rows of a query, in their order: groups as `bytewiseGroups` gives them. */
export type ResultListener = (groups: readonly ResultGroup[]) => void;

/** A body up to this is copied when it is handed in: its buffer is the caller's again at once. */
export const COPIED_BYTES = 8 * 1024;

/**
 * One request's body on its way in. A larger one with a buffer that is all its own is transferred: the caller must not use it
 * afterwards.
 */
export interface IngestRequest {
  readonly stream: string;
  readonly format: BodyFormat;
  readonly encoding: BodyEncoding;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly idempotencyKey: string | null;
}

/** What became of it, known once it is durable. Expected outcomes are values, not exceptions. */
export type IngestOutcome =
  | {
      readonly kind: "accepted";
      readonly accepted: number;
      readonly deadLettered: number;
      readonly isDuplicate: boolean;
      /** The first 10. */
      readonly errors: readonly LineError[];
    }
  | {
      readonly kind: "overloaded";
      readonly status: 429 | 503;
      readonly retryAfterSeconds: number;
      readonly detail: string;
    }
  /** The disk or the buffer's cap has no room, and nothing may be given up. */
  | { readonly kind: "buffer-full"; readonly retryAfterSeconds: number; readonly detail: string }
  | { readonly kind: "unknown-stream"; readonly detail: string }
  | { readonly kind: "too-large"; readonly limitBytes: number }
  | { readonly kind: "bad-encoding"; readonly detail: string };

/** Everything but acceptance. */
export type IngestRefusal = Exclude<IngestOutcome, { kind: "accepted" }>;

export interface StreamState {
  readonly config: StreamConfig;
  readonly schema: readonly SchemaField[];
  readonly schemaVersion: number;
  readonly watermarkUs: number | null;
  readonly maxEventTimeUs: number | null;
  readonly sources: SourceCounts;
  /** The devices with the most clock-skewed events, some 20. */
  readonly skewedDevices: readonly SkewedDevice[];
  /** The fields that gave events their times so far, and null where their arrival did. */
  readonly timeSources: readonly (string | null)[];
  readonly accepted: number;
  readonly deadLettered: number;
  readonly late: number;
  readonly clockSkewed: number;
  readonly duplicates: number;
  readonly blocks: number;
  readonly storedBytes: number;
  /** Events a second over the last 10 s. */
  readonly rate: number;
}

/** How far a query has come with the events that were stored before it. */
export interface BackfillProgress {
  readonly state: "waiting" | "reading" | "done" | "failed";
  /** From this event time on; null: all. */
  readonly fromUs: number | null;
  readonly blocks: number;
  readonly totalBlocks: number;
  readonly events: number;
  /** Events of blocks that could not be read. */
  readonly unreadable: number;
  /** Why it failed. */
  readonly reason: string | null;
}

/** What a change of the configuration did, by names of queries. */
export interface ReloadOutcome {
  readonly version: number;
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
  readonly backfilling: readonly string[];
  /** Left out when none changed. */
  readonly alerts?: NamedChange;
  readonly tables?: NamedChange;
}

export interface QueryState {
  readonly config: QueryConfig;
  readonly watermarkUs: number | null;
  readonly openGroups: number;
  readonly keys: number;
  readonly idleKeys: number;
  readonly stateBytes: number;
  readonly results: number;
  readonly revisions: number;
  /** null: there was none since the start. */
  readonly backfill: BackfillProgress | null;
}

/** Memory of window state. */
export interface StateUse {
  readonly bytes: number;
  readonly maxBytes: number;
  /** Requests answered 503 because of it. */
  readonly refusedRequests: number;
  /** The queries that hold most of it, at most three. */
  readonly largest: readonly {
    readonly query: string;
    readonly stateBytes: number;
    readonly keys: number;
    readonly openGroups: number;
  }[];
  /** The largest keys of the first of these, while state takes more than half of its limit. */
  readonly largestKeys: NamedKeys | null;
}

export interface EngineStatus {
  readonly startedAtMs: number;
  readonly isReady: boolean;
  readonly queuedBytes: number;
  readonly queuedRequests: number;
  /** Ingest threads now. */
  readonly ingestWorkers: number;
  /** Those started since the start, because requests waited for one another. */
  readonly addedIngestWorkers: number;
  readonly lastSeq: number;
  readonly checkpointSeq: number;
  readonly checkpointAgeMs: number | null;
  /** What the last checkpoint since the start was; null before it. */
  readonly checkpoint: CheckpointFigures | null;
  readonly databaseBytes: number;
  readonly walBytes: number;
  readonly commits: number;
  readonly rejectedRequests: number;
  readonly configVersion: number;
  /** Queries that read stored events: merging blocks waits for them. */
  readonly backfills: number;
  readonly state: StateUse;
  /** Nanoseconds by stage since the start, and events that went through it (of `emit`: rows). */
  readonly stageNs: Readonly<Record<string, number>>;
  readonly stageEvents: Readonly<Record<string, number>>;
}

/** The running pipeline as the HTTP API sees it. */
export interface Engine {
  ingest(request: IngestRequest): Promise<IngestOutcome>;
  /** The same without a promise, for many small requests: exactly one of the two is called, now or later. */
  offer(
    request: IngestRequest,
    settle: (outcome: IngestOutcome) => void,
    fail: (cause: unknown) => void,
  ): void;
  /** Whether a request of this size would be taken now; asked before a body is read. */
  admits(bytes: number): IngestRefusal | null;
  advanceWatermark(
    stream: string,
    time: number | "end",
  ): Promise<{ readonly watermarkUs: number | null } | null>;
  streams(): readonly StreamState[];
  stream(name: string): StreamState | null;
  /** The clocks of a stream's sources, those furthest ahead first; null when there is no such stream. */
  clocks(stream: string, limit: number): Promise<ClockReport | null>;
  queries(): readonly QueryState[];
  query(name: string): QueryState | null;
  /** The definitions of a stream's queries as the window engine has them, and of those over their results. */
  queryTrees(stream: string): readonly QueryTree[];
  /** The rows that tables have now. */
  tables(): readonly TableData[];
  /** Up to where the windows of queries are closed, in the order asked; with the clocks of keys, where any are named. */
  closings(
    asked: readonly { readonly queryId: number; readonly keys: readonly Uint8Array[] | null }[],
  ): Promise<readonly Closing[]>;
  /** Writes corrected results and marks the late events that are in them, in one transaction, and publishes them. */
  correct(stream: string, rows: readonly ResultRow[], lateIds: readonly number[]): Promise<void>;
  status(): EngineStatus;
  alerts(): {
    readonly alerts: readonly AlertCounts[];
    readonly steps: number;
    readonly webhooks: WebhookStatus;
  };
  /** Calls the listener with steps of alerts once they are durable, until the returned function is called. */
  subscribeAlerts(listener: AlertListener): () => void;
  /** The configuration in force. */
  config(): Config;
  /**
   * Puts a configuration in force at one place of the log. Settings that cannot change are as they were. `origin`: left out
   * where it stays as it is.
   */
  reload(config: Config, origin?: ConfigOrigin): Promise<ReloadOutcome>;
  /** Whether there is, or was, a query of that name: then it may have results. */
  knowsQuery(name: string): boolean;
  /** Calls `listener` with the durable result rows of the query; returns the way to stop. */
  subscribe(query: string, listener: ResultListener): () => void;
  /** Blocks that the store has deleted since the start: streams are shown without them. */
  forgetBlocks(removed: readonly RemovedBlocks[]): void;
  /**
   * One block with the events of several of the stream, in their order, made when no windows wait for the thread. The blocks' data is
   * given away.
   * @throws MillraceError when one of them cannot be read
   */
  mergeBlocks(stream: string, blocks: readonly StoredBlock[]): Promise<StoredBlock>;
  /**
   * One block of aggregates of the events of several of the stream, of so much event time each; made like a merged one, and in
   * steps. Of many fields of many keys the first blocks are taken alone. The blocks' data is given away.
   * @throws MillraceError when one of them cannot be read
   */
  downsampleBlocks(
    stream: string,
    blocks: readonly StoredBlock[],
    resolutionUs: number,
  ): Promise<Downsampled>;
  /** Writes a checkpoint now, so that blocks before it are not needed for a replay any more. */
  checkpoint(): Promise<void>;
  /** Waits until everything acknowledged so far is applied to windows and its results are durable. */
  settle(): Promise<void>;
  /** Drains, checkpoints, closes. */
  close(): Promise<void>;
}
