import { Tables } from "../core/tables.ts";
import type { QueryPlan, TableData } from "../messages.ts";
import type { Codec } from "../zstd.ts";
import { CHUNK_BLOCKS, type CorrectionStore, type LateSelection } from "./correction.ts";
import { Recomputation } from "./recomputation.ts";
import { StoredBatch } from "./stored-batch.ts";

export interface LateKeys {
  /** The last late block that was looked at. */
  readonly untilId: number;
  /** Of each query, in their order: its keys' bytes, as `Windows.clockUs` takes them. */
  readonly keys: readonly (readonly Uint8Array<ArrayBuffer>[])[];
}

export interface LateKeysTask extends LateSelection {
  readonly plans: readonly QueryPlan[];
  /** Those that the queries use. */
  readonly tables: readonly TableData[];
}

/** The keys, for each of the queries, of the late events that the next step of a correction looks at. */
export function readLateKeys(
  store: Pick<CorrectionStore, "lateToApply">,
  codec: Codec,
  task: LateKeysTask,
): LateKeys {
  const stored = new StoredBatch(codec);
  const tables = new Tables(stored.core);
  for (const table of task.tables) tables.load(table);
  const queries = task.plans.map((plan) => ({
    engine: new Recomputation(stored.core, plan, tables),
    keys: new Map<string, Uint8Array<ArrayBuffer>>(),
  }));
  let untilId = task.afterId;
  for (const { id, block } of store.lateToApply(
    task.stream,
    task.afterId,
    task.includesSkewed,
    CHUNK_BLOCKS,
  )) {
    untilId = id;
    if (!stored.open(block)) continue;
    stored.unskew();
    for (const { engine, keys } of queries)
      for (const { id: name, key } of engine.spans(stored.batch)) keys.set(name, key);
  }
  return { untilId, keys: queries.map(({ keys }) => [...keys.values()]) };
}
