import type {
  ClaimAnswer,
  ClaimedBatch,
  ClaimTask,
  SyncAdvance,
  SyncOutcome,
  SyncStep,
} from "../../workers/store/sync-operations.ts";

export interface SyncBooks {
  readonly claim: (task: ClaimTask) => ClaimAnswer;
  readonly settle?: (outcomes: readonly SyncOutcome[]) => readonly ClaimedBatch[];
}

/** In the place of a store, what it answers to each step of a sink's way. */
export function advancing({ claim, settle }: SyncBooks): (step: SyncStep) => Promise<SyncAdvance> {
  return async ({ outcomes, claims, mustSettle }) => {
    const answers: ClaimAnswer[] = [];
    for (const task of claims) {
      const answer = claim(task);
      answers.push(answer);
      if (answer.kind === "claimed") break;
    }
    const isSettled = mustSettle || answers.at(-1)?.kind === "claimed";
    const resumed = isSettled ? (settle?.(outcomes) ?? []) : [];
    return { answers, isSettled: isSettled || outcomes.length === 0, resumed };
  };
}
