import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type {
  ClaimAnswer,
  ClaimedBatch,
  ClaimTask,
  SyncClass,
  SyncOutcome,
} from "../../workers/store/sync-operations.ts";
import type { PackedBatch } from "../../workers/sync.ts";
import type { DeliveryConfig } from "../config/sync-config.ts";
import type { Clock } from "../pipeline/clock.ts";
import { BatchGrowth } from "./batch-growth.ts";
import { type BreakerState, CircuitBreaker } from "./circuit-breaker.ts";
import { ClassTurns, isUrgent } from "./class-turns.ts";
import { LineQuality } from "./line-quality.ts";
import { jittered, retryDelayMs, shortened } from "./retry-delay.ts";
import type { Delivery, Sink } from "./sink.ts";
import { isWithin } from "./time-windows.ts";

/** How often to look for something new to send, when nothing says that there is. */
const LOOK_MS = 500;
/**
 * After a batch that took all there was, the next of its class is made no sooner: each costs claims, a request and two
 * commits, which under a steady flow would be for a block or two.
 */
const LULL_MS = 250;
/** Alerts do not wait for company. */
const URGENT_MS = 0;
/** After the store failed. */
const STORE_RETRY_MS = 2_000;

export interface SinkRunnerParts {
  readonly sink: Sink;
  readonly config: DeliveryConfig;
  readonly claim: (task: ClaimTask) => Promise<ClaimAnswer>;
  readonly settle: (outcomes: readonly SyncOutcome[]) => Promise<readonly ClaimedBatch[]>;
  readonly pack: (batch: ClaimedBatch) => Promise<PackedBatch>;
  /** Batches that were not settled when the node ended. */
  readonly unsettled: readonly ClaimedBatch[];
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
}

/** A batch on its way, and how it has gone so far. */
interface Trip {
  readonly batch: ClaimedBatch;
  /** Attempts in a row that failed, whoever was at fault. */
  failures: number;
  strikes: number;
  /** Monotonic. */
  dueMs: number;
  /** Deliveries of others before its last failure: more of them since, and the next failure is a strike. */
  successesBefore: number;
}

export interface SinkStatus {
  readonly sink: string;
  readonly state: "idle" | "sending" | "waiting" | "unreachable" | "paused";
  readonly breaker: BreakerState;
  readonly breakerOpened: number;
  readonly underWay: number;
  /** Batches that stepped aside. */
  readonly aside: number;
  readonly lastError: string | null;
  readonly lastErrorUs: number | null;
  readonly lastSuccessUs: number | null;
  /** Since the start. */
  readonly batches: number;
  readonly duplicates: number;
  readonly failures: number;
  readonly parked: number;
  readonly wireBytes: number;
  readonly rows: Readonly<Record<SyncClass, number>>;
}

/**
 * Sends to one sink. A batch that fails keeps its place, so that nothing overtakes a line that is merely bad, and steps
 * aside after `retry.aside` failures, so that it blocks nobody. Failures count against a batch only when others went
 * through meanwhile, and by how bad the line is: neither an outage of days nor a line that fails nine of ten parks anything.
 * What the sink refuses is taken apart until what is bad stands alone, and that is parked.
 */
export class SinkRunner {
  readonly #parts: SinkRunnerParts;
  readonly #random: () => number;
  #config: DeliveryConfig;
  #breaker: CircuitBreaker;
  #growth: Readonly<Record<SyncClass, BatchGrowth>>;
  readonly #turns = new ClassTurns();
  readonly #stop = new AbortController();
  readonly #underWay = new Map<number, Promise<void>>();
  /** Batches with a place that wait for their next attempt, and those without. */
  readonly #held = new Set<Trip>();
  readonly #aside = new Set<Trip>();
  /** Monotonic: when the next batch of a class may be made. */
  readonly #lulls = new Map<SyncClass, number>();
  /** How old the oldest of the next batch of a class may be: windows of a whole fleet end on the same second. */
  readonly #ages = new Map<SyncClass, number>();
  readonly #line = new LineQuality();
  #outcomes: SyncOutcome[] = [];
  #timer: NodeJS.Timeout | null = null;
  #probeTimer: NodeJS.Timeout | null = null;
  #turn: Promise<void> | null = null;
  #isStale = false;
  #successes = 0;
  #isPaused = false;
  #lastError: string | null = null;
  #lastErrorUs: number | null = null;
  #lastSuccessUs: number | null = null;
  #counts = { batches: 0, duplicates: 0, failures: 0, parked: 0, wireBytes: 0 };
  readonly #rows: Record<SyncClass, number> = { alerts: 0, losses: 0, attributes: 0, results: 0, events: 0 };

  constructor(parts: SinkRunnerParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
    this.#config = parts.config;
    this.#breaker = this.#makeBreaker();
    this.#growth = growthOf(parts.config);
    for (const unsettled of parts.unsettled) this.resume(unsettled);
  }

  /** Goes on by other settings. Batches under way end as they began; those that wait are tried at once. */
  reconfigure(config: DeliveryConfig): void {
    const opened = this.#breaker.opened;
    this.#config = config;
    this.#breaker = this.#makeBreaker();
    this.#breaker.opened = opened;
    this.#growth = growthOf(config);
    this.#ages.clear();
    for (const trip of [...this.#held, ...this.#aside]) trip.dueMs = Number.NEGATIVE_INFINITY;
    this.wake();
  }

  /** Takes up a batch that was claimed before. */
  resume(batch: ClaimedBatch): void {
    const isHeld = batch.isHeld === true;
    if (isHeld) this.#tellHeld(batch);
    const heldMs = jittered(this.#config.retry.longestMs, this.#random);
    this.#aside.add({
      batch,
      failures: 0,
      strikes: batch.strikes,
      dueMs: isHeld ? this.#parts.clock.monotonicMs() + heldMs : Number.NEGATIVE_INFINITY,
      successesBefore: this.#successes,
    });
  }

  /** Looks for something to send. */
  wake(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#isStale = true;
    this.#turn ??= this.#run().finally(() => {
      this.#turn = null;
    });
  }

  status(): SinkStatus {
    const underWay = this.#underWay.size;
    const breaker = this.#breaker.state;
    const isWaiting = this.#held.size + this.#aside.size > 0;
    const busy = underWay > 0 ? "sending" : this.#isPaused ? "paused" : isWaiting ? "waiting" : "idle";
    return {
      sink: this.#parts.sink.name,
      state: breaker === "closed" ? busy : "unreachable",
      breaker,
      breakerOpened: this.#breaker.opened,
      underWay,
      aside: this.#aside.size,
      lastError: this.#lastError,
      lastErrorUs: this.#lastErrorUs,
      lastSuccessUs: this.#lastSuccessUs,
      ...this.#counts,
      rows: { ...this.#rows },
    };
  }

  /** Gives up attempts under way, which are made again after a restart. */
  async close(): Promise<void> {
    this.#stop.abort();
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#probeTimer !== null) clearTimeout(this.#probeTimer);
    await this.#turn;
    await Promise.all(this.#underWay.values());
    await this.#flush().catch(() => undefined);
    await this.#parts.sink.close();
  }

  #tellHeld({ id, class: kind, reason }: ClaimedBatch): void {
    const { log, sink } = this.#parts;
    const why = "as many are parked as may be (limits.maxParked, maxParkedBytes)";
    // It was counted when it was handed over to be parked.
    this.#counts.parked--;
    this.#lastError = `${why}; retry them (POST /v1/dlq/replay) or raise the limit: ${reason}`;
    log.error({ sink: sink.name, batch: id, class: kind, reason }, `a batch is not parked but held: ${why}`);
  }

  #makeBreaker(): CircuitBreaker {
    const { breaker } = this.#config;
    return new CircuitBreaker(breaker.failures, breaker.openMs, () => this.#parts.clock.monotonicMs());
  }

  async #run(): Promise<void> {
    let sleepMs = LOOK_MS;
    while (this.#isStale && !this.#stop.signal.aborted) {
      this.#isStale = false;
      try {
        await this.#flush();
        await this.#start();
        sleepMs = LOOK_MS;
      } catch (cause) {
        this.#parts.log.error({ err: cause }, "sync could not read or write its store; it tries again");
        sleepMs = STORE_RETRY_MS;
      }
    }
    if (this.#stop.signal.aborted) return;
    const isLull = [...this.#lulls.values()].some((endMs) => endMs > this.#parts.clock.monotonicMs());
    const waitMs = isLull ? Math.min(sleepMs, LULL_MS) : sleepMs;
    this.#timer = setTimeout(() => this.wake(), jittered(waitMs, this.#random));
  }

  async #flush(): Promise<void> {
    const outcomes = this.#outcomes;
    if (outcomes.length === 0) return;
    this.#outcomes = [];
    try {
      for (const batch of await this.#parts.settle(outcomes)) this.resume(batch);
    } catch (cause) {
      this.#outcomes = [...outcomes, ...this.#outcomes];
      throw cause;
    }
  }

  /** Begins as many attempts as there is room for, and one more of what is urgent: on a slow line large ones take their time. */
  async #start(): Promise<void> {
    const { concurrency } = this.#config;
    for (;;) {
      if (this.#stop.signal.aborted) return;
      const room = this.#breaker.room(concurrency) - this.#underWay.size;
      if (room <= 0 && (room < 0 || this.#breaker.state !== "closed")) return;
      const trip = await this.#next(room <= 0);
      if (trip === null) return;
      this.#held.delete(trip);
      this.#aside.delete(trip);
      const { id } = trip.batch;
      const sent = this.#send(trip).finally(() => {
        this.#underWay.delete(id);
        this.wake();
      });
      this.#underWay.set(id, sent);
    }
  }

  async #next(isUrgentOnly: boolean): Promise<Trip | null> {
    const [{ clock }, config] = [this.#parts, this.#config];
    const nowMs = clock.monotonicMs();
    const isOpen = isWithin(config.windows, new Date(clock.nowUs() / 1_000));
    this.#isPaused = !isOpen;
    const order = this.#turns.order(isOpen).filter((kind) => !isUrgentOnly || isUrgent(kind));
    const isUp = this.#breaker.state === "closed";
    // While the line is bad, what was begun is tried before anything else is taken.
    const due = [...this.#held, ...this.#aside].filter(
      ({ dueMs, batch }) => (dueMs <= nowMs || !isUp) && order.includes(batch.class),
    );
    if (!isUp && due.length > 0) return first(due, order);
    const hasPlace = this.#held.size + this.#underWay.size < config.concurrency;
    for (const kind of order) {
      const trip = first(
        due.filter(({ batch }) => batch.class === kind),
        order,
      );
      if (trip !== null) return trip;
      if (!hasPlace && !isUrgent(kind)) continue;
      const claimed = await this.#claim(kind, isUrgent(kind) ? URGENT_MS : config.batch.everyMs);
      if (claimed !== null) return claimed;
    }
    return null;
  }

  async #claim(kind: SyncClass, everyMs: number): Promise<Trip | null> {
    const [{ sink, claim, clock }, config] = [this.#parts, this.#config];
    if ((this.#lulls.get(kind) ?? 0) > clock.monotonicMs()) {
      this.#turns.idle(kind);
      return null;
    }
    const enough = { rows: config.batch.events, bytes: config.batch.bytes };
    const grown = this.#growth[kind].size;
    const most = sink.largestBytes?.() ?? grown.bytes;
    const size = { rows: grown.rows, bytes: Math.min(grown.bytes, most) };
    const ageMs = this.#ages.get(kind) ?? shortened(everyMs, this.#random);
    this.#ages.set(kind, ageMs);
    const olderThanUs = clock.nowUs() - Math.round(ageMs * 1_000);
    const answer = await claim({ sink: sink.name, class: kind, size, enough, olderThanUs });
    if (answer.kind !== "claimed") {
      this.#turns.idle(kind);
      return null;
    }
    const { batch, isFull } = answer;
    this.#ages.delete(kind);
    if (!isFull && everyMs > URGENT_MS) this.#lulls.set(kind, clock.monotonicMs() + LULL_MS);
    this.#growth[kind].claimed(isFull);
    this.#turns.sent(kind, batch.bytes);
    return {
      batch,
      failures: 0,
      strikes: 0,
      dueMs: Number.NEGATIVE_INFINITY,
      successesBefore: this.#successes,
    };
  }

  async #send(trip: Trip): Promise<void> {
    const { sink, pack, clock } = this.#parts;
    const { batch } = trip;
    let packed: PackedBatch;
    try {
      packed = await pack(batch);
    } catch (cause) {
      this.#refuse(trip, cause instanceof Error ? cause.message : String(cause), isStoreTrouble(cause));
      return;
    }
    if (packed.items === 0) {
      this.#outcomes.push({ kind: "delivered", batch: batch.id });
      return;
    }
    const startedMs = clock.monotonicMs();
    const delivery = await this.#breaker.run(() =>
      sink.deliver({ ...packed, claimed: batch }, this.#stop.signal),
    );
    const isFirst = trip.failures + trip.strikes === 0;
    if (isFirst && !this.#stop.signal.aborted)
      this.#line.firstAttempt(delivery.kind === "unreachable" ? "failed" : "came-through");
    if (delivery.kind === "delivered") {
      this.#growth[batch.class].delivered(clock.monotonicMs() - startedMs);
      this.#succeed(trip, packed, delivery);
    } else if (!this.#stop.signal.aborted) {
      if (delivery.kind === "rejected") this.#refuse(trip, delivery.reason, false);
      else this.#fail(trip, delivery);
    }
  }

  #succeed(
    { batch }: Trip,
    { rows, sums = [], body, tables }: PackedBatch,
    { isDuplicate }: Delivery & { kind: "delivered" },
  ): void {
    this.#successes++;
    this.#lastSuccessUs = this.#parts.clock.nowUs();
    this.#counts.batches++;
    if (isDuplicate) this.#counts.duplicates++;
    this.#counts.wireBytes += tables.reduce((sum, table) => sum + table.body.length, body.length);
    this.#rows[batch.class] += rows;
    this.#outcomes.push({ kind: "delivered", batch: batch.id, sums });
  }

  #fail(trip: Trip, { reason, retryAfterMs }: Delivery & { kind: "unreachable" }): void {
    const [{ clock, log }, config] = [this.#parts, this.#config];
    const { batch } = trip;
    this.#remember(reason);
    trip.failures++;
    if (this.#successes > trip.successesBefore) trip.strikes++;
    trip.successesBefore = this.#successes;
    if (trip.strikes >= this.#line.failuresThatTell(config.retry.attempts)) {
      this.#refuse(trip, `failed ${trip.strikes} times while others went through: ${reason}`, false);
      return;
    }
    const waitMs = retryDelayMs(trip.failures, config.retry, retryAfterMs, this.#random);
    trip.dueMs = clock.monotonicMs() + waitMs;
    (trip.failures < config.retry.aside ? this.#held : this.#aside).add(trip);
    const what = { sink: this.#parts.sink.name, batch: batch.id, failures: trip.failures, reason };
    if (trip.failures === 1 || trip.failures === config.retry.aside)
      log.warn(what, "a batch was not delivered; it is tried again");
    if (trip.strikes > 0) {
      const nextAtUs = clock.nowUs() + Math.ceil(waitMs * 1_000);
      this.#outcomes.push({ kind: "failed", batch: batch.id, strikes: trip.strikes, nextAtUs, reason });
    }
    if (this.#breaker.state !== "closed") this.#probeSoon();
  }

  /** It would not be taken the next time either: what of it is bad must be found, or is. */
  #refuse(trip: Trip, reason: string, isStore: boolean): void {
    const { log, clock, sink } = this.#parts;
    const { batch } = trip;
    this.#remember(reason);
    if (isStore) {
      trip.dueMs = clock.monotonicMs() + STORE_RETRY_MS;
      this.#aside.add(trip);
    } else if (batch.items > 1) {
      log.warn({ sink: sink.name, batch: batch.id, items: batch.items, reason }, "a batch is taken apart");
      this.#outcomes.push({ kind: "split", batch: batch.id, reason });
    } else {
      this.#counts.parked++;
      log.error({ sink: sink.name, batch: batch.id, class: batch.class, reason }, "a batch was parked");
      this.#outcomes.push({ kind: "parked", batch: batch.id, reason, atUs: clock.nowUs() });
    }
  }

  #remember(reason: string): void {
    this.#counts.failures++;
    this.#lastError = reason;
    this.#lastErrorUs = this.#parts.clock.nowUs();
  }

  /** While the breaker is open, somebody looks whether the sink is back, so that nothing waits longer than it must. */
  #probeSoon(): void {
    if (this.#stop.signal.aborted || this.#probeTimer !== null) return;
    const [{ sink }, config] = [this.#parts, this.#config];
    this.#probeTimer = setTimeout(
      () => {
        void sink.probe(this.#stop.signal).then((isThere) => {
          this.#probeTimer = null;
          if (isThere) {
            this.#breaker.close();
            for (const trip of [...this.#held, ...this.#aside]) trip.dueMs = Number.NEGATIVE_INFINITY;
          }
          if (this.#breaker.state === "open") this.#probeSoon();
          this.wake();
        });
      },
      jittered(config.probeEveryMs, this.#random),
    );
  }
}

function growthOf({ batch, largest, bandwidth }: DeliveryConfig): Readonly<Record<SyncClass, BatchGrowth>> {
  const growth = (): BatchGrowth =>
    new BatchGrowth({
      first: { rows: batch.events, bytes: batch.bytes },
      largest: { rows: largest.events, bytes: largest.bytes },
      bandwidth,
    });
  return {
    alerts: growth(),
    losses: growth(),
    attributes: growth(),
    results: growth(),
    events: growth(),
  };
}

/** The most important of them; among equals, the one claimed first. */
function first(trips: readonly Trip[], order: readonly SyncClass[]): Trip | null {
  let best: Trip | null = null;
  for (const trip of trips) {
    const rank = order.indexOf(trip.batch.class) - order.indexOf(best?.batch.class ?? trip.batch.class);
    if (best === null || rank < 0 || (rank === 0 && trip.batch.id < best.batch.id)) best = trip;
  }
  return best;
}

/** The store's trouble, not the item's. */
function isStoreTrouble(cause: unknown): boolean {
  return !(cause instanceof MillraceError) || /^E_(STORE|DISK|DATA_DIR)/.test(cause.code);
}
