import type { Logger } from "pino";
import type {
  NextRelayedTask,
  SettleRelayedTask,
  WaitingBatch,
} from "../../workers/store/relay-operations.ts";
import type { SyncClass } from "../../workers/store/sync-operations.ts";
import type { SyncConfig } from "../config/sync-config.ts";
import type { Clock } from "../pipeline/clock.ts";
import { type BreakerState, CircuitBreaker } from "../sync/circuit-breaker.ts";
import { URGENT } from "../sync/class-turns.ts";
import type { ForwardedBatch } from "../sync/hub-sink.ts";
import { jittered, retryDelayMs } from "../sync/retry-delay.ts";
import type { Delivery } from "../sync/sink.ts";
import { isWithin } from "../sync/time-windows.ts";

/** How often to look, when nothing says that there is something. */
const LOOK_MS = 500;
/** After the store failed. */
const STORE_RETRY_MS = 2_000;
const ALL: readonly SyncClass[] = [...URGENT, "results", "events"];

export interface RelayForwarderParts {
  readonly config: () => SyncConfig;
  readonly next: (task: NextRelayedTask) => Promise<WaitingBatch | null>;
  readonly settle: (outcomes: readonly SettleRelayedTask[]) => Promise<unknown>;
  readonly deliver: (batch: ForwardedBatch, signal: AbortSignal) => Promise<Delivery>;
  readonly probe: (signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
}

interface Trip {
  failures: number;
  /** Monotonic; of one that is under way, infinity. */
  dueMs: number;
}

export interface ForwarderStatus {
  readonly breaker: BreakerState;
  readonly underWay: number;
  readonly lastError: string | null;
  readonly lastErrorUs: number | null;
  readonly lastSuccessUs: number | null;
  /** Since the start. */
  readonly batches: number;
  readonly duplicates: number;
  readonly failures: number;
  readonly parked: number;
  readonly wireBytes: number;
}

/**
 * Sends on what other edges sent, as it came, under their names and keys: alerts first, then losses, results and stored
 * events, each the oldest first. What fails is sent again until the hub answers for it; what the hub will not have is set
 * aside. The line's cap and its times of day are the node's own.
 */
export class RelayForwarder {
  readonly #parts: RelayForwarderParts;
  readonly #random: () => number;
  readonly #stop = new AbortController();
  readonly #trips = new Map<number, Trip>();
  readonly #underWay = new Map<number, Promise<void>>();
  #breaker: CircuitBreaker;
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();
  #isRunning = false;
  #isStale = false;
  #lastProbeMs = Number.NEGATIVE_INFINITY;
  #lastError: string | null = null;
  #lastErrorUs: number | null = null;
  #lastSuccessUs: number | null = null;
  #counts = { batches: 0, duplicates: 0, failures: 0, parked: 0, wireBytes: 0 };

  constructor(parts: RelayForwarderParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
    this.#breaker = this.#makeBreaker();
  }

  wake(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isStale = true;
    if (!this.#isRunning) this.#turn = this.#run();
  }

  /** The settings are others: what waits is tried at once. */
  reconfigure(): void {
    this.#breaker = this.#makeBreaker();
    for (const [id, trip] of this.#trips) if (!this.#underWay.has(id)) trip.dueMs = 0;
    this.wake();
  }

  status(): ForwarderStatus {
    return {
      breaker: this.#breaker.state,
      underWay: this.#underWay.size,
      lastError: this.#lastError,
      lastErrorUs: this.#lastErrorUs,
      lastSuccessUs: this.#lastSuccessUs,
      ...this.#counts,
    };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#turn;
    await Promise.all(this.#underWay.values());
  }

  #makeBreaker(): CircuitBreaker {
    const { failures, openMs } = this.#parts.config().breaker;
    return new CircuitBreaker(failures, openMs, () => this.#parts.clock.monotonicMs());
  }

  async #run(): Promise<void> {
    let sleepMs = LOOK_MS;
    this.#isRunning = true;
    while (this.#isStale && !this.#stop.signal.aborted) {
      this.#isStale = false;
      try {
        await this.#probe();
        await this.#start();
        sleepMs = LOOK_MS;
      } catch (cause) {
        this.#parts.log.error({ err: cause }, "the relay could not read or write its store; it tries again");
        sleepMs = STORE_RETRY_MS;
      }
    }
    // At once, with nothing in between: whoever wakes it from here on finds it at rest.
    this.#isRunning = false;
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => this.wake(), jittered(sleepMs, this.#random));
  }

  /** While the breaker is open: whether the hub is back, so that nothing waits longer than it must. */
  async #probe(): Promise<void> {
    if (this.#breaker.state !== "open") return;
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs - this.#lastProbeMs < this.#parts.config().probeEveryMs) return;
    this.#lastProbeMs = nowMs;
    if (!(await this.#parts.probe(this.#stop.signal))) return;
    this.#breaker.close();
    for (const [id, trip] of this.#trips) if (!this.#underWay.has(id)) trip.dueMs = 0;
  }

  /** Begins as many as there is room for, and one more of what is urgent, as a node does for its own. */
  async #start(): Promise<void> {
    const { clock, config, next } = this.#parts;
    for (;;) {
      if (this.#stop.signal.aborted) return;
      const { concurrency, windows } = config();
      const room = this.#breaker.room(concurrency) - this.#underWay.size;
      if (room <= 0 && (room < 0 || this.#breaker.state !== "closed")) return;
      const nowMs = clock.monotonicMs();
      const except = [...this.#trips].filter(([, { dueMs }]) => dueMs > nowMs).map(([id]) => id);
      const isOpen = isWithin(windows, new Date(clock.nowUs() / 1_000));
      const classes = isOpen && room > 0 ? ALL : URGENT;
      const batch = await next({ classes, except });
      if (batch === null) return;
      const trip = this.#trips.get(batch.id) ?? { failures: 0, dueMs: 0 };
      trip.dueMs = Number.POSITIVE_INFINITY;
      this.#trips.set(batch.id, trip);
      const sent = this.#send(batch, trip).finally(() => {
        this.#underWay.delete(batch.id);
        this.wake();
      });
      this.#underWay.set(batch.id, sent);
    }
  }

  async #send(batch: WaitingBatch, trip: Trip): Promise<void> {
    const { deliver, clock, config, log } = this.#parts;
    const delivery = await this.#breaker.run(() => deliver(batch, this.#stop.signal));
    if (delivery.kind === "delivered") {
      this.#lastSuccessUs = clock.nowUs();
      this.#counts.batches++;
      if (delivery.isDuplicate) this.#counts.duplicates++;
      this.#counts.wireBytes += batch.body.length;
      await this.#settle(batch, trip, null);
      return;
    }
    if (this.#stop.signal.aborted) return;
    const { reason } = delivery;
    this.#counts.failures++;
    this.#lastError = reason;
    this.#lastErrorUs = clock.nowUs();
    const { edge, key } = batch;
    if (delivery.kind === "rejected") {
      this.#counts.parked++;
      log.error({ edge, key, reason }, "a batch of another edge was set aside: the hub will not have it");
      await this.#settle(batch, trip, reason);
      return;
    }
    trip.failures++;
    if (trip.failures === 1)
      log.warn({ edge, key, reason }, "a batch of another edge was not delivered; tried again");
    trip.dueMs =
      clock.monotonicMs() + retryDelayMs(trip.failures, config().retry, delivery.retryAfterMs, this.#random);
  }

  async #settle({ id }: WaitingBatch, trip: Trip, reason: string | null): Promise<void> {
    try {
      await this.#parts.settle([{ id, reason }]);
      this.#trips.delete(id);
    } catch (cause) {
      this.#parts.log.error({ err: cause }, "what became of a batch was not written; it is sent again");
      trip.dueMs = this.#parts.clock.monotonicMs() + STORE_RETRY_MS;
    }
  }
}
