/** A block that waits. */
interface Waiting {
  readonly id: number;
  readonly rows: number;
  readonly bytes: number;
  readonly atUs: number;
}

interface Turn<T> {
  readonly id: number;
  readonly weight: number;
  readonly more: () => readonly T[];
  queue: readonly T[];
  at: number;
}

/** A step of priority doubles the share; 9 is the least important. */
const LEAST_PRIORITY = 9;

/**
 * Whose block is next, in shares by priority: start-time fair queueing (Goyal, Vin and Cheng, 1996). Each stream has a
 * virtual time that goes on by what it sent over its weight, and the one furthest behind is next; one that had nothing to
 * send does not save up for later. So no stream starves, and memory is a number a stream.
 */
export class StreamTurns<T extends Waiting = Waiting> {
  readonly #times = new Map<number, number>();
  #now = 0;
  #before: { readonly now: number; readonly times: [id: number, time: number][] } = { now: 0, times: [] };
  #turns: Turn<T>[] = [];
  #current: Turn<T> | null = null;

  begin(): void {
    this.#turns = [];
    this.#before = { now: this.#now, times: [] };
  }

  /** Nothing was sent after all: everybody stands where they stood at `begin`. */
  undo(): void {
    this.#now = this.#before.now;
    for (const [id, time] of this.#before.times) this.#times.set(id, time);
  }

  /** `more` gives the stream's next blocks, and none when there are no more. */
  add(id: number, priority: number, more: () => readonly T[]): void {
    const queue = more();
    if (queue.length === 0) return;
    const time = this.#times.get(id) ?? 0;
    this.#before.times.push([id, time]);
    this.#times.set(id, Math.max(time, this.#now));
    this.#turns.push({ id, weight: 2 ** (LEAST_PRIORITY - priority), more, queue, at: 0 });
  }

  /** The block whose turn it is, or null when nothing waits. */
  next(): T | null {
    this.#current = null;
    for (const turn of this.#turns)
      if (this.#current === null || this.#timeOf(turn) < this.#timeOf(this.#current)) this.#current = turn;
    const current = this.#current;
    return current === null ? null : current.queue[current.at]!;
  }

  /** Takes the block that `next` gave. */
  take(): void {
    const turn = this.#current;
    if (turn === null) return;
    const { id, weight } = turn;
    this.#now = this.#timeOf(turn);
    this.#times.set(id, this.#now + turn.queue[turn.at]!.bytes / weight);
    turn.at++;
    if (turn.at < turn.queue.length) return;
    turn.queue = turn.more();
    turn.at = 0;
    if (turn.queue.length === 0) this.#turns = this.#turns.filter((each) => each !== turn);
  }

  #timeOf({ id }: Turn<T>): number {
    return this.#times.get(id) ?? 0;
  }
}
