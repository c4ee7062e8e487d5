import type { AlertPatience } from "../messages.ts";
import { type Episode, IDLE, type Phase, type Sample, step } from "./machine.ts";
import { phaseOf, type StandingAlert } from "./standing.ts";

/** Samples of a key that can be judged again at most: beyond them the oldest is settled, whatever may still come. */
export const MAX_OPEN_SAMPLES = 64;

/** A step to be told of. */
export interface Told {
  readonly episode: Episode;
  readonly revision: number;
  readonly isRetracted: boolean;
  /** It fires, or a step before said so. */
  readonly hasFired: boolean;
}

/** What was last told of an episode that may still change. `endUs`: of its first sample. */
interface TellTale extends Told {
  readonly endUs: number;
}

interface Place {
  readonly startUs: number;
  readonly endUs: number;
}

/** `isOutgrown`: its window will be retracted, however long ago it ended. */
interface OpenSample extends Sample {
  readonly isOutgrown?: true;
}

/** A history in a checkpoint. */
export interface SavedHistory {
  readonly base: Phase;
  readonly settled: Place | null;
  readonly samples: readonly OpenSample[];
  readonly told: readonly TellTale[];
}

/**
 * The samples of one key of an alert over results. Invariant: after every change, what was told last of every episode is
 * what the state machine makes of the samples in the order of their ends, each in its latest revision. Samples that can
 * no longer be revised are settled: only where the machine stood after them is kept.
 */
export class KeyHistory {
  readonly #patience: AlertPatience;
  /** After the settled samples. */
  #base: Phase = IDLE;
  #settled: Place | null = null;
  #samples: OpenSample[] = [];
  /** After all samples. */
  #phase: Phase = IDLE;
  #told: TellTale[] = [];

  constructor(patience: AlertPatience) {
    this.#patience = patience;
  }

  get phase(): Phase["kind"] {
    return this.#phase.kind;
  }

  /** Nothing that would be missed. */
  get isEmpty(): boolean {
    return this.#samples.length === 0 && this.#told.length === 0 && this.#base.kind === "idle";
  }

  /** Takes in a sample, or its revision. @returns what is to be told, or null when its place is settled. */
  put(sample: Sample): Told[] | null {
    if (this.#isSettled(sample)) return null;
    const last = this.#samples.at(-1);
    if (last === undefined || compare(last, sample) < 0) return this.#add(sample);
    const at = this.#samples.findIndex((other) => compare(other, sample) >= 0);
    const isRevision = compare(this.#samples[at]!, sample) === 0;
    this.#samples.splice(at, isRevision ? 1 : 0, sample);
    return this.#judgeAgain();
  }

  /** Takes in a sample that is final and comes behind all before it, whatever its times. */
  append(sample: Sample): Told[] {
    const told = this.#add(sample);
    this.settle(Number.POSITIVE_INFINITY);
    return told;
  }

  /** Takes a sample back. @returns what is to be told, or null when its place is settled. */
  remove(place: Place): Told[] | null {
    if (this.#isSettled(place)) return null;
    const at = this.#samples.findIndex((other) => compare(other, place) === 0);
    if (at < 0) return [];
    this.#samples.splice(at, 1);
    return this.#judgeAgain();
  }

  /** Keeps a sample, and those behind it, from being settled until it is removed. */
  keepOpen(place: Place): void {
    const at = this.#samples.findIndex((other) => compare(other, place) === 0);
    if (at >= 0) this.#samples[at] = { ...this.#samples[at]!, isOutgrown: true };
  }

  /** Settles samples that end at or before `beforeUs`, up to one that is kept open, and the oldest beyond the limit. */
  settle(beforeUs: number): void {
    let count = 0;
    while (count < this.#samples.length) {
      const sample = this.#samples[count]!;
      const isOpen = sample.endUs > beforeUs || sample.isOutgrown === true;
      if (isOpen && this.#samples.length - count <= MAX_OPEN_SAMPLES) break;
      this.#base = step(this.#base, sample, this.#patience).phase;
      this.#settled = { startUs: sample.startUs, endUs: sample.endUs };
      count++;
    }
    if (count > 0) this.#samples.splice(0, count);
    if (this.#told.length === 0) return;
    // What came of a sample that is kept open may change with it.
    const openUs = Math.min(beforeUs, (this.#samples[0]?.endUs ?? Number.POSITIVE_INFINITY) - 1);
    this.#told = this.#told.filter((told) => this.#mayChange(told, openUs));
  }

  /** Stands where it is known to have stood: samples may be missing. Those before are judged no more. */
  standAs(standing: StandingAlert | undefined): void {
    const last = this.#samples.at(-1);
    if (last !== undefined) this.#settled = { startUs: last.startUs, endUs: last.endUs };
    this.#base = phaseOf(standing, this.#phase);
    this.#phase = this.#base;
    this.#samples = [];
    this.#told = [];
    if (standing === undefined || this.#base.kind === "idle") return;
    const { sinceUs, atUs, revision, hasFired } = standing;
    this.#settled ??= { startUs: sinceUs, endUs: atUs };
    this.#told = [{ episode: this.#base.episode, revision, isRetracted: false, hasFired, endUs: atUs }];
  }

  save(): SavedHistory {
    return { base: this.#base, settled: this.#settled, samples: this.#samples, told: this.#told };
  }

  restore({ base, settled, samples, told }: SavedHistory): void {
    this.#base = base;
    this.#settled = settled;
    this.#samples = [...samples];
    this.#told = [...told];
    this.#phase = samples.reduce((phase, sample) => step(phase, sample, this.#patience).phase, base);
  }

  /** Takes in the last sample. */
  #add(sample: Sample): Told[] {
    this.#samples.push(sample);
    const { phase, change } = step(this.#phase, sample, this.#patience);
    this.#phase = phase;
    return change === null ? [] : this.#tell(change, sample.endUs);
  }

  /** Runs the machine over all open samples, and tells of every episode that came out otherwise than it was told. */
  #judgeAgain(): Told[] {
    const episodes = new Map<string, { episode: Episode; endUs: number }>();
    let phase = this.#base;
    if (phase.kind !== "idle") {
      const { episode } = phase;
      episodes.set(idOf(episode), { episode, endUs: Number.NEGATIVE_INFINITY });
    }
    for (const sample of this.#samples) {
      const { phase: next, change } = step(phase, sample, this.#patience);
      phase = next;
      if (change === null) continue;
      const known = episodes.get(idOf(change));
      episodes.set(idOf(change), { episode: change, endUs: known?.endUs ?? sample.endUs });
    }
    this.#phase = phase;
    const gone = this.#told.filter((told) => !told.isRetracted && !episodes.has(idOf(told.episode)));
    return [
      ...gone.flatMap((told) => this.#retract(told)),
      ...[...episodes.values()].flatMap(({ episode, endUs }) => this.#tell(episode, endUs)),
    ];
  }

  /** A step is told when the state or the sample that led to it changed: another value alone is no news. */
  #tell(episode: Episode, endUs: number): Told[] {
    const at = this.#told.findIndex((told) => idOf(told.episode) === idOf(episode));
    const before = this.#told[at];
    if (before !== undefined && !before.isRetracted && isAlike(before.episode, episode)) return [];
    const told: TellTale = {
      episode,
      endUs: before?.endUs ?? endUs,
      revision: before === undefined ? 0 : before.revision + 1,
      isRetracted: false,
      hasFired: before?.hasFired === true || episode.state === "firing",
    };
    if (at < 0) this.#told.push(told);
    else this.#told[at] = told;
    return [told];
  }

  #retract(before: TellTale): Told[] {
    const episode: Episode = { ...before.episode, state: "resolved" };
    const told: TellTale = { ...before, episode, revision: before.revision + 1, isRetracted: true };
    this.#told[this.#told.indexOf(before)] = told;
    return [told];
  }

  #mayChange({ episode, endUs }: TellTale, beforeUs: number): boolean {
    if (this.#base.kind !== "idle" && idOf(this.#base.episode) === idOf(episode)) return true;
    return endUs > beforeUs && !this.#isSettled({ startUs: episode.sinceUs, endUs });
  }

  #isSettled(place: Place): boolean {
    return this.#settled !== null && compare(place, this.#settled) <= 0;
  }
}

function compare(a: Place, b: Place): number {
  return a.endUs - b.endUs || a.startUs - b.startUs;
}

function idOf({ sinceUs, origin }: Episode): string {
  return `${sinceUs} ${origin}`;
}

function isAlike(a: Episode, b: Episode): boolean {
  return a.state === b.state && a.atUs === b.atUs;
}
