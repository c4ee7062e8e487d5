import type { AlertRow, AlertState } from "../messages.ts";
import { type Episode, IDLE, type Phase, TOLD_ID } from "./machine.ts";

/** Where an open episode stood, as it was told. */
export interface StandingAlert
  extends Pick<AlertRow, "alert" | "definition" | "key" | "sinceUs" | "atUs" | "value" | "id" | "revision"> {
  readonly state: AlertState;
  /** Those to notify know of it. */
  readonly hasFired: boolean;
}

export function episodeOf({ sinceUs, atUs, state, value, id }: StandingAlert): Episode {
  return { sinceUs, origin: TOLD_ID + id, state, atUs, value };
}

/**
 * The phase of a key of which that was told. `rebuilt`: what the machine made of the samples that are left; it counts them, which no
 * step tells.
 */
export function phaseOf(standing: StandingAlert | undefined, rebuilt: Phase): Phase {
  if (standing === undefined || standing.state === "resolved") return IDLE;
  const episode = episodeOf(standing);
  if (standing.state === "firing") return { kind: "firing", episode };
  const isCounted = rebuilt.kind === "pending" && rebuilt.episode.sinceUs === standing.sinceUs;
  return { kind: "pending", episode, count: isCounted ? rebuilt.count : 1 };
}
