import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type {
  ClaimAnswer,
  ClaimedBatch,
  ClaimTask,
  SyncAdvance,
  SyncClass,
  SyncOutcome,
  SyncStep,
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
 * After a batch that took all there was, the next of its class is made no sooner: each costs a request and a commit, which
 * under a steady flow would be for a block or two.
 */
const LULLS_MS: Readonly<Record<"results" | "events", number>> = { results: 250, events: 1_000 };
/** What became of batches is written with the next claim, or so much later: until then a restart would send them again. */
const SETTLE_MS = 250;
/** Alerts do not wait for company. */
const URGENT_MS = 0;
/** After the store failed. */
const STORE_RETRY_MS = 2_000;

export interface SinkRunnerParts {
  readonly sink: Sink;
  readonly config: DeliveryConfig;
  readonly advance: (step: SyncStep) => Promise<SyncAdvance>;
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
  /** Of which there was nothing to claim when last looked for. */
  readonly #empty = new Set<SyncClass>();
  #outcomes: SyncOutcome[] = [];
  /** Monotonic: when the first of them is written at the latest. */
  #settleByMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;
  #probeTimer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();
  #isRunning = false;
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
    if (!this.#isRunning) this.#turn = this.#run();
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
    await this.#settle().catch(() => undefined);
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
    this.#isRunning = true;
    while (this.#isStale && !this.#stop.signal.aborted) {
      this.#isStale = false;
      this.#empty.clear();
      try {
        // Halves of a batch take its place before anything else is claimed.
        if (this.#outcomes.some(({ kind }) => kind !== "delivered")) await this.#settle();
        await this.#start();
        if (this.#settleByMs <= this.#parts.clock.monotonicMs()) await this.#settle();
        sleepMs = LOOK_MS;
      } catch (cause) {
        this.#parts.log.error({ err: cause }, "sync could not read or write its store; it tries again");
        sleepMs = STORE_RETRY_MS;
      }
    }
    // At once, with nothing in between: whoever wakes it from here on finds it at rest.
    this.#isRunning = false;
    if (this.#stop.signal.aborted) return;
    this.#timer = setTimeout(() => this.wake(), this.#waitMs(sleepMs));
  }

  /** Until there is something to do by what is known, or until the next look. */
  #waitMs(lookMs: number): number {
    const nowMs = this.#parts.clock.monotonicMs();
    const lulls = [...this.#lulls.values()].filter((endMs) => endMs > nowMs);
    const untilMs = lookMs === LOOK_MS ? Math.min(this.#settleByMs, ...lulls) - nowMs : lookMs;
    return Math.max(1, Math.min(jittered(lookMs, this.#random), untilMs));
  }

  /** Writes what became of batches, without claiming any. */
  async #settle(): Promise<void> {
    if (this.#outcomes.length > 0) await this.#advance([], true);
  }

  async #advance(claims: readonly ClaimTask[], mustSettle: boolean): Promise<readonly ClaimAnswer[]> {
    const [outcomes, settleByMs] = [this.#outcomes, this.#settleByMs];
    this.#outcomes = [];
    this.#settleByMs = Number.POSITIVE_INFINITY;
    let isSettled = false;
    try {
      const advance = await this.#parts.advance({ outcomes, claims, mustSettle });
      isSettled = advance.isSettled;
      for (const batch of advance.resumed) this.resume(batch);
      return advance.answers;
    } finally {
      if (!isSettled) {
        this.#outcomes = [...outcomes, ...this.#outcomes];
        this.#settleByMs = Math.min(settleByMs, this.#settleByMs);
      }
    }
  }

  #end(outcome: SyncOutcome): void {
    this.#outcomes.push(outcome);
    const byMs = this.#parts.clock.monotonicMs() + SETTLE_MS;
    this.#settleByMs = Math.min(this.#settleByMs, byMs);
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
    const kinds: SyncClass[] = [];
    let waiting: Trip | null = null;
    for (const kind of order) {
      waiting = first(
        due.filter(({ batch }) => batch.class === kind),
        order,
      );
      if (waiting !== null) break;
      if (hasPlace || isUrgent(kind)) kinds.push(kind);
    }
    return (await this.#claim(kinds)) ?? waiting;
  }

  /** A batch of the first of the classes that has one. */
  async #claim(kinds: readonly SyncClass[]): Promise<Trip | null> {
    const nowMs = this.#parts.clock.monotonicMs();
    const isQuiet = (kind: SyncClass): boolean =>
      this.#empty.has(kind) || (this.#lulls.get(kind) ?? Number.NEGATIVE_INFINITY) > nowMs;
    for (const kind of kinds.filter(isQuiet)) this.#turns.idle(kind);
    const asked = kinds.filter((kind) => !isQuiet(kind));
    if (asked.length === 0) return null;
    const tasks = asked.map((kind) => this.#taskOf(kind));
    const answers = await this.#advance(tasks, this.#settleByMs <= nowMs);
    for (const [index, answer] of answers.entries()) {
      const kind = asked[index]!;
      if (answer.kind === "claimed") return this.#tripOf(answer);
      this.#turns.idle(kind);
      // Somebody who woke it meanwhile may have been too late for this look.
      if (!this.#isStale) this.#empty.add(kind);
    }
    return null;
  }

  #taskOf(kind: SyncClass): ClaimTask {
    const [{ sink, clock }, config] = [this.#parts, this.#config];
    const enough = { rows: config.batch.events, bytes: config.batch.bytes };
    const grown = this.#growth[kind].size;
    const most = sink.largestBytes?.() ?? grown.bytes;
    const size = { rows: grown.rows, bytes: Math.min(grown.bytes, most) };
    const everyMs = isUrgent(kind) ? URGENT_MS : config.batch.everyMs;
    const ageMs = this.#ages.get(kind) ?? shortened(everyMs, this.#random);
    this.#ages.set(kind, ageMs);
    const olderThanUs = clock.nowUs() - Math.round(ageMs * 1_000);
    return { sink: sink.name, class: kind, size, enough, olderThanUs };
  }

  #tripOf({ batch, isFull }: ClaimAnswer & { readonly kind: "claimed" }): Trip {
    const kind = batch.class;
    this.#ages.delete(kind);
    const hasLull = !isFull && this.#config.batch.everyMs > URGENT_MS;
    if (hasLull && (kind === "results" || kind === "events"))
      this.#lulls.set(kind, this.#parts.clock.monotonicMs() + jittered(LULLS_MS[kind], this.#random));
    this.#growth[kind].claimed(isFull, batch);
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
      this.#end({ kind: "delivered", batch: batch.id });
      return;
    }
    const wireBytes = bytesOf(packed);
    const startedMs = clock.monotonicMs();
    const delivery = await this.#breaker.run(() =>
      sink.deliver({ ...packed, claimed: batch }, this.#stop.signal),
    );
    const isFirst = trip.failures + trip.strikes === 0;
    if (isFirst && !this.#stop.signal.aborted)
      this.#line.firstAttempt(delivery.kind === "unreachable" ? "failed" : "came-through");
    if (delivery.kind === "delivered") {
      this.#growth[batch.class].delivered(clock.monotonicMs() - startedMs);
      this.#succeed(trip, packed, wireBytes, delivery);
    } else if (!this.#stop.signal.aborted) {
      if (delivery.kind === "rejected") this.#refuse(trip, delivery.reason, false);
      else this.#fail(trip, delivery);
    }
  }

  #succeed(
    { batch }: Trip,
    { rows, sums = [] }: PackedBatch,
    wireBytes: number,
    { isDuplicate }: Delivery & { kind: "delivered" },
  ): void {
    this.#successes++;
    this.#lastSuccessUs = this.#parts.clock.nowUs();
    this.#counts.batches++;
    if (isDuplicate) this.#counts.duplicates++;
    this.#counts.wireBytes += wireBytes;
    this.#rows[batch.class] += rows;
    this.#end({ kind: "delivered", batch: batch.id, sums });
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
      this.#end({ kind: "failed", batch: batch.id, strikes: trip.strikes, nextAtUs, reason });
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
      this.#end({ kind: "split", batch: batch.id, reason });
    } else {
      this.#counts.parked++;
      log.error({ sink: sink.name, batch: batch.id, class: batch.class, reason }, "a batch was parked");
      this.#end({ kind: "parked", batch: batch.id, reason, atUs: clock.nowUs() });
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

function bytesOf({ body, tables }: PackedBatch): number {
  return tables.reduce((sum, table) => sum + table.body.length, body.length);
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
