import { MillraceError } from "./errors.ts";
import { answerPage, expected, type TextPage } from "./query/answer.ts";
import { BlockDecoder } from "./query/block-decoder.ts";
import { explainKind, explainRefusal, type Refusal } from "./query/correctable.ts";
import type { CorrectedQuery } from "./query/corrected-query.ts";
import { type Correction, type CorrectionTask, Corrector } from "./query/correction.ts";
import { ALERT_CURSOR, type CursorForm, ID_CURSOR, LATE_CURSOR, RESULT_CURSOR } from "./query/cursor.ts";
import { type LateKeys, type LateKeysTask, readLateKeys } from "./query/late-keys.ts";
import { readLate } from "./query/late-page.ts";
import { readAlerts, readDeadLetters, readLosses, readResults } from "./query/row-pages.ts";
import type * as tasks from "./query/tasks.ts";
import type { MasterKeys } from "./seal/master-key.ts";
import { Reader } from "./store/reader.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("query");

/** A task as it comes over HTTP: its cursor is the text that the page before gave out. */
type WithText<Task> = Omit<Task, "after"> & { readonly after: string | null };

export type ResultsTask = WithText<tasks.ResultsTask>;
export type LateTask = WithText<tasks.LateTask>;
export type AlertsTask = WithText<tasks.AlertsTask>;
export type ListTask = WithText<tasks.ListTask>;

export type Page = TextPage;

const codec = await portableCodec();
const decoder = new BlockDecoder(codec);
let reader: Reader | null = null;

/** Opens the database for reading. The storage thread makes it, so it must be there. */
export function open({ dir, masters }: tasks.OpenTask): tasks.QueryFailure | null {
  return expected(() => {
    reader?.close();
    reader = new Reader(dir, masters);
    return null;
  });
}

/** Keys that the storage thread is about to turn to. */
export function learnKeys(masters: MasterKeys): null {
  reader?.learnKeys(masters);
  return null;
}

export function results(task: ResultsTask): Page | tasks.QueryFailure {
  return page(task, RESULT_CURSOR, (store, after) => readResults(store, { ...task, after }));
}

/** Events set aside, by the blocks they came with. */
export function late(task: LateTask): Page | tasks.QueryFailure {
  return page(task, LATE_CURSOR, (store, after) => readLate(store, decoder, { ...task, after }));
}

export function alerts(task: AlertsTask): Page | tasks.QueryFailure {
  return page(task, ALERT_CURSOR, (store, after) => readAlerts(store, { ...task, after }));
}

export function deadLetters(task: ListTask): Page | tasks.QueryFailure {
  return page(task, ID_CURSOR, (store, after) => readDeadLetters(store, { ...task, after }));
}

export function losses(task: ListTask): Page | tasks.QueryFailure {
  return page(task, ID_CURSOR, (store, after) => readLosses(store, { ...task, after }));
}

/** A step of correcting windows by late events: what is to be written, and the queries that were left alone. */
export interface CorrectionStep extends Correction {
  readonly refused: readonly { readonly query: string; readonly reason: string }[];
}

/**
 * Computes windows of late events anew. While a query is left alone, no late block counts as done: its windows still
 * lack the events.
 */
export function correct(task: CorrectionTask): CorrectionStep | tasks.QueryFailure {
  return expected(() => {
    const store = openReader();
    return store.atOneMoment(() => {
      const { kept, refusals } = sortOut(store, task);
      const correction = new Corrector(store, codec, { ...task, queries: kept }).run();
      const refused = refusals.map(({ query, reason }) => ({ query, reason }));
      // Those that are never corrected hold no others up, as long as there are others.
      const isHeldUp =
        refusals.some(({ isForGood }) => !isForGood) || (kept.length === 0 && refused.length > 0);
      return isHeldUp ? { ...correction, refused, lateIds: [], events: 0 } : { ...correction, refused };
    });
  });
}

/** The queries that can be corrected, and why others cannot. */
function sortOut(
  store: Reader,
  { stream, queries, includesSkewed }: CorrectionTask,
): { readonly kept: CorrectedQuery[]; readonly refusals: readonly Refusal[] } {
  const types = store.typesByField(stream);
  const kept: CorrectedQuery[] = [];
  const refusals: Refusal[] = [];
  for (const query of queries) {
    const refusal = explainRefusal(query.plan, types, includesSkewed);
    if (refusal !== null) refusals.push(refusal);
    else kept.push(query);
    if (refusal === null) refusals.push(...refusalsAbove(query));
  }
  return { kept, refusals };
}

function refusalsAbove({ above }: CorrectedQuery): Refusal[] {
  return above.flatMap((query) => {
    const reason = explainKind(query.plan, true);
    return reason === null ? refusalsAbove(query) : [{ query: query.plan.name, reason, isForGood: true }];
  });
}

/** The keys of late events whose clocks a correction must know. */
export function lateKeys(task: LateKeysTask): LateKeys | tasks.QueryFailure {
  return expected(() => readLateKeys(openReader(), codec, task));
}

export function close(): void {
  reader?.close();
  reader = null;
}

function page<Cursor>(
  task: { readonly after: string | null; readonly limit: number },
  form: CursorForm<Cursor>,
  read: (store: Reader, after: Cursor | null) => tasks.Page<Cursor>,
): Page | tasks.QueryFailure {
  return answerPage(openReader, task, form, read);
}

function openReader(): Reader {
  if (reader === null) throw new MillraceError("E_STORE_CLOSED", "the store is not open for reading");
  return reader;
}
