/** Seconds over which a rate is taken. */
const WINDOW_SECONDS = 10;

/** Events a second over the last ten whole seconds. Cost: O(1) an `add`, ten numbers of memory. */
export class RateMeter {
  readonly #counts = new Float64Array(WINDOW_SECONDS + 1);
  #second = 0;

  add(count: number, nowMs: number): void {
    this.#roll(nowMs);
    const slot = this.#second % this.#counts.length;
    this.#counts[slot] = (this.#counts[slot] ?? 0) + count;
  }

  perSecond(nowMs: number): number {
    this.#roll(nowMs);
    const current = this.#counts[this.#second % this.#counts.length] ?? 0;
    return (this.#counts.reduce((sum, count) => sum + count, 0) - current) / WINDOW_SECONDS;
  }

  #roll(nowMs: number): void {
    const second = Math.floor(nowMs / 1000);
    const passed = Math.min(second - this.#second, this.#counts.length);
    for (let i = 1; i <= passed; i++) this.#counts[(second - passed + i) % this.#counts.length] = 0;
    if (second > this.#second) this.#second = second;
  }
}
