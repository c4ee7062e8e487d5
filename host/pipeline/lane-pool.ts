import type { Logger } from "pino";
import type { Clock } from "./clock.ts";
import type { Lane } from "./lane.ts";
import { type Demand, LaneDemand } from "./lane-demand.ts";

/** While there are more lanes than at rest, they are looked at so often, whether tasks come or not. */
const LOOK_MS = 1_000;

/** What the pool does with a lane. */
export type PooledLane = Pick<Lane, "busy" | "tables" | "ready" | "loadTable" | "close" | "onFree">;

export interface LanePoolParts<L> {
  /** Lanes that are always there, at least 1. */
  readonly least: number;
  /** Lanes that there may be, while tasks wait for one another. */
  readonly most: number;
  readonly make: () => L;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * The ingest lanes: those that are always there, and more while there is work for them (`LaneDemand`). A lane that is not needed would
 * take some 15 MB for nothing.
 *
 * Invariant: every lane in `running` has all reference tables that the others have, before its first task.
 */
export class LanePool<L extends PooledLane = Lane> {
  readonly #parts: LanePoolParts<L>;
  readonly #running: L[];
  readonly #demand = new LaneDemand();
  /** One that is being started, or ended: there is no second at a time. */
  #changing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;
  /** How many tasks would be done if there was a free lane. */
  waiting: () => number = () => 0;
  /** Told whenever a lane has become free, or has come. */
  onFree: (() => void) | null = null;
  /** Lanes started because of waiting tasks. */
  added = 0;

  constructor(parts: LanePoolParts<L>) {
    this.#parts = parts;
    this.#running = Array.from({ length: parts.least }, () => this.#make());
  }

  /** Those that take tasks, never none. The list stays the same while what is in it changes: who keeps it sees the changes. */
  get running(): readonly L[] {
    return this.#running;
  }

  /** To be called when a task has come; that one has gone is seen here. */
  note(): void {
    if (this.#parts.most === this.#parts.least) return;
    const tasks = this.#running.reduce((sum, { busy }) => sum + busy, this.waiting());
    this.#follow(this.#demand.note(this.#parts.clock.monotonicMs(), this.#running.length, tasks));
  }

  /** Ends all lanes; what is under way on them fails. */
  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#changing;
    await Promise.all(this.#running.map((lane) => lane.close()));
  }

  #make(): L {
    const lane = this.#parts.make();
    lane.onFree = () => {
      this.note();
      this.onFree?.();
    };
    return lane;
  }

  #follow(demand: Demand): void {
    if (this.#changing !== null || this.#isClosed) return;
    const { least, most } = this.#parts;
    if (demand === "more" && this.#running.length < most) this.#begin(this.#add());
    if (demand === "fewer" && this.#running.length > least) this.#begin(this.#end());
  }

  #begin(change: Promise<void>): void {
    this.#changing = change
      .catch((cause: unknown) => this.#parts.log.warn({ err: cause }, "an ingest thread did not end"))
      .finally(() => {
        this.#changing = null;
      });
  }

  async #add(): Promise<void> {
    const { log } = this.#parts;
    const lane = this.#make();
    try {
      await lane.ready();
      // Tables that are loaded meanwhile are missing at the next look; behind the last look there is no turn in which one could be.
      for (let missing = this.#missingIn(lane); missing.length > 0; missing = this.#missingIn(lane)) {
        await Promise.all(missing.map((table) => lane.loadTable(table)));
      }
    } catch (cause) {
      log.warn({ err: cause }, "an ingest thread could not be added; those that are there go on");
      await lane.close();
      return;
    }
    if (this.#isClosed) return lane.close();
    this.#running.push(lane);
    this.added++;
    log.info({ lanes: this.#running.length }, "an ingest thread was added: requests waited for one another");
    this.#timer ??= setInterval(() => this.note(), LOOK_MS).unref();
    this.onFree?.();
  }

  #missingIn(lane: L): Parameters<L["loadTable"]>[0][] {
    return [...this.#running[0]!.tables.values()].filter((table) => lane.tables.get(table.name) !== table);
  }

  /** The last that came, once it has done what it was given. */
  async #end(): Promise<void> {
    const lane = this.#running.pop();
    if (lane === undefined) return;
    if (this.#running.length === this.#parts.least && this.#timer !== null) {
      clearInterval(this.#timer);
      this.#timer = null;
    }
    if (lane.busy > 0) {
      await new Promise<void>((resolve) => {
        lane.onFree = () => {
          this.onFree?.();
          if (lane.busy === 0) resolve();
        };
      });
    }
    // Tables may still be on their way to it, and who waits until all lanes have them would hear of a failure. A lost thread has none.
    await lane.ready().catch(() => undefined);
    await lane.close();
    this.#parts.log.info({ lanes: this.#running.length }, "an ingest thread was ended: the others suffice");
  }
}
