import { EventBackfill } from "./backfill/of-events.ts";
import { ResultBackfill } from "./backfill/of-results.ts";
import type { BackfillStep } from "./backfill/step.ts";
import type { BackfillOutcome, BackfillTask } from "./backfill/task.ts";
import { MillraceError } from "./errors.ts";
import { moveWith } from "./move.ts";
import { nameThread } from "./thread-name.ts";
import { portableCodec } from "./zstd.ts";

nameThread("backfill");

/** A backfill under way: a query over what was stored before it was there. It has a thread and a core of its own. */
let run: EventBackfill | ResultBackfill | null = null;
const codec = await portableCodec();

/** @returns how many blocks the first part has; 0 where there are none. */
export function begin(task: BackfillTask): number {
  run?.close();
  run = task.below === null ? new EventBackfill(codec, task) : new ResultBackfill(task, task.below);
  return run.count();
}

/** The first part. `finalUs`: of results, up to where they are final. */
export function byTime(finalUs: number | null): BackfillStep {
  return begun().byTime(finalUs);
}

/** Blocks behind the first part, up to an entry of the log. */
export function byLog(beforeSeq: number): BackfillStep {
  const current = begun();
  if (current instanceof EventBackfill) return current.byLog(beforeSeq);
  throw new MillraceError("E_BACKFILL", "results are not in the log");
}

/** The windows' state; the run ends. */
export function finish(): BackfillOutcome {
  const outcome = begun().finish();
  run?.close();
  run = null;
  return moveWith(outcome, [outcome.state.buffer]);
}

function begun(): EventBackfill | ResultBackfill {
  if (run === null) throw new MillraceError("E_BACKFILL", "no backfill was begun on this thread");
  return run;
}
