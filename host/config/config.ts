import type {
  AggregateName,
  ExpressionProgram,
  SchemaField,
  TableData,
  TimeUnit,
  WindowPlan,
} from "../../workers/messages.ts";
import type { AlertConfig } from "./alert.ts";
import type { EncryptionConfig } from "./encryption-schema.ts";
import type { Kind } from "./expression/kinds.ts";
import type { Expression } from "./expression/parse.ts";
import type { RelayConfig } from "./relay-config.ts";
import type { SyncConfig } from "./sync-config.ts";

/** A validated configuration, every default filled in. Times in µs (`…Us`) or ms (`…Ms`), sizes in bytes. */
export interface Config {
  readonly node: { readonly id: string };
  readonly dataDir: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** What `PUT /v1/config` must bring; null: it is taken from this machine alone. */
  readonly adminToken?: string | null;
  /** True when no streams are declared: any stream name is accepted and gets its 1-minute query. */
  readonly acceptsAnyStream: boolean;
  readonly streams: ReadonlyMap<string, StreamConfig>;
  readonly queries: ReadonlyMap<string, QueryConfig>;
  /** Left out when there are none. */
  readonly tables?: ReadonlyMap<string, TableConfig>;
  readonly alerts: ReadonlyMap<string, AlertConfig>;
  /** Addresses of webhooks as they are written, where they hold variables. */
  readonly writtenWebhooks?: ReadonlyMap<string, string>;
  readonly buffer: BufferConfig;
  /** Left out when the data is not encrypted. */
  readonly encryption?: EncryptionConfig;
  readonly limits: Limits;
  /** Ingest threads that are always there. */
  readonly ingestWorkers: number;
  /** Ingest threads that there may be while requests wait for one another. */
  readonly maxIngestWorkers: number;
  readonly checkpointEveryMs: number;
  readonly groupCommitMs: number;
  /** null: nothing is sent anywhere. */
  readonly sync?: SyncConfig | null;
  /** null: the node sends for itself alone. */
  readonly relay?: RelayConfig | null;
}

/** How much is kept, and for how long. */
export interface BufferConfig {
  /** null: 10 GiB or 80 % of the disk, whichever is less. */
  readonly capBytes: number | null;
  readonly retentionUs: number;
  /** Otherwise it holds for what is synced alone. */
  readonly isRetentionSet: boolean;
}

export interface StreamConfig {
  readonly name: string;
  readonly key: { readonly fields: readonly string[]; readonly isDeclared: boolean };
  readonly time: {
    readonly fields: readonly string[];
    readonly isDeclared: boolean;
    readonly unit: TimeUnit;
  };
  readonly fields: readonly SchemaField[] | null;
  readonly extra: "keep" | "drop" | "reject";
  readonly watermark: {
    readonly boundUs: number;
    readonly per: "stream" | "source" | "key";
    readonly idleUs: number;
    readonly maxAheadUs: number;
  };
  readonly latenessUs: number;
  readonly priority: number;
}

export interface QueryConfig {
  readonly name: string;
  /** A stream, or with `isOnQuery` a query: its final results are then the events. */
  readonly from: string;
  readonly isOnQuery?: true;
  readonly window: WindowPlan;
  /** How often windows that are still filling give results; left out: never. */
  readonly earlyUs?: number;
  /** Left out: the stream's. */
  readonly latenessUs?: number;
  /** When it is new or changed, stored events from so long before the newest on count too. Left out: none. */
  readonly backfillUs?: number | "all";
  /** null: the stream's key. */
  readonly by: readonly string[] | null;
  readonly select: readonly SelectItem[] | "*";
  /** Left out when the query has none. */
  readonly expressions?: QueryExpressions;
}

/** As written, and compiled. */
export interface QueryExpressions {
  readonly where: Expression | null;
  /** In the order in which they may use each other. */
  readonly derive: readonly { readonly name: string; readonly expression: Expression }[];
  readonly having: Expression | null;
  /** What is known of the derived fields. */
  readonly kinds: ReadonlyMap<string, Kind>;
  /** `where` and `derive`. */
  readonly rows: ExpressionProgram | null;
  readonly results: ExpressionProgram | null;
}

export interface TableConfig {
  readonly name: string;
  /** As written; null: its rows come with `PUT /v1/tables/{name}`. */
  readonly file: string | null;
  readonly key: string;
  /** The events' field with the key; null: the stream's key. */
  readonly on: string | null;
  readonly data: TableData;
}

export interface SelectItem {
  readonly name: string;
  readonly fn: AggregateName;
  readonly field: string | null;
  /** As in `Output`. */
  readonly parameter: number | null;
  readonly bounds?: number[];
}

/** Every limit has a name here, a default in `defaults.ts`, and a metric. */
export interface Limits {
  /** Largest request body after decompression. */
  readonly maxBodyBytes: number;
  /** Bytes of request bodies held in memory before requests are answered 429. */
  readonly maxQueuedBytes: number;
  /** Requests waiting for their commit before further ones are answered 429. */
  readonly maxQueuedRequests: number;
  /** Streams that may come into being without configuration. */
  readonly maxStreams: number;
  /** Devices of a stream whose clocks are known. */
  readonly maxSources: number;
  /** Keys of a query without an open window whose own clocks are remembered. */
  readonly maxKeyClocks: number;
  /** Memory of window state before events for windows are answered 503. */
  readonly maxStateBytes: number;
  /** How far a watermark that is sent may be ahead of the clock and of the stream's newest event. */
  readonly maxWatermarkAheadUs: number;
  /** Open live feeds (SSE). */
  readonly maxLiveClients: number;
  /** Batches that no sink would have; more are held, and tried again. */
  readonly maxParked: number;
  readonly maxParkedBytes: number;
  /** Open connections; further ones are closed at once. */
  readonly maxConnections: number;
  /** Posts to webhooks a second; further ones wait. */
  readonly maxWebhooksPerSecond: number;
  /** Largest reference table, as its file or body. */
  readonly maxTableBytes: number;
  /** Devices that have attributes. */
  readonly maxDevices: number;
  /** Attributes of a device. */
  readonly maxDeviceAttributes: number;
  /** Of an attribute's value, as JSON. */
  readonly maxAttributeBytes: number;
  /** Posts to webhooks that wait; beyond them the oldest are set aside. */
  readonly maxQueuedWebhooks: number;
}
