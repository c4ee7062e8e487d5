import type { StoredBlock } from "../messages.ts";
import type { MasterKeys } from "../seal/master-key.ts";
import type { AlertFilter } from "../store/alert-reader.ts";
import type { ResultCursor } from "../store/reader.ts";

/** Where an event stands: events are ordered by time (µs), then by block and row. */
export interface EventPosition {
  readonly timeUs: bigint;
  /** Of its block. */
  readonly seq: number;
  readonly row: number;
}

/** The last event given out, or with seq −1 the time from which on nothing was given out. */
export interface EventCursor extends EventPosition {
  /** Events of exactly `timeUs` given out so far: finds the place again once the block was merged into another. */
  readonly rank: number;
}

/** The last late event given out. */
export interface LateCursor {
  /** Of its block in the side output. */
  readonly id: number;
  readonly row: number;
}

export interface EventsTask {
  readonly stream: string;
  /** The member that takes the event time; may be a dot path. */
  readonly timeField: string;
  /** Fields any of which may hold `key`. */
  readonly keyFields: readonly string[];
  /** Inclusive, µs. */
  readonly fromUs: number | null;
  /** Exclusive, µs. */
  readonly toUs: number | null;
  readonly key: string | null;
  /** At least 1. */
  readonly limit: number;
  readonly after: EventCursor | null;
}

export interface LateTask {
  readonly stream: string;
  readonly timeField: string;
  readonly limit: number;
  readonly after: LateCursor | null;
}

export interface ResultsTask {
  readonly query: string;
  readonly fromUs: number | null;
  readonly toUs: number | null;
  /** The whole key as JSON text, or the text of one of its values. */
  readonly key: string | null;
  readonly kind: string | null;
  readonly revisions: "latest" | "all";
  readonly limit: number;
  readonly after: ResultCursor | null;
}

/** As the reader takes it. */
export type AlertsTask = AlertFilter;

/** Dead letters or losses; `after` is the last row's id. */
export interface ListTask {
  readonly stream: string | null;
  readonly limit: number;
  readonly after: number | null;
}

export interface MergeTask {
  readonly blocks: readonly StoredBlock[];
  readonly stream: string;
  /** Fields any of which may name an event's key. */
  readonly keyFields: readonly string[];
}

/** What is made of a stream's events when they become aggregates. */
export interface Downsampling {
  readonly stream: string;
  /** The first of these that has a value holds an event's key. */
  readonly keyFields: readonly string[];
  /** Length of the aggregates' time: whole, above 0 and below 2³². */
  readonly resolutionUs: number;
}

/** How many of the blocks given were taken in, and whether no more should be. */
export interface TakenBlocks {
  readonly taken: number;
  readonly isFull: boolean;
}

/** Aggregates of the events of the first `taken` of some blocks. */
export interface Downsampled {
  readonly into: StoredBlock;
  readonly taken: number;
}

/** A block that could not be read: its events are missing from the page. */
export interface SkippedBlock {
  /** `rows`: results, alerts or dead letters, `count` of them, that have no block. */
  readonly where: "log" | "late" | "rows";
  readonly stream: string;
  readonly seq: number;
  /** Events it is said to hold. */
  readonly count: number;
  readonly code: string;
  readonly message: string;
}

/** Rows as NDJSON, UTF-8. `next` is where the page ended, or null when nothing follows. */
export interface Page<Cursor> {
  readonly ndjson: Uint8Array<ArrayBuffer>;
  readonly next: Cursor | null;
  readonly skippedBlocks: readonly SkippedBlock[];
}

/** Errors lose their code on the way between threads, so expected ones cross as values. */
export interface QueryFailure {
  readonly failure: { readonly code: string; readonly message: string };
}

/** Characters of a page: it ends with the row that reaches them, whatever its limit of rows. */
export const MAX_PAGE_CHARACTERS = 32 * 1024 * 1024;

/** Rows of an encrypted store that do not open and were left out of a page. */
export function unopenedRows(count: number): SkippedBlock {
  const message = "rows were changed or moved since they were sealed, and were left out";
  return { where: "rows", stream: "", seq: 0, count, code: "E_SEAL", message };
}

export interface OpenTask {
  readonly dir: string;
  /** null: the data is not encrypted. */
  readonly masters: MasterKeys | null;
}
