import type { CorrectionTask } from "../../workers/query/correction.ts";
import type { LateKeys, LateKeysTask } from "../../workers/query/late-keys.ts";
import type { CorrectionStep } from "../../workers/query.ts";

/** A page of NDJSON, and where the next one starts. */
export interface Page {
  readonly ndjson: Uint8Array;
  readonly next: string | null;
}

interface PageRequest {
  /** At least 1. */
  readonly limit: number;
  /** `next` of the page before. */
  readonly after: string | null;
}

export interface EventsRequest extends PageRequest {
  readonly stream: string;
  /** The member that takes the event time. */
  readonly timeField: string;
  /** The first that an event has names its key. */
  readonly keyFields: readonly string[];
  /** Inclusive, µs. */
  readonly fromUs: number | null;
  /** Exclusive, µs. */
  readonly toUs: number | null;
  readonly key: string | null;
}

export interface ResultsRequest extends PageRequest {
  readonly query: string;
  readonly fromUs: number | null;
  readonly toUs: number | null;
  readonly key: string | null;
  readonly kind: string | null;
  readonly revisions: "latest" | "all";
}

export interface LateRequest extends PageRequest {
  readonly stream: string;
  readonly timeField: string;
}

export interface AlertsRequest extends PageRequest {
  readonly alert: string | null;
  readonly state: string | null;
  readonly fromUs: number | null;
  readonly toUs: number | null;
  readonly key: string | null;
  readonly revisions: "latest" | "all";
}

export interface ListRequest extends PageRequest {
  /** null: of every stream. */
  readonly stream: string | null;
}

/**
 * What the API reads from the store.
 * @throws MillraceError E_CURSOR when `after` is not a cursor of that list.
 */
export interface HistoryReads {
  events(request: EventsRequest): Promise<Page>;
  results(request: ResultsRequest): Promise<Page>;
  late(request: LateRequest): Promise<Page>;
  alerts(request: AlertsRequest): Promise<Page>;
  deadLetters(request: ListRequest): Promise<Page>;
  losses(request: ListRequest): Promise<Page>;
  /** The keys of late events whose clocks a correction must know. */
  lateKeys(task: LateKeysTask): Promise<LateKeys>;
  /** A step of correcting windows by late events; writes nothing. */
  correct(task: CorrectionTask): Promise<CorrectionStep>;
}
