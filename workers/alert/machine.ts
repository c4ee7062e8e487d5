import type { AlertPatience, AlertState } from "../messages.ts";

/**
 * One look at one key: a result row, or an event (whose start and end are its time). `isClear` is never true together
 * with `isTrue`. `origin` tells samples of one start apart: the window's end, or the event's place in the log.
 */
export interface Sample {
  readonly startUs: number;
  readonly endUs: number;
  readonly origin: string;
  readonly isTrue: boolean;
  readonly isClear: boolean;
  /** JSON text of an object. */
  readonly value: string;
}

/** Begins the `origin` of an episode whose samples are gone: behind it stands the id under which it was told. */
export const TOLD_ID = "id:";

/** An alert of a key as it stands: from its first sample on, in the state that the sample at `atUs` led to. */
export interface Episode {
  readonly sinceUs: number;
  readonly origin: string;
  readonly state: AlertState;
  readonly atUs: number;
  readonly value: string;
}

/** Where a key stands after its samples so far. `count`: samples in a row for which `when` was true. */
export type Phase =
  | { readonly kind: "idle" }
  | { readonly kind: "pending"; readonly episode: Episode; readonly count: number }
  | { readonly kind: "firing"; readonly episode: Episode };

export const IDLE: Phase = { kind: "idle" };

export interface Step {
  readonly phase: Phase;
  /** What changed, or null. */
  readonly change: Episode | null;
}

/**
 * The next sample of a key:
 *
 *   idle     when → pending, or firing when that one sample suffices
 *   pending  when → firing once it has been true for long enough; not when → resolved
 *   firing   clear → resolved; anything else changes nothing
 */
export function step(phase: Phase, sample: Sample, patience: AlertPatience): Step {
  switch (phase.kind) {
    case "idle":
      return sample.isTrue ? begin(sample, patience) : { phase, change: null };
    case "pending": {
      if (!sample.isTrue) return { phase: IDLE, change: changed(phase.episode, "resolved", sample) };
      const count = phase.count + 1;
      if (!suffices(patience, count, phase.episode.sinceUs, sample))
        return { phase: { ...phase, count }, change: null };
      const episode = changed(phase.episode, "firing", sample);
      return { phase: { kind: "firing", episode }, change: episode };
    }
    case "firing":
      return sample.isClear
        ? { phase: IDLE, change: changed(phase.episode, "resolved", sample) }
        : { phase, change: null };
  }
}

function begin(sample: Sample, patience: AlertPatience): Step {
  const { startUs: sinceUs, origin, endUs: atUs, value } = sample;
  const isEnough = suffices(patience, 1, sinceUs, sample);
  const episode: Episode = { sinceUs, origin, state: isEnough ? "firing" : "pending", atUs, value };
  return {
    phase: isEnough ? { kind: "firing", episode } : { kind: "pending", episode, count: 1 },
    change: episode,
  };
}

function suffices(patience: AlertPatience, count: number, sinceUs: number, { endUs }: Sample): boolean {
  return patience.kind === "samples" ? count >= patience.count : endUs - sinceUs >= patience.us;
}

function changed({ sinceUs, origin }: Episode, state: AlertState, { endUs: atUs, value }: Sample): Episode {
  return { sinceUs, origin, state, atUs, value };
}
