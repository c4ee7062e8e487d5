import type { HubAuditTask, HubSum } from "../../workers/hub/audit.ts";
import type { Received } from "../../workers/hub/batch-writer.ts";
import type {
  NextParked,
  NextParkedTask,
  ParkedBatch,
  ParkedLimits,
  ParkedTask,
  ParkedTotals,
  SettleParkedTask,
} from "../../workers/hub/parked.ts";
import type { ReceivedBatch } from "../../workers/hub/read-batch.ts";
import type {
  EdgeDetail,
  EdgeSummary,
  HubAlertsTask,
  HubDevicesTask,
  HubEventsTask,
  HubListTask,
  HubResultsTask,
} from "../../workers/hub/tasks.ts";
import type { Page } from "../api/reads.ts";

type WithText<Task> = Omit<Task, "after"> & { readonly after: string | null };

/** What is held, by data directory, stream and hour. */
export interface HubAudit {
  readonly sums: readonly HubSum[];
  /** Blocks that could not be read: their events are in no sum. */
  readonly unreadable: number;
}

/**
 * Where a hub keeps what edges send. Reads throw a MillraceError: E_CURSOR when `after` is no cursor of that list, E_STORE_…
 * when the store fails.
 */
export interface HubStore {
  /**
   * Resolves once the batch is durable, or was before.
   * @throws MillraceError E_BATCH_…, E_ZSTD, E_BAD_BLOCK, E_EDGE_NAME, E_IDEMPOTENCY_KEY when the batch is at fault: it
   * would be the same again; others when the store is
   */
  receive(batch: ReceivedBatch): Promise<Received>;
  events(task: WithText<HubEventsTask>): Promise<Page>;
  results(task: WithText<HubResultsTask>): Promise<Page>;
  alerts(task: WithText<HubAlertsTask>): Promise<Page>;
  losses(task: WithText<HubListTask>): Promise<Page>;
  /** Devices, and what their attributes are. */
  devices(task: WithText<HubDevicesTask>): Promise<Page>;
  /** What is held of a range, and what went by retention. */
  audit(range: Omit<HubAuditTask, "afterId">): Promise<HubAudit>;
  edges(): Promise<readonly EdgeSummary[]>;
  edge(name: string): Promise<EdgeDetail | null>;
  /**
   * Sets aside a batch that came over a stream and can never be taken; the same source again changes nothing. False, with
   * nothing done, when there is no room.
   */
  park(batch: ParkedBatch, limits: ParkedLimits): Promise<boolean>;
  parkedTotals(): Promise<ParkedTotals>;
  /** With its bytes; null: there is none. */
  nextParked(task: NextParkedTask): Promise<NextParked | null>;
  /** It was taken (null), or was refused again, and why. */
  settleParked(id: number, refusal: SettleParkedTask["refusal"]): Promise<void>;
  parked(task: WithText<ParkedTask>): Promise<Page>;
  /** Whether any edge has sent something of it. */
  knows(what: { readonly stream: string } | { readonly query: string }): Promise<boolean>;
  /** Whether it can take a batch now. */
  isReady(): Promise<boolean>;
  close(): Promise<void>;
}
