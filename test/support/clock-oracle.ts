/** An event as the clocks see it. Times in µs. */
export interface ClockEvent {
  readonly source: string;
  readonly timeUs: number;
  readonly isSkewed: boolean;
}

export type ClockEntry =
  | { readonly kind: "block"; readonly arrivalUs: number; readonly events: readonly ClockEvent[] }
  | { readonly kind: "watermark"; readonly timeUs: number }
  | { readonly kind: "tick"; readonly atUs: number; readonly isResume: boolean };

/** A stream's watermark per source the slow way: at each step, everything anew from all sources. */
export class ClockOracle {
  readonly #boundUs: number;
  readonly #idleUs: number;
  readonly #sources = new Map<string, { maxUs: number; seenUs: number }>();
  #nowUs = Number.NEGATIVE_INFINITY;
  watermarkUs = Number.NEGATIVE_INFINITY;

  constructor(boundUs: number, idleUs: number) {
    this.#boundUs = boundUs;
    this.#idleUs = idleUs;
  }

  apply(entry: ClockEntry): void {
    if (entry.kind === "watermark") {
      this.watermarkUs = Math.max(this.watermarkUs, entry.timeUs);
      return;
    }
    const active = this.#active();
    this.#nowUs = Math.max(this.#nowUs, entry.kind === "block" ? entry.arrivalUs : entry.atUs);
    if (entry.kind === "tick" && entry.isResume) for (const source of active) source.seenUs = this.#nowUs;
    if (entry.kind === "block") for (const event of entry.events) this.#see(event);
    this.watermarkUs = Math.max(this.watermarkUs, this.#allowed());
  }

  /** Whether time going on to then moves the watermark. */
  wouldMove(atUs: number): boolean {
    if (atUs <= this.#nowUs) return false;
    const before = this.#nowUs;
    this.#nowUs = atUs;
    const allowed = this.#allowed();
    this.#nowUs = before;
    return allowed > this.watermarkUs;
  }

  get activeCount(): number {
    return this.#active().length;
  }

  #see({ source, timeUs, isSkewed }: ClockEvent): void {
    if (isSkewed) return;
    const before = this.#sources.get(source)?.maxUs ?? Number.NEGATIVE_INFINITY;
    this.#sources.set(source, { maxUs: Math.max(before, timeUs), seenUs: this.#nowUs });
  }

  #active(): { maxUs: number; seenUs: number }[] {
    return [...this.#sources.values()].filter(({ seenUs }) => this.#nowUs - seenUs < this.#idleUs);
  }

  /** The least of the active sources; of all the greatest when none is active. */
  #allowed(): number {
    const active = this.#active();
    const times = (active.length > 0 ? active : [...this.#sources.values()]).map(({ maxUs }) => maxUs);
    if (times.length === 0) return Number.NEGATIVE_INFINITY;
    return (active.length > 0 ? Math.min(...times) : Math.max(...times)) - this.#boundUs;
  }
}
