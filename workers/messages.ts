import type { BlockKeys } from "./core/key-filter.ts";
import type { LaneTimes, WindowTimes } from "./stage-times.ts";

/** The types of everything that crosses a thread. Times are int64 microseconds since the epoch, as numbers or bigints as named. */
import type { CheckpointOperation } from "./store/checkpoint-operations.ts";

import type { ConfigTables } from "./store/table-store.ts";

export type FieldType = "bool" | "int" | "float" | "string";
export interface SchemaField {
  readonly name: string;
  readonly type: FieldType;
}
/**
 * The fields of a block. As their JSON on the way from a lane: text passes a thread at a third of the price of a list of objects, and that it is
 * the same as with the block before is seen at a glance. `fieldsOf` reads both.
 */
export type BlockSchema = readonly SchemaField[] | string;
export type BodyFormat = "ndjson" | "json" | "csv";
export type BodyEncoding = "identity" | "gzip" | "zstd";

/** A line that was set aside. `line` is 1-based; for a JSON array it is the element's number. */
export interface LineError {
  readonly line: number;
  readonly path: string;
  readonly code: string;
  readonly message: string;
  /** The bad line's text, cut at the limit. */
  readonly text: string;
}

/** What the parser must know of a stream. */
export interface StreamPlan {
  readonly stream: string;
  /** Candidate key fields in order; the first that is present and not null names the key. */
  readonly key: readonly string[];
  /** A declared key that is missing makes the line bad; an undeclared one falls back to the constant key. */
  readonly isKeyDeclared: boolean;
  readonly time: {
    readonly fields: readonly string[];
    readonly isDeclared: boolean;
    readonly unit: TimeUnit;
  };
  /** Declared fields, or null when the schema is inferred. */
  readonly fields: readonly SchemaField[] | null;
  readonly extra: "keep" | "drop" | "reject";
  readonly maxAheadUs: number;
}
export type TimeUnit = "auto" | "iso" | "s" | "ms" | "us" | "ns";

export type AggregateName =
  | "count"
  | "sum"
  | "avg"
  | "min"
  | "max"
  | "range"
  | "first"
  | "last"
  | "variance"
  | "stddev"
  | "quantile"
  | "distinct"
  | "topk"
  | "histogram"
  | "delta"
  | "rate"
  | "twa"
  | "integral"
  | "any"
  | "all"
  | "mode";
/** One selected value: `name: fn(field, parameter)`. `field` is null for count(). */
export interface Output {
  readonly name: string;
  readonly fn: AggregateName;
  readonly field: string | null;
  /** A quantile's q; topk's k; for twa and integral 1 when values are steps, else null. */
  readonly parameter: number | null;
  /** A histogram's, ascending. */
  readonly bounds?: readonly number[];
}
/** What events a window has. Ends are exclusive, but for count and none, whose end is the last event's time. */
export type WindowPlan =
  | { readonly kind: "tumbling"; readonly sizeUs: number; readonly offsetUs: number }
  /** A window of `sizeUs` begins every `everyUs`, which is shorter. */
  | {
      readonly kind: "sliding";
      readonly sizeUs: number;
      readonly everyUs: number;
      readonly offsetUs: number;
    }
  /**
   * Windows by the clocks of a time zone. `size` and `every` count units (weeks begin on Monday), or µs that divide a day;
   * `size` is a multiple of `every`, and equal to it for parts of a day. `offsetUs` is whole ms.
   */
  | {
      readonly kind: "calendar";
      readonly timezone: string;
      readonly unit: "time" | "day" | "week" | "month";
      readonly size: number;
      readonly every: number;
      readonly offsetUs: number;
    }
  | { readonly kind: "session"; readonly gapUs: number }
  | { readonly kind: "count"; readonly size: number }
  | { readonly kind: "none" };

/** A key's windows close by its own clock: its greatest event time less the bound, or the stream's if that is later. */
export interface KeyClock {
  readonly boundUs: number;
  /** Keys without an open window whose clocks are remembered. */
  readonly maxIdleKeys: number;
}

export interface QueryPlan {
  readonly id: number;
  readonly name: string;
  readonly stream: string;
  readonly window: WindowPlan;
  /** Windows that are still filling give results whenever the watermark passes a multiple of this; left out: none do. */
  readonly earlyUs?: number;
  readonly latenessUs: number;
  /** Where each key has a clock of its own. */
  readonly keyClock?: KeyClock;
  /** Group-by slots, each a list of candidate fields (several only for the default key). Empty: one group. */
  readonly by: readonly (readonly string[])[];
  /** "*": count, and avg, min, max of every numeric field, as they appear. */
  readonly select: readonly Output[] | "*";
  /** `where` and `derive`, compiled. */
  readonly expressions?: ExpressionProgram;
  /** Over result rows, compiled. */
  readonly having?: ExpressionProgram;
}

/** Compiled expressions. */
export interface ExpressionProgram {
  /** As `assembly/expression/program.ts` reads it, in Base64. */
  readonly code: string;
  /** Names of the fields that it reads. */
  readonly inputs: readonly string[];
  /** Names of its tables, by number. */
  readonly tables: readonly string[];
  /** What it reads of them, by number: the table's number and the column's name. Left out by releases that numbered columns. */
  readonly cells?: readonly { readonly table: number; readonly column: string }[];
}

export type TableValue = null | boolean | bigint | number | string;
export interface TableColumn {
  readonly name: string;
  readonly type: FieldType;
  /** By row. */
  readonly values: readonly TableValue[];
}
/** A reference table. The first column holds its keys: texts, each once. */
export interface TableData {
  readonly name: string;
  readonly columns: readonly TableColumn[];
}

/** One fired window of one key. `key` and `values` are JSON texts of objects. */
export interface ResultRow {
  readonly query: string;
  readonly startUs: number;
  readonly endUs: number;
  readonly key: string;
  readonly values: string;
  readonly revision: number;
  readonly kind: "early" | "on-time" | "late";
  /** Takes the window's rows back: what it held is in another, or `having` is not true of it. `values` is an empty object. */
  readonly retracted?: true;
}

/** When an alert fires. Expressions are compiled; over result rows or over events, as `from` says. */
export interface AlertPlan {
  readonly id: number;
  readonly name: string;
  readonly severity: string;
  readonly from: { readonly kind: "query" | "stream"; readonly name: string };
  readonly when: ExpressionProgram;
  /** null: whenever `when` is not true. */
  readonly clear: ExpressionProgram | null;
  readonly for: AlertPatience;
  /** Of events: the stream's key. */
  readonly by: readonly (readonly string[])[];
  /** Names the definition: alerts of another one are other alerts. */
  readonly definition: string;
}
/** For how many samples in a row, or for how long in event time, `when` must be true. */
export type AlertPatience =
  | { readonly kind: "samples"; readonly count: number }
  | { readonly kind: "duration"; readonly us: number };

export type AlertState = "pending" | "firing" | "resolved";
/** One step of one alert of one key. `key` and `value` are JSON texts of objects. */
export interface AlertRow {
  readonly alert: string;
  readonly severity: string;
  readonly definition: string;
  readonly key: string;
  readonly state: AlertState;
  /** When what it tells of began: names the alert among those of its key, with `id`. */
  readonly sinceUs: number;
  /** The sample that led to this state. */
  readonly atUs: number;
  readonly value: string;
  readonly id: string;
  readonly revision: number;
  /** Revised results say that it never was. */
  readonly isRetracted: boolean;
  /** It fires, or did before: those to notify are told. */
  readonly isTold: boolean;
  /** The entry of the log that it came of, where one is known. */
  readonly seq?: number;
}

export interface AlertStats {
  readonly alert: string;
  /** Keys in that state. */
  readonly pending: number;
  readonly firing: number;
  /** Revised results whose windows were too far back to be judged again, since the start. */
  readonly ignoredRevisions: number;
}

export interface DeadLetter {
  readonly line: number;
  readonly code: string;
  readonly message: string;
  readonly path: string;
  readonly text: string;
}

/** A block as it is stored: encoded, then compressed. */
export interface StoredBlock {
  readonly data: Uint8Array<ArrayBuffer>;
  readonly codec: "none" | "zstd";
  readonly encodedBytes: number;
  readonly count: number;
  readonly minUs: number;
  readonly maxUs: number;
  readonly schema: BlockSchema;
  /** Which keys it may hold, where that was found out. */
  readonly keys?: BlockKeys;
  /** What its events come to by hours (`core/event-sums.ts`), where that was found out. */
  readonly sums?: Uint8Array<ArrayBuffer>;
}

/** Everything the storage worker writes is a list of these, in order, in one transaction with one fsync. */
export type CommitOperation =
  | {
      readonly kind: "block";
      readonly stream: string;
      readonly arrivalUs: number;
      /** null when every line was bad: only dead letters and the idempotency key are kept. */
      readonly block: StoredBlock | null;
      readonly idempotencyKey: string | null;
      readonly accepted: number;
      readonly deadLetters: readonly DeadLetter[];
      /** Bad lines of a body beyond the first 1,000: counted, and given up in the loss ledger. */
      readonly unkeptDeadLetters: number;
      /** Events whose time is beyond maxAhead: also in `block`, flagged, and kept in the side output. */
      readonly skewed: StoredBlock | null;
      /** The fields that gave its events their times; null: their arrival did. */
      readonly timeSources?: readonly (string | null)[];
    }
  | { readonly kind: "watermark"; readonly stream: string; readonly timeUs: number | "end" }
  | ({ readonly kind: "tick" } & Tick)
  /** The queries change here: `body` is the JSON text of the set in force from this seq on. */
  | { readonly kind: "config"; readonly body: string; readonly tables?: ConfigTables }
  | { readonly kind: "results"; readonly rows: readonly ResultRow[] }
  | {
      readonly kind: "packed-results";
      readonly packed: PackedRows;
      /** Left as they are: rows that are stored under the same revision. */
      readonly onlyNew?: true;
      /** Of what has just been committed, not of a replay. */
      readonly isLive?: true;
    }
  | {
      readonly kind: "late";
      readonly stream: string;
      readonly sourceSeq: number;
      readonly block: StoredBlock;
      /** Which events of the source these are (`late-rows.ts`); left out: all that are to be set aside of it. */
      readonly rows?: Uint8Array;
      readonly atUs: number;
    }
  /** Windows corrected by late events: new revisions, and the late blocks whose events are all in them. */
  | {
      readonly kind: "correction";
      readonly stream: string;
      readonly rows: readonly ResultRow[];
      readonly lateIds: readonly number[];
      readonly atUs: number;
    }
  /** Steps of alerts, each once: those that are stored already are left as they are, and nobody is told again. */
  | {
      readonly kind: "alerts";
      readonly rows: readonly AlertRow[];
      readonly webhooks: readonly AlertWebhooks[];
    }
  /** Ends alerts of definitions that are no more. */
  | { readonly kind: "alerts-kept"; readonly definitions: readonly string[] }
  | { readonly kind: "webhook-outcome"; readonly id: number; readonly outcome: WebhookOutcome }
  /** Deletes some of a query's results whose windows start at or after a time: those that a backfill gives anew. */
  | {
      readonly kind: "clear-results";
      readonly query: string;
      readonly fromUs: number;
      readonly limit: number;
    }
  | CheckpointOperation;

/**
 * Says in the log that time went on: sources that have sent nothing since `idleUs` before become idle. A resuming one
 * stands where a node started: what was silent while the node was away gets its time anew.
 */
export interface Tick {
  readonly stream: string;
  /** Wall clock, µs since the epoch. */
  readonly atUs: number;
  readonly isResume: boolean;
}

/** Where the steps of an alert are to be posted. */
export interface AlertWebhooks {
  readonly alert: string;
  readonly urls: readonly string[];
}
export type WebhookOutcome =
  | { readonly kind: "delivered" }
  | { readonly kind: "failed"; readonly nextAtUs: number; readonly error: string }
  | { readonly kind: "set-aside"; readonly error: string };

export type CommitOutcome =
  | { readonly kind: "committed"; readonly seq: number }
  | { readonly kind: "duplicate"; readonly accepted: number; readonly deadLettered: number }
  | { readonly kind: "cleared"; readonly rows: number }
  /** A block that found no room: nothing of it was written. */
  | { readonly kind: "refused"; readonly detail: string };

export type LogEntry =
  | {
      readonly kind: "block";
      readonly seq: number;
      readonly stream: string;
      readonly arrivalUs: number;
      readonly block: StoredBlock;
    }
  | {
      readonly kind: "watermark";
      readonly seq: number;
      readonly stream: string;
      readonly timeUs: number | "end";
    }
  | ({ readonly kind: "tick"; readonly seq: number } & Tick)
  | { readonly kind: "config"; readonly seq: number; readonly body: string };

/** A request body as an ingest worker gets it. */
export interface IngestBody {
  readonly format: BodyFormat;
  readonly encoding: BodyEncoding;
  readonly body: Uint8Array<ArrayBuffer>;
}

/** What an ingest worker must know of a stream; sent anew whenever it changes. */
export interface StreamSetup {
  readonly plan: StreamPlan;
  readonly queries: readonly QueryPlan[];
  /** Sources have watermarks of their own, so every event of theirs must be looked at. */
  readonly isPerSource: boolean;
  /** Of its events. */
  readonly alerts?: readonly AlertPlan[];
  /** The stream's known schema, so that every worker widens alike. */
  readonly schema: readonly SchemaField[];
}

export interface IngestTask {
  readonly stream: string;
  readonly setup: StreamSetup | null;
  readonly arrivalUs: number;
  readonly maxBodyBytes: number;
  /** Whether the block's events are summed up for an audit; left out: they are not. */
  readonly isSummed?: boolean;
  readonly bodies: readonly IngestBody[];
}

export type BodyOutcome =
  | {
      readonly kind: "parsed";
      readonly accepted: number;
      readonly bad: number;
      readonly errors: readonly LineError[];
    }
  | { readonly kind: "too-large" }
  | { readonly kind: "bad-encoding"; readonly detail: string };

/** The partial aggregates of one query over one block, or what one alert must know of its events. */
export interface QueryPartial {
  /** Below 0: `partialIdOf` an alert. */
  readonly queryId: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** What the windows need of one block. */
export interface AggregatedBlock {
  readonly partials: readonly QueryPartial[];
  /** Greatest event time that may move the watermark (clock-skewed events may not), or null. */
  readonly maxEventUs: number | null;
  readonly skewedCount: number;
  /** Its events by source, for the clocks (see `assembly/window/sources.ts`); null when there are none. */
  readonly sources: Uint8Array<ArrayBuffer> | null;
}

/** Many small uncompressed bodies in one piece, since handing each over by itself costs more than parsing it. */
export interface PackedTask extends Omit<IngestTask, "bodies"> {
  readonly format: BodyFormat;
  readonly bodies: Uint8Array<ArrayBuffer>;
  /** Where each of them ends. */
  readonly ends: Uint32Array<ArrayBuffer>;
}

/** What became of packed bodies. */
export interface PackedOutcomes {
  /** By body: how many events of it were accepted, when there was nothing else to say of it. */
  readonly accepted: Uint32Array<ArrayBuffer>;
  /** Of those where there was. */
  readonly others: readonly (readonly [index: number, outcome: BodyOutcome])[];
}

export interface IngestResult extends AggregatedBlock {
  readonly outcomes: readonly BodyOutcome[];
  /** The fields that gave events their times; null: their arrival did. */
  readonly timeSources: readonly (string | null)[];
  /** null when no line was good. */
  readonly block: StoredBlock | null;
  readonly skewed: StoredBlock | null;
  readonly stages: LaneTimes;
}

interface BlockTask {
  readonly stream: string;
  readonly setup: StreamSetup | null;
  readonly block: StoredBlock;
}

export interface ReplayTask extends BlockTask {
  readonly arrivalUs: number;
}

/** Blocks of a stream that follow one another in its log. */
export interface ReplayRun {
  readonly blocks: readonly StoredBlock[];
  /** By block, µs since the epoch. */
  readonly arrivalsUs: readonly number[];
}

/** Runs of one stream, in the order of the log. Those of several blocks are to be aggregated as if they were one. */
export interface RunsTask {
  readonly stream: string;
  /** null: as the thread knows it. */
  readonly setup: StreamSetup | null;
  readonly runs: readonly ReplayRun[];
}

/** Queries and tables that were in force for a block, where those of now are others. */
export interface FormerQueries {
  readonly queries: readonly QueryPlan[];
  readonly tables: readonly TableData[];
}

/** Finds again the events of a block that belong to the named windows. */
export interface LateTask extends BlockTask {
  /** null: those of the setup. */
  readonly former: FormerQueries | null;
  readonly groups: readonly { readonly queryId: number; readonly lateGroups: Uint8Array<ArrayBuffer> }[];
}

/** Events of a block that are set aside, and which of its rows they are (`late-rows.ts`). */
export interface LateEvents {
  readonly block: StoredBlock;
  readonly rows: Uint8Array<ArrayBuffer>;
}

/** How the results of a query become events. */
export interface ResultsSetup {
  readonly queryId: number;
  /** For how long after its end a window may be revised. */
  readonly latenessUs: number;
  /** Whether a later row of the same window and key takes the place of the one before; not so for counts. */
  readonly isRevised: boolean;
  /** The fields that the events have: of the key, the selected values, the window's bounds. */
  readonly names: readonly string[];
}

export interface WindowSetup {
  readonly stream: string;
  readonly boundUs: number;
  readonly idleUs: number;
  /** Whose clock closes windows. With `key`, events move no watermark of the stream. */
  readonly per: "stream" | "source" | "key";
  /** Candidates for the field that names the source. */
  readonly key: readonly string[];
  /** Sources known at most. */
  readonly maxSources: number;
  /** Left out for streams of events. Else the stream has the final results of a query. */
  readonly results?: ResultsSetup;
  readonly queries: readonly QueryPlan[];
  /** Of its events, and of its queries' results. */
  readonly alerts?: readonly AlertPlan[];
}

/** One step of the log, in the order of `seq`. */
export type ApplyEntry =
  | {
      readonly kind: "block";
      readonly seq: number;
      readonly stream: string;
      readonly arrivalUs: number;
      readonly partials: readonly QueryPartial[];
      readonly maxEventUs: number | null;
      readonly sources: Uint8Array<ArrayBuffer> | null;
    }
  | {
      readonly kind: "watermark";
      readonly seq: number;
      readonly stream: string;
      readonly timeUs: number | "end";
    }
  | ({ readonly kind: "tick"; readonly seq: number } & Tick)
  | {
      readonly kind: "config";
      readonly seq: number;
      /** Every stream with its queries from here on; a query that is left out is no more. */
      readonly setups: readonly WindowSetup[];
      /** What backfills give to queries that begin to be live here. */
      readonly takeovers: readonly BackfilledState[];
    };

/** The windows of a query over all events before an entry of the log. */
export interface BackfilledState {
  readonly queryId: number;
  /** Windows that start before it give no results. */
  readonly sinceUs: number | null;
  readonly state: Uint8Array<ArrayBuffer>;
  /** Of a query on a query: where the results below stand. */
  readonly results?: TakenResults;
}

/** The results of a query at an entry of the log, for queries over them that begin to be live there. */
export interface TakenResults {
  /** Those that may still be revised, as `result-rows.ts` packs them. */
  readonly waiting: string;
  /** Windows that end by then are final, and in the state; null: none is. */
  readonly finalUs: number | null;
}

export interface LateGroups {
  readonly seq: number;
  readonly stream: string;
  readonly groups: readonly { readonly queryId: number; readonly lateGroups: Uint8Array<ArrayBuffer> }[];
}

export interface WindowStats {
  readonly queryId: number;
  readonly keys: number;
  /** Keys without an open window whose clocks are remembered. */
  readonly idleKeys: number;
  readonly groups: number;
  readonly bytes: number;
  /** The watermark that gives some of it back, µs; null when none does. */
  readonly nextCloseUs: number | null;
}

export interface SourceCounts {
  readonly known: number;
  /** Not idle. */
  readonly active: number;
  /** Events of sources beyond the limit of those known. */
  readonly untrackedEvents: number;
}

export interface SkewedDevice {
  /** The value of the stream's key; null: events without one. */
  readonly device: string | null;
  /** Clock-skewed events of it. */
  readonly events: number;
  /** Median of event time − arrival over its last events, µs. */
  readonly medianOffsetUs: number;
}

/** Result rows as `result-rows.ts` packs them, in UTF-8. */
export interface PackedRows {
  /** All of its buffer. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Rows. */
  readonly count: number;
}

/** What came of entries, and what it took. */
export type ApplyResult = Applied & WindowTimes;

export interface Applied {
  readonly rows: readonly PackedRows[];
  readonly fired: readonly { readonly queryId: number; readonly rows: number; readonly revisions: number }[];
  readonly late: readonly LateGroups[];
  readonly watermarks: readonly {
    readonly stream: string;
    readonly watermarkUs: number | null;
    readonly maxEventUs: number | null;
    readonly sources: SourceCounts;
    /** Devices with the most clock-skewed events; null: as before. */
    readonly skewedDevices: readonly SkewedDevice[] | null;
  }[];
  readonly stats: readonly WindowStats[];
  /** Steps of alerts, in the order of the log. */
  readonly alerts: readonly AlertRow[];
  readonly alertStats: readonly AlertStats[];
  /** The entries have given more results than are handed over at once; clocks and sizes come with the last of them. */
  readonly hasMore: boolean;
}
