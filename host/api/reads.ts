/** A page of NDJSON, and where the next one starts. */
export interface Page {
  readonly ndjson: Uint8Array;
  readonly next: string | null;
}

export interface EventsRequest {
  readonly stream: string;
  readonly timeField: string;
  readonly keyFields: readonly string[];
  readonly fromUs: number | null;
  readonly toUs: number | null;
  readonly key: string | null;
  readonly limit: number;
  readonly after: string | null;
}

export interface ResultsRequest {
  readonly query: string;
  readonly fromUs: number | null;
  readonly toUs: number | null;
  readonly key: string | null;
  readonly kind: string | null;
  readonly revisions: "latest" | "all";
  readonly limit: number;
  readonly after: string | null;
}

export interface ListRequest {
  readonly stream: string | null;
  readonly limit: number;
  readonly after: string | null;
}

/** What the API reads from the store. */
export interface HistoryReads {
  events(request: EventsRequest): Promise<Page>;
  results(request: ResultsRequest): Promise<Page>;
  late(request: { stream: string; timeField: string; limit: number; after: string | null }): Promise<Page>;
  deadLetters(request: ListRequest): Promise<Page>;
  losses(request: ListRequest): Promise<Page>;
}
