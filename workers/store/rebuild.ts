import type { Connection } from "./database.ts";

/** What windows that are made anew of the log alone must know: part of their events may be gone. */
export interface Rebuild {
  /** The newest event of each stream that is not held any more as it came; streams of which all are held are left out. */
  readonly gone: readonly { readonly stream: string; readonly goneUs: number }[];
  /** The newest end of a window of each query that was given when it closed. */
  readonly given: readonly { readonly query: string; readonly endUs: number }[];
  /** Up to this entry of the log all that came of it was stored before: steps of alerts too. 0: of none is that known. */
  readonly toldSeq: number;
}

const GONE = "SELECT name AS stream, gone_us AS goneUs FROM streams WHERE gone_us IS NOT NULL";
const GIVEN = "SELECT query, max(end_us) AS endUs FROM results WHERE kind <> 'early' GROUP BY query";

/** Reads all results where events are gone; that is seldom wanted. */
export function readRebuild(db: Connection, toldSeq: number): Rebuild {
  const gone = db.prepare(GONE).all() as Rebuild["gone"][number][];
  if (gone.length === 0) return { gone, given: [], toldSeq };
  return { gone, toldSeq, given: db.prepare(GIVEN).all() as Rebuild["given"][number][] };
}
