import type * as tasks from "../query/tasks.ts";
import type { AlertCursor } from "../store/alert-reader.ts";
import type { ResultCursor } from "../store/reader.ts";
import type { IdentityCase } from "./edge-identity.ts";
import type { AttributeRefusal } from "./edge-news.ts";

/** Reads of a hub: those of a node, of one edge or of all. */

interface OfEdge {
  /** null: of all. */
  readonly edge: string | null;
}

export type HubEventsTask = Omit<tasks.EventsTask, "timeField" | "keyFields"> & OfEdge;
export type HubResultsTask = Omit<tasks.ResultsTask, "after"> &
  OfEdge & { readonly after: HubResultCursor | null };
export type HubAlertsTask = Omit<tasks.AlertsTask, "after"> &
  OfEdge & { readonly after: HubAlertCursor | null };
export type HubListTask = tasks.ListTask & OfEdge;

export interface HubDevicesTask extends OfEdge {
  /** null: all. */
  readonly device: string | null;
  readonly limit: number;
  readonly after: DeviceCursor | null;
}

/** The last device of a page, and whose it was. */
export interface DeviceCursor {
  readonly edge: string;
  readonly device: string;
}

export interface HubResultCursor extends ResultCursor {
  readonly edgeId: number;
}

export interface HubAlertCursor extends AlertCursor {
  readonly edgeId: number;
}

/** An edge as the fleet's list shows it. Times are µs since the epoch. */
export interface EdgeSummary {
  readonly edge: string;
  readonly firstSeenUs: number;
  readonly lastSeenUs: number;
  readonly batches: number;
  readonly duplicates: number;
  readonly wireBytes: number;
  /** Events held, and those that the edge says it has taken, over all its data directories. */
  readonly events: number;
  readonly accepted: number;
  readonly openAlerts: number;
  /** Starts of a data directory that another holds as well, and blocks of one place that differ. */
  readonly copies: number;
  readonly conflicts: number;
  /** What was noticed last of its data directories; null: nothing ever. */
  readonly identity: IdentityCase | null;
  /** Attributes of its devices that are held, those that were removed among them. */
  readonly attributes: number;
}

export interface EdgeDetail extends EdgeSummary {
  /** What was noticed of its data directories, the latest first. */
  readonly identityCases: readonly {
    readonly case: IdentityCase;
    readonly incarnation: string;
    readonly times: number;
    readonly firstUs: number;
    readonly lastUs: number;
  }[];
  /** Attributes that were not taken. */
  readonly refusedAttributes: {
    readonly count: number;
    readonly lastUs: number | null;
    readonly reason: AttributeRefusal | null;
  };
  readonly incarnations: readonly {
    readonly id: string;
    readonly starts: number;
    readonly firstSeenUs: number;
    readonly lastSeenUs: number;
    readonly copies: number;
    readonly conflicts: number;
  }[];
  readonly streams: readonly {
    readonly stream: string;
    readonly events: number;
    readonly storedBytes: number;
    readonly accepted: number;
    readonly deadLettered: number;
    readonly late: number;
    readonly clockSkewed: number;
    readonly lost: number;
  }[];
}
