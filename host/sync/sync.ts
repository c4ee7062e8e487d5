import { randomBytes } from "node:crypto";
import type { Logger } from "pino";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import type { HubTime } from "../../workers/store/attribute-operations.ts";
import type { ClaimedBatch, ParkedBatch, SyncBacklog } from "../../workers/store/sync-operations.ts";
import type { AuditRange, EdgeAudit } from "../../workers/sync/audit-reader.ts";
import type { StreamForm } from "../../workers/sync/batch.ts";
import { EVERYTHING, type Selection } from "../../workers/sync/outgoing-table.ts";
import type { Inspected, InspectTask, PackedBatch } from "../../workers/sync.ts";
import type { Config, StreamConfig } from "../config/config.ts";
import { DEFAULTS } from "../config/defaults.ts";
import type { DeliveryConfig, SyncConfig } from "../config/sync-config.ts";
import type { Clock } from "../pipeline/clock.ts";
import type { StorageClient } from "../store/storage-client.ts";
import { BacklogLooks } from "./backlog-looks.ts";
import { ByteBucket } from "./byte-bucket.ts";
import { edgeName } from "./edge-name.ts";
import { HubSink, type HubSinkParts } from "./hub-sink.ts";
import { NewsDesk, type NewsReport } from "./news-desk.ts";
import type { Sink } from "./sink.ts";
import { SinkRunner, type SinkStatus } from "./sink-runner.ts";
import { openSink } from "./sinks/open-sink.ts";
import { SyncClient } from "./sync-client.ts";

/** Parked batches that are listed. */
const LISTED_PARKED = 1_000;

export interface SinkReport extends SinkStatus {
  readonly backlog: SyncBacklog;
}

export interface SyncParts {
  readonly config: Config;
  readonly sync: SyncConfig;
  readonly storage: StorageClient;
  /** null: the data is not encrypted. */
  readonly masters: MasterKeys | null;
  readonly clock: Clock;
  readonly log: Logger;
  /** The streams there are, now. */
  readonly streams: () => readonly StreamConfig[];
}

const HUB_SINK = "hub";

/** A sink, and what goes there how. */
interface Line {
  readonly sink: Sink;
  readonly config: DeliveryConfig;
  readonly selection: Selection;
}

/** Names of the sinks that a configuration has. */
export function sinkNames({ sync }: Config): readonly string[] {
  if (sync == null) return [];
  return [...(sync.url === null ? [] : [HUB_SINK]), ...sync.sinks.map(({ name }) => name)];
}

/** Opens the books of what is sent. Before anything is committed: what is written then is to be sent as well. */
export async function openSync(
  storage: StorageClient,
  config: Config,
): ReturnType<StorageClient["openSync"]> {
  const priorities = Object.fromEntries([...config.streams].map(([name, { priority }]) => [name, priority]));
  const { maxParked: batches, maxParkedBytes: bytes } = config.limits;
  return storage.openSync({
    sinks: sinkNames(config),
    priorities,
    defaultPriority: DEFAULTS.priority,
    maxParked: { batches, bytes },
  });
}

/** Sends everything a node has to its sinks, each at its own pace. */
export class Sync {
  readonly #parts: SyncParts;
  readonly #client: SyncClient;
  readonly #runners: readonly SinkRunner[];
  readonly #hub: HubSink | null;
  readonly #news: NewsDesk;
  readonly #start: { readonly number: number; readonly id: string };
  readonly #incarnation: string;
  readonly #atStart: Awaited<ReturnType<typeof openSync>>["totals"];
  readonly #backlogs: BacklogLooks;

  private constructor(parts: SyncParts, client: SyncClient, opened: Awaited<ReturnType<typeof openSync>>) {
    this.#parts = parts;
    this.#client = client;
    this.#incarnation = opened.incarnation;
    this.#atStart = opened.totals;
    this.#start = { number: opened.startNumber, id: randomBytes(8).toString("hex") };
    const { storage, clock, log, sync: settings } = parts;
    const { url } = settings;
    const { dataDir } = parts.config;
    const learnTime = (time: HubTime): Promise<number> => storage.learnTime(time);
    this.#news = new NewsDesk({ edge: edgeName(parts.config), dataDir, learnTime, clock, log });
    this.#hub = url === null ? null : new HubSink(this.#hubParts(settings, url));
    this.#runners = this.#makeSinks().map(
      ({ sink, config, selection }) =>
        new SinkRunner({
          sink,
          config,
          advance: (step) => storage.advanceSync(step),
          pack: (batch) => this.#pack(batch, sink, selection),
          unsettled: opened.unsettled.filter((batch) => batch.sink === sink.name),
          clock,
          log,
        }),
    );
    this.#backlogs = new BacklogLooks({
      look: () => Promise.all(this.#runners.map((runner) => client.backlog(runner.status().sink))),
      clock,
    });
  }

  static async start(parts: SyncParts, opened: Awaited<ReturnType<typeof openSync>>): Promise<Sync> {
    const sync = new Sync(parts, await SyncClient.open(parts.config.dataDir, parts.masters), opened);
    sync.wake();
    return sync;
  }

  /** Keys of an encrypted store that are in force from here on. */
  learnKeys(masters: MasterKeys): Promise<void> {
    return this.#client.learnKeys(masters);
  }

  /** There may be something to send at once. */
  wake(): void {
    for (const runner of this.#runners) runner.wake();
  }

  /** Sends by other settings from here on. What is claimed stays so: nothing is lost, nothing sent twice for it. */
  reconfigure(config: SyncConfig): void {
    if (this.#hub === null || config.url === null) return;
    this.#hub.use(this.#hubParts(config, config.url));
    this.#runners[0]?.reconfigure(config);
  }

  /** Where batches of other edges go; null: there is no hub. */
  get hub(): Pick<HubSink, "forward" | "probe" | "batchVersion"> | null {
    return this.#hub;
  }

  /** Reads a batch of another edge to its end. Rejects, when it is not good, with the code that a hub would. */
  inspect(task: InspectTask): Promise<Inspected> {
    return this.#client.inspect(task);
  }

  /** How each sink stands, and what it has not got: much of it as it was a moment ago, for that takes a look at the store. */
  async reports(): Promise<readonly SinkReport[]> {
    const backlogs = await this.#backlogs.read();
    return this.#runners.map((runner, index) => ({ ...runner.status(), backlog: backlogs[index]! }));
  }

  /** What the hub has of each hour, by this node's books, and the name that the hub knows it by; null: there is no hub. */
  async audit(range: AuditRange): Promise<(EdgeAudit & { readonly edge: string }) | null> {
    if (this.#parts.sync.url === null) return null;
    return { edge: edgeName(this.#parts.config), ...(await this.#client.audit(HUB_SINK, range)) };
  }

  /** What the hub said of this node; null: nothing goes to a hub. */
  get news(): NewsReport | null {
    return this.#hub === null ? null : this.#news.report;
  }

  parked(): Promise<readonly ParkedBatch[]> {
    return this.#client.parked(LISTED_PARKED);
  }

  /** Parked batches are tried again. @returns how many. */
  async replayParked(): Promise<number> {
    const batches = await this.#parts.storage.unparkBatches();
    for (const runner of this.#runners)
      for (const batch of batches) if (batch.sink === runner.status().sink) runner.resume(batch);
    this.wake();
    return batches.length;
  }

  async close(): Promise<void> {
    await Promise.all(this.#runners.map((runner) => runner.close()));
    await this.#client.close();
  }

  #bucketOf({ bandwidth }: DeliveryConfig): ByteBucket | null {
    const { clock } = this.#parts;
    return bandwidth === null ? null : new ByteBucket(bandwidth, () => clock.monotonicMs());
  }

  #hubParts(sync: SyncConfig, url: string): HubSinkParts {
    const { token, timeoutMs, concurrency } = sync;
    return {
      url,
      token,
      timeoutMs,
      concurrency,
      bucket: this.#bucketOf(sync),
      edge: edgeName(this.#parts.config),
      onNews: (news) => this.#news.hear(news),
    };
  }

  #makeSinks(): readonly Line[] {
    const { config, sync } = this.#parts;
    const edge = edgeName(config);
    const further = sync.sinks.map(({ name, target, delivery, selection }): Line => {
      const { timeoutMs } = delivery;
      const sink = openSink({ name, target, edge, timeoutMs }, this.#bucketOf(delivery));
      return { sink, config: delivery, selection };
    });
    return this.#hub === null
      ? further
      : [{ sink: this.#hub, config: sync, selection: EVERYTHING }, ...further];
  }

  #pack(batch: ClaimedBatch, sink: Sink, selection: Selection): Promise<PackedBatch> {
    const { config, clock } = this.#parts;
    return this.#client.pack({
      batch: batch.id,
      class: batch.class,
      header: {
        edge: edgeName(config),
        createdUs: clock.nowUs(),
        incarnation: this.#incarnation,
        start: this.#start,
      },
      atStart: this.#atStart,
      forms: this.#parts.streams().map(formOf),
      form: sink.form,
      selection,
      isAudited: sink.name === HUB_SINK,
      // What was refused is sent as plainly as can be: then it is the data's own fault.
      merge: batch.reason === null ? (sink.merging?.() ?? "never") : "never",
    });
  }
}

function formOf({ name, time, key }: StreamConfig): StreamForm {
  return { stream: name, timeField: time.fields[0] ?? "ts", keyFields: key.fields };
}
