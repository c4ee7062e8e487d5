/** What an event goes through, in the order of its journey. Each runs on the thread named. */
export const STAGES = [
  /** main: sockets, HTTP, answers, handing over to other threads; all that this thread does beside the next and `emit` */
  "socket",
  /** main: bodies into buffers of their own, small ones into one */
  "copy",
  /** lane: bytes, decompressed if need be, into columns */
  "parse",
  /** lane: columns into a block */
  "encode",
  /** lane: zstd of the block */
  "compress",
  /** storage: the transaction and its fsync */
  "commit",
  /** lane: filters, derived fields, partial aggregates */
  "apply",
  /** window: partial aggregates merged by key */
  "merge",
  /** window: watermarks and firing; storage: rows of results, alerts and late events; main: publishing them */
  "emit",
] as const;
export type Stage = (typeof STAGES)[number];

/** Since the start: nanoseconds by the clock, and events that went through; of `emit`, rows of results. */
export interface StageTotals {
  readonly ns: Readonly<Record<Stage, number>>;
  readonly events: Readonly<Record<Stage, number>>;
}

const zeros = (): Record<Stage, number> =>
  Object.fromEntries(STAGES.map((stage) => [stage, 0])) as Record<Stage, number>;

/**
 * The budget of an event by stage. Counted by batch, never by event: a thread reads its clock when a batch enters and when
 * it leaves a stage. Waiting for a core or the disk within a stage counts; waiting between two does not.
 */
export class Stages {
  readonly #ns = zeros();
  readonly #events = zeros();
  readonly #busyMs: () => number;
  /** Of the stages that run on the main thread, on that thread. */
  #onMainNs = 0;
  #mainFromNs: number | null = null;

  /** @param busyMs for how long the main thread has not waited since its start */
  constructor(busyMs: () => number = () => performance.eventLoopUtilization().active) {
    this.#busyMs = busyMs;
  }

  add(stage: Stage, ns: number, events: number): void {
    this.#ns[stage] += ns;
    this.#events[stage] += events;
  }

  /** Time of the main thread since `startedMs` of its `performance.now`. */
  addOnMain(stage: "copy" | "emit", startedMs: number): void {
    const ns = (performance.now() - startedMs) * 1e6;
    this.#ns[stage] += ns;
    this.#onMainNs += ns;
  }

  /** Requests come from now on: before, the main thread had other things to do. */
  openDoor(): void {
    this.#mainFromNs = this.#restOfMainNs();
  }

  /** Never less than before. */
  read(): StageTotals {
    const rest = this.#mainFromNs === null ? 0 : this.#restOfMainNs() - this.#mainFromNs;
    this.#ns.socket = Math.max(this.#ns.socket, rest);
    return { ns: { ...this.#ns }, events: { ...this.#events } };
  }

  #restOfMainNs(): number {
    return this.#busyMs() * 1e6 - this.#onMainNs;
  }
}
