import type { QueryPlan, ResultsSetup, TableData } from "../messages.ts";
import type { MasterKeys } from "../seal/master-key.ts";

/** A query over what was stored before it was there. */
export interface BackfillTask {
  readonly dir: string;
  /** Left out when the data is not encrypted. */
  readonly masters?: MasterKeys | null;
  readonly plan: QueryPlan;
  readonly tables: readonly TableData[];
  /** Windows from this event time on; null: all. */
  readonly fromUs: number | null;
  readonly untilSeq: number;
  readonly watermarkUs: number | null;
  /** The query whose results are its events; null: it is from a stream. */
  readonly below: { readonly query: string; readonly results: ResultsSetup } | null;
}

/** What a backfill leaves to the live windows. */
export interface BackfillOutcome {
  readonly state: Uint8Array<ArrayBuffer>;
  /** Results of the query below that may still be revised, as `result-rows.ts` packs them; null: it is from a stream. */
  readonly waiting: string | null;
}
