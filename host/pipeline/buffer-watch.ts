import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import { releaseBytes } from "../../workers/move.ts";
import { type BufferLevel, percentOf } from "../../workers/store/buffer-level.ts";
import type { BufferReport } from "../../workers/store/buffer-operations.ts";
import { RESOLUTION_US } from "../../workers/store/downsampling.ts";
import { imbalanceOf } from "../../workers/store/ledger.ts";
import { bufferSettings } from "../config/buffer.ts";
import type { Config } from "../config/config.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { Clock } from "./clock.ts";
import type { Engine } from "./engine.ts";
import { setAsideDamaged } from "./set-aside.ts";

/** Between two looks while there is room, and while there is work to be done. */
const CALM_MS = 1_000;
const BUSY_MS = 20;
/** While there is room and the storage thread has had nothing to do: time alone lets data expire, and others fill the disk. */
const REST_MS = 5_000;
/** Between them while the level is not normal: it rises within a second under load. */
const ALERT_MS = 200;
/** The storage thread works on it for so long, then commits have their turn. */
const BUDGET_MS = 4;
/** The log tells of new rows in the ledger no more often. */
const LOSSES_TOLD_MS = 60_000;
/** Between two checkpoints that are made for the buffer's sake: of their own time, and at least. */
const CHECKPOINT_PAUSE = 10;
const CHECKPOINT_MS = 1_000;
const URGENT_CHECKPOINT_MS = 100;

export interface WatchParts {
  readonly storage: StorageClient;
  readonly engine: Engine;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Looks after the buffer: has it work off what its level asks for, and tells of the level. */
export class BufferWatch {
  readonly #parts: WatchParts;
  #report: BufferReport | null = null;
  #level: BufferLevel = "normal";
  /** Rows of the ledger that were told of, and when. */
  #losses: number | null = null;
  #lossesToldMs = Number.NEGATIVE_INFINITY;
  #isOutOfBalance = false;
  #isFull = false;
  #timer: NodeJS.Timeout | null = null;
  #running: Promise<void> = Promise.resolve();
  #isClosed = false;
  #checkpointNotBeforeMs = Number.NEGATIVE_INFINITY;
  /** What the last look saw, which found room and nothing to do: one that would see the same is left out. Otherwise null. */
  #calm: { readonly calls: number; readonly config: Config; readonly ms: number } | null = null;
  /** Looks that were asked for: the one that is under way, and the one behind it, which all share that ask meanwhile. */
  #asked: Promise<void> | null = null;
  #next: Promise<void> | null = null;

  private constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /** Resolves after the first look: from then on the cap holds. */
  static async start(parts: WatchParts): Promise<BufferWatch> {
    const watch = new BufferWatch(parts);
    await watch.#look();
    return watch;
  }

  /** As of the last look; null before it, or when it failed. */
  get report(): BufferReport | null {
    return this.#report;
  }

  /** Resolves after a look that saw everything committed before this call; it may have failed. */
  lookAgain(): Promise<void> {
    this.#next ??= (this.#asked ?? Promise.resolve()).then(() => {
      this.#asked = this.#next;
      this.#next = null;
      return this.#lookOnce();
    });
    return this.#next;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await Promise.all([this.#running, this.#asked, this.#next]);
  }

  async #lookOnce(): Promise<void> {
    if (this.#isClosed) return;
    const report = await this.#attempt(() => this.#maintain());
    if (report !== null) this.#tell(report);
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    if (this.#hasRested()) {
      this.#lookIn(CALM_MS);
      return;
    }
    const { storage, engine, clock } = this.#parts;
    // What is asked from here on comes behind this look, which is a call itself.
    const seen = { calls: storage.calls + 1, config: engine.config(), ms: clock.monotonicMs() };
    const report = await this.#attempt(() => this.#maintain());
    if (report !== null) this.#tell(report);
    let hasDownsampled = false;
    if (report?.wantsDownsampling && !this.#isClosed)
      hasDownsampled = (await this.#attempt(() => this.#downsample())) ?? false;
    if (report !== null && !this.#isClosed) await this.#checkpoint(report);
    if (this.#isClosed) return;
    const isBusy = report?.hasMore || hasDownsampled;
    const waitMs = isBusy || report?.isFull ? BUSY_MS : this.#level === "normal" ? CALM_MS : ALERT_MS;
    this.#calm = report !== null && waitMs === CALM_MS ? seen : null;
    this.#lookIn(waitMs);
  }

  #lookIn(waitMs: number): void {
    this.#timer = setTimeout(() => {
      this.#running = this.#look();
    }, waitMs);
  }

  /** Whether nothing was asked of the storage thread since the last look, and that was not long ago. */
  #hasRested(): boolean {
    if (this.#calm === null) return false;
    const { storage, engine, clock } = this.#parts;
    const { calls, config, ms } = this.#calm;
    return storage.calls === calls && engine.config() === config && clock.monotonicMs() - ms < REST_MS;
  }

  #maintain(): Promise<BufferReport> {
    const { storage, engine, clock } = this.#parts;
    const settings = bufferSettings(engine.config());
    return storage.maintain({ settings, nowUs: clock.nowUs(), budgetMs: BUDGET_MS });
  }

  /** @returns whether any events became aggregates */
  async #downsample(): Promise<boolean> {
    const { storage, engine, clock, log } = this.#parts;
    // A backfill reads the events, block by block.
    if (engine.status().backfills > 0) return false;
    const group = await storage.listForDownsampling();
    if (group === null) return false;
    const { stream, seqs, blocks } = group;
    const made = await engine
      .downsampleBlocks(stream, blocks, RESOLUTION_US)
      .catch(async (cause: unknown) => {
        // Through no fault of these blocks.
        if (cause instanceof MillraceError && cause.code === "E_DOWNSAMPLE_LOST") return "again";
        if ((await setAsideDamaged(storage, log, "log", seqs)).length > 0) return "again";
        log.error({ err: cause, stream, seqs }, "blocks could not be downsampled and are left as they are");
        return null;
      });
    if (made === "again") return true;
    if (engine.status().backfills > 0) return false;
    const into = made?.into ?? null;
    const swap = { stream, seqs: seqs.slice(0, made?.taken), into, nowUs: clock.nowUs() };
    const isSwapped = await storage.swapDownsampled(swap);
    if (into !== null) releaseBytes(into.data);
    return isSwapped;
  }

  /** Blocks behind the last checkpoint may not go: when they are what fills the buffer, it is time for one. */
  async #checkpoint({ wantsCheckpoint, isFull, level }: BufferReport): Promise<void> {
    if (!wantsCheckpoint) return;
    const { engine, clock } = this.#parts;
    const everyMs = isFull || level === "give-up" ? URGENT_CHECKPOINT_MS : CHECKPOINT_MS;
    const startMs = clock.monotonicMs();
    if (startMs < this.#checkpointNotBeforeMs + everyMs) return;
    await engine.checkpoint();
    const endMs = clock.monotonicMs();
    this.#checkpointNotBeforeMs = endMs + (isFull ? 0 : (endMs - startMs) * CHECKPOINT_PAUSE);
  }

  #tell(report: BufferReport): void {
    const { log } = this.#parts;
    this.#report = report;
    const { usedBytes, capBytes, capacityBytes, walBytes, diskFreeBytes, isFull } = report;
    for (const level of report.levels) {
      const state = {
        level,
        before: this.#level,
        usedBytes,
        capBytes,
        capacityBytes,
        walBytes,
        diskFreeBytes,
      };
      const isRising = percentOf(level) > percentOf(this.#level);
      if (isRising) log.warn(state, `the buffer is at ${percentOf(level)} %: ${WHAT_FOLLOWS[level]}`);
      else log.info(state, "the buffer has more room again");
      this.#level = level;
    }
    if (isFull !== this.#isFull)
      log.warn(
        { usedBytes, capacityBytes },
        isFull ? "events find no room and are refused" : "events find room again",
      );
    this.#isFull = isFull;
    this.#parts.engine.forgetBlocks(report.removed);
    this.#tellOfLosses(report.lastLoss);
    const imbalanced = report.ledgers.filter((ledger) => imbalanceOf(ledger) !== 0);
    if (imbalanced.length > 0 && !this.#isOutOfBalance)
      log.error({ ledgers: imbalanced }, "the ledger does not balance; run millrace doctor");
    this.#isOutOfBalance = imbalanced.length > 0;
  }

  #tellOfLosses(losses: number): void {
    const nowMs = this.#parts.clock.monotonicMs();
    const rows = losses - (this.#losses ?? losses);
    if (this.#losses !== null && (rows === 0 || nowMs - this.#lossesToldMs < LOSSES_TOLD_MS)) return;
    if (rows > 0) {
      this.#parts.log.warn({ rows }, "the loss ledger has new rows: see GET /v1/losses");
      this.#lossesToldMs = nowMs;
    }
    this.#losses = losses;
  }

  async #attempt<T>(step: () => Promise<T>): Promise<T | null> {
    try {
      return await step();
    } catch (cause) {
      this.#parts.log.warn({ err: cause }, "the buffer was not looked after; tried again soon");
      return null;
    }
  }
}

const WHAT_FOLLOWS: Readonly<Record<BufferLevel, string>> = {
  normal: "nothing",
  alert: "free space, raise buffer.cap, or see why the hub is away",
  evict: "what is synced is deleted before its time",
  downsample: "the oldest events become aggregates of a minute",
  "give-up": "the oldest data of the lowest priority is given up, see GET /v1/losses",
};
