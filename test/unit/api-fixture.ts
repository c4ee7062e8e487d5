import { pino } from "pino";
import type { App } from "../../host/api/app.ts";
import { createEntrance } from "../../host/api/entrance.ts";
import type { EventsRequest, HistoryReads, ListRequest, Page, ResultsRequest } from "../../host/api/reads.ts";
import { serveNode, type Timeouts } from "../../host/api/serve.ts";
import { DeviceRegistry, type DeviceRegistryParts } from "../../host/attributes/device-registry.ts";
import type { Config } from "../../host/config/config.ts";
import { DEFAULT_LIMITS, DEFAULTS } from "../../host/config/defaults.ts";
import { automaticQuery, automaticStream } from "../../host/config/plans.ts";
import { emptyTable } from "../../host/config/table/stored.ts";
import { createMetrics } from "../../host/observe/metrics.ts";
import type {
  Engine,
  EngineStatus,
  IngestOutcome,
  IngestRefusal,
  IngestRequest,
  QueryState,
  ResultListener,
  StreamState,
} from "../../host/pipeline/engine.ts";
import { MillraceError } from "../../workers/errors.ts";
import type { AlertRow, ResultRow, StoredBlock } from "../../workers/messages.ts";
import { bytewiseGroups, packedOf } from "../../workers/packed-rows.ts";
import type { CorrectionTask } from "../../workers/query/correction.ts";
import type { CorrectionStep } from "../../workers/query.ts";
import { packResults } from "../../workers/result-rows.ts";
import type { DeviceAttributes } from "../../workers/store/attribute-operations.ts";

export const KNOWN = "machines";

/** An engine that keeps what it is given and answers as it is told: what is tested is the way there and back. */
export const TABLE = "sites";
export const DEVICE = "m1";

export class MemoryEngine implements Engine {
  readonly requests: { readonly request: IngestRequest; readonly text: string }[] = [];
  readonly watermarks: { readonly stream: string; readonly time: number | "end" }[] = [];
  readonly corrections: { readonly rows: readonly ResultRow[]; readonly lateIds: readonly number[] }[] = [];
  readonly listeners = new Set<ResultListener>();
  readonly alertListeners = new Set<(rows: readonly AlertRow[]) => void>();
  refusal: IngestRefusal | null = null;
  outcome: IngestOutcome | null = null;
  watermarkUs: number | null = null;
  isReady = true;
  settled: Promise<void> = Promise.resolve();
  settles = 0;

  ingest(request: IngestRequest): Promise<IngestOutcome> {
    const text = Buffer.from(request.body).toString();
    this.requests.push({ request, text });
    const accepted = text.split("\n").filter((line) => line.trim() !== "").length;
    return Promise.resolve(
      this.outcome ?? { kind: "accepted", accepted, deadLettered: 0, isDuplicate: false, errors: [] },
    );
  }

  offer(
    request: IngestRequest,
    settle: (outcome: IngestOutcome) => void,
    fail: (cause: unknown) => void,
  ): void {
    this.ingest(request).then(settle, fail);
  }

  forgetBlocks(): void {}

  mergeBlocks(): Promise<StoredBlock> {
    return Promise.reject(new Error("this engine has no blocks"));
  }

  downsampleBlocks(): ReturnType<Engine["downsampleBlocks"]> {
    return Promise.reject(new Error("this engine has no blocks"));
  }

  checkpoint(): Promise<void> {
    return Promise.resolve();
  }

  admits(): IngestRefusal | null {
    return this.refusal;
  }

  advanceWatermark(stream: string, time: number | "end"): Promise<{ watermarkUs: number | null } | null> {
    if (stream !== KNOWN) return Promise.resolve(null);
    this.watermarks.push({ stream, time });
    if (time !== "end") this.watermarkUs = time;
    return Promise.resolve({ watermarkUs: this.watermarkUs });
  }

  streams(): readonly StreamState[] {
    return [
      {
        config: automaticStream(KNOWN),
        schema: [
          { name: "device", type: "string" },
          { name: "temp", type: "float" },
        ],
        schemaVersion: 2,
        watermarkUs: this.watermarkUs,
        maxEventTimeUs: this.watermarkUs,
        sources: { known: 2, active: 1, untrackedEvents: 0 },
        skewedDevices: [],
        timeSources: ["ts", null],
        accepted: 3,
        deadLettered: 1,
        late: 0,
        clockSkewed: 0,
        duplicates: 0,
        blocks: 1,
        storedBytes: 100,
        rate: 0.3,
      },
    ];
  }

  stream(name: string): StreamState | null {
    return this.streams().find(({ config }) => config.name === name) ?? null;
  }

  clocks(name: string): ReturnType<Engine["clocks"]> {
    if (name !== KNOWN) return Promise.resolve(null);
    const m1 = { device: "m1", maxEventUs: 1_000_000, lastSeenUs: 2_000_000, samples: 3, skewedEvents: 0 };
    return Promise.resolve({
      sources: { known: 2, active: 1, untrackedEvents: 0 },
      slowest: "m1",
      devices: [{ ...m1, medianOffsetUs: -1_000_000, isIdle: false }],
    });
  }

  queries(): readonly QueryState[] {
    const config = automaticQuery(KNOWN);
    const { watermarkUs } = this;
    return [
      {
        config,
        watermarkUs,
        openGroups: 1,
        keys: 1,
        idleKeys: 0,
        stateBytes: 64,
        results: 2,
        revisions: 0,
        backfill: null,
      },
    ];
  }

  query(name: string): QueryState | null {
    return this.queries().find(({ config }) => config.name === name) ?? null;
  }

  queryTrees(): readonly [] {
    return [];
  }

  tables(): readonly [] {
    return [];
  }

  closings(): Promise<readonly []> {
    return Promise.resolve([]);
  }

  correct(_: string, rows: readonly ResultRow[], lateIds: readonly number[]): Promise<void> {
    this.corrections.push({ rows, lateIds });
    return Promise.resolve();
  }

  status(): EngineStatus {
    return {
      startedAtMs: 1_767_225_600_000,
      isReady: this.isReady,
      queuedBytes: 10,
      queuedRequests: 1,
      ingestWorkers: 1,
      addedIngestWorkers: 0,
      lastSeq: 7,
      checkpointSeq: 5,
      checkpointAgeMs: 1_000,
      checkpoint: null,
      databaseBytes: 4_096,
      walBytes: 0,
      commits: 3,
      configVersion: 1,
      backfills: 0,
      rejectedRequests: 0,
      state: { bytes: 0, maxBytes: 1_000_000, refusedRequests: 0, largest: [], largestKeys: null },
      stageNs: { parse: 1_000, commit: 2_000 },
      stageEvents: { parse: 10, commit: 9 },
    };
  }

  subscribe(_: string, listener: ResultListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  publish(rows: readonly ResultRow[]): void {
    const groups = bytewiseGroups(packedOf(packResults(rows)));
    for (const listener of this.listeners) listener(groups);
  }

  alerts(): ReturnType<Engine["alerts"]> {
    return { alerts: [], steps: 0, webhooks: { waiting: 0, delivered: 2, failedAttempts: 1, setAside: 0 } };
  }

  subscribeAlerts(listener: (rows: readonly AlertRow[]) => void): () => void {
    this.alertListeners.add(listener);
    return () => this.alertListeners.delete(listener);
  }

  config(): Config {
    return testConfig();
  }

  reload(): Promise<never> {
    return Promise.reject(new Error("not asked for"));
  }

  knowsQuery(name: string): boolean {
    return this.query(name) !== null;
  }

  settle(): Promise<void> {
    this.settles++;
    return this.settled;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** Reads that keep what they were asked and give one line. `after=none` is a cursor of no list. */
export class MemoryReads implements HistoryReads {
  readonly asked: {
    readonly list: string;
    readonly request: Partial<EventsRequest & ResultsRequest & ListRequest>;
  }[] = [];
  next: string | null = null;
  /** What `correct` gives, step by step; after the last, nothing is left. */
  readonly corrections: CorrectionStep[] = [];
  readonly correctionTasks: CorrectionTask[] = [];

  lateKeys: HistoryReads["lateKeys"] = ({ afterId }) => Promise.resolve({ untilId: afterId, keys: [] });
  correct = (task: CorrectionTask): Promise<CorrectionStep> => {
    this.correctionTasks.push(task);
    const nothing = { rows: [], lateIds: [], events: 0, waitingEvents: 0, unreadableEvents: 0 };
    return Promise.resolve(this.corrections.shift() ?? { ...nothing, nextId: null, refused: [] });
  };
  events = (request: EventsRequest): Promise<Page> => this.#page("events", request);
  results = (request: ResultsRequest): Promise<Page> => this.#page("results", request);
  late: HistoryReads["late"] = (request) => this.#page("late", request);
  alerts: HistoryReads["alerts"] = (request) => this.#page("alerts", request);
  deadLetters = (request: ListRequest): Promise<Page> => this.#page("dlq", request);
  losses = (request: ListRequest): Promise<Page> => this.#page("losses", request);

  #page(list: string, request: object): Promise<Page> {
    this.asked.push({ list, request });
    if ("after" in request && request.after === "none") {
      return Promise.reject(new MillraceError("E_CURSOR", "after: not a cursor of this list"));
    }
    if ("key" in request && request.key === "broken") return Promise.reject(new Error("the disk is on fire"));
    return Promise.resolve({ ndjson: Buffer.from(`{"list":"${list}"}\n`), next: this.next });
  }
}

export interface TestNode {
  readonly url: string;
  /** Loads it, as the first request that needs it does. */
  readonly app: () => Promise<App>;
  readonly engine: MemoryEngine;
  readonly reads: MemoryReads;
  close(): Promise<void>;
}

export interface TestOptions {
  readonly limits?: Partial<Config["limits"]>;
  readonly timeouts?: Partial<Timeouts>;
}

/** The real app behind a real server on loopback, with no pipeline behind it. Closed after the test. */
export async function startTestNode(
  context: { after(task: () => Promise<void>): void },
  { limits = {}, timeouts = {} }: TestOptions = {},
): Promise<TestNode> {
  const config = testConfig(limits);
  const engine = new MemoryEngine();
  const reads = new MemoryReads();
  const log = pino({ level: "silent" });
  const outcome = { version: 2, added: ["a"], changed: [], removed: [], backfilling: [] };
  const reloader = {
    put: () => Promise.resolve({ ok: true, outcome } as const),
    putTable: () => Promise.resolve({ kind: "put", rows: 1, version: 2 } as const),
  };
  const metrics = createMetrics({ config, engine });
  const devices = new DeviceRegistry({
    storage: memoryDevices(),
    limits: config.limits,
    onSet: () => undefined,
  });
  const { app, door, express } = createEntrance({ config, engine, reads, log, metrics, reloader, devices });
  const { maxConnections } = config.limits;
  const server = await serveNode(
    { app, door, express, listen: config.listen, maxConnections, metrics, log },
    { drainMs: 500, ...timeouts },
  );
  context.after(() => server.close());
  return { url: server.url, app, engine, reads, close: () => server.close() };
}

/** A device that has what was set last. */
function memoryDevices(): DeviceRegistryParts["storage"] {
  const time = { ms: Date.UTC(2026, 0, 1), counter: 0 };
  let held: DeviceAttributes = {
    device: DEVICE,
    attributes: [{ attribute: "firmware", value: '"1.4"', time }],
  };
  return {
    setAttributes: ({ tasks }) =>
      Promise.resolve(
        tasks.map(({ device, attributes }) => {
          const set = Object.entries(attributes).map(([attribute, value]) => {
            return { attribute, value: JSON.stringify(value), time };
          });
          held = { device, attributes: set };
          return { kind: "set", device: held };
        }),
      ),
    readAttributes: (device) => Promise.resolve(device === held.device ? held : null),
    listDevices: () => Promise.resolve([held]),
    reportAttributes: () => Promise.resolve({ devices: 1, attributes: 1, aheadMs: 0, restamped: 0 }),
  };
}

export interface TestProblem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly errors: readonly { line: number; path: string; message: string }[];
  readonly [member: string]: unknown;
}

export function testConfig(limits: Partial<Config["limits"]> = {}): Config {
  return {
    node: { id: "press-hall-3" },
    dataDir: "./data",
    listen: { host: "127.0.0.1", port: 0 },
    acceptsAnyStream: true,
    streams: new Map([[KNOWN, automaticStream(KNOWN)]]),
    queries: new Map(),
    alerts: new Map(),
    tables: new Map([
      [TABLE, { name: TABLE, file: null, key: "device", on: null, data: emptyTable(TABLE, "device") }],
    ]),
    buffer: { capBytes: null, retentionUs: DEFAULTS.retentionUs, isRetentionSet: false },
    limits: { ...DEFAULT_LIMITS, ...limits },
    ingestWorkers: 1,
    maxIngestWorkers: 1,
    checkpointEveryMs: DEFAULTS.checkpointEveryMs,
    groupCommitMs: DEFAULTS.groupCommitMs,
  };
}
