import type { Logger } from "pino";
import { isSignedBy } from "../config/config-signature.ts";
import { formatProblem } from "../config/problems.ts";
import type { RemoteConfigSettings } from "../config/remote-config.ts";
import type { Clock } from "../pipeline/clock.ts";
import type { ConfigOrigin, RemoteVersion } from "../pipeline/query-set.ts";
import type { ReloadAnswer } from "../pipeline/reloader.ts";
import { jittered } from "../sync/retry-delay.ts";
import type { OfferedConfig, PollAnswer } from "./config-client.ts";
import { type HealthSample, HealthWatch } from "./health.ts";
import { MAX_FAILED, MAX_STARTS, type RemoteReport, type RemoteStateRecord } from "./remote-state.ts";

export interface RemoteConfigParts {
  readonly edge: string;
  readonly settings: RemoteConfigSettings;
  readonly record: RemoteStateRecord;
  readonly hub: {
    poll(known: readonly string[], signal: AbortSignal): Promise<PollAnswer>;
    report(report: RemoteReport, signal: AbortSignal): Promise<void>;
  };
  readonly reloader: {
    readonly origin: ConfigOrigin;
    putRemote(document: string, version: RemoteVersion): Promise<ReloadAnswer>;
    restore(origin: ConfigOrigin): Promise<ReloadAnswer>;
  };
  readonly health: () => Omit<HealthSample, "atMs" | "reachedMs">;
  readonly clock: Clock;
  readonly log: Logger;
  readonly random?: () => number;
}

export interface RemoteConfigStatus {
  readonly inForce: RemoteVersion | null;
  readonly isWatched: boolean;
  readonly report: RemoteReport | null;
  readonly lastPollUs: number | null;
  readonly lastError: string | null;
  /** Since the start. */
  readonly polls: number;
  readonly failures: number;
  readonly applied: number;
  readonly refused: number;
  readonly rolledBack: number;
}

/** How often a node is looked at while a version is watched; less where the whole watch is short. */
const LOOK_MS = 1_000;

/**
 * Takes a node's configuration from its hub: asks, puts what is offered in force as a whole, watches the node, and goes back
 * to what was good when it is not well. A version that failed is not tried again. The hub never hears what is configured
 * here, only what became of what it gave.
 */
export class RemoteConfig {
  readonly #parts: RemoteConfigParts;
  readonly #random: () => number;
  readonly #stop = new AbortController();
  readonly #atStart: Pick<HealthSample, "accepted" | "bad">;
  #watch: HealthWatch | null = null;
  #pollTimer: NodeJS.Timeout | null = null;
  #lookTimer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();
  #reachedMs: number | null = null;
  #lastPollUs: number | null = null;
  #lastError: string | null = null;
  #counts = { polls: 0, failures: 0, applied: 0, refused: 0, rolledBack: 0 };

  constructor(parts: RemoteConfigParts) {
    this.#parts = parts;
    this.#random = parts.random ?? Math.random;
    const { accepted, bad } = parts.health();
    this.#atStart = { accepted, bad };
    this.#inTurn(
      () => this.#goOn(),
      () => undefined,
    );
    // A fleet that comes back at once must not ask at once.
    this.#pollIn(Math.min(1_000, parts.settings.everyMs) * this.#random());
  }

  status(): RemoteConfigStatus {
    return {
      inForce: this.#inForce,
      isWatched: this.#parts.record.current.trial !== null,
      report: this.#parts.record.current.report,
      lastPollUs: this.#lastPollUs,
      lastError: this.#lastError,
      ...this.#counts,
    };
  }

  async close(): Promise<void> {
    this.#stop.abort();
    for (const timer of [this.#pollTimer, this.#lookTimer]) if (timer !== null) clearTimeout(timer);
    await this.#turn;
    const { trial } = this.#parts.record.current;
    if (trial !== null) await this.#parts.record.update({ trial: { ...trial, starts: 0 } });
  }

  get #inForce(): RemoteVersion | null {
    const { origin } = this.#parts.reloader;
    return origin.kind === "put" ? (origin.remote ?? null) : null;
  }

  /** What was under way when the node ended. */
  async #goOn(): Promise<void> {
    const { trial } = this.#parts.record.current;
    if (trial === null) return;
    if (this.#inForce?.etag === trial.version.etag) this.#beginWatch();
    else if (trial.starts >= MAX_STARTS) {
      // It never came to be in force.
      const reason = `the node ended ${trial.starts} times while it put it in force`;
      await this.#fail(trial.version, "refused", reason);
    }
  }

  #pollIn(ms: number): void {
    if (this.#stop.signal.aborted) return;
    this.#pollTimer = setTimeout(() => {
      this.#inTurn(
        () => this.#poll(),
        () => this.#pollIn(jittered(this.#parts.settings.everyMs, this.#random)),
      );
    }, ms);
  }

  #lookIn(): void {
    if (this.#stop.signal.aborted) return;
    const ms = Math.min(LOOK_MS, this.#parts.settings.watchMs / 10);
    this.#lookTimer = setTimeout(() => {
      this.#inTurn(
        () => this.#look(),
        () => {
          if (this.#watch !== null) this.#lookIn();
        },
      );
    }, ms);
  }

  #inTurn(work: () => Promise<void>, then: () => void): void {
    this.#turn = this.#turn
      .then(work)
      .catch((cause: unknown) => {
        if (this.#stop.signal.aborted) return;
        const reason = cause instanceof Error ? describe(cause) : String(cause);
        if (reason !== this.#lastError)
          this.#parts.log.warn({ reason }, "the hub was not asked for its configuration; tried again");
        this.#counts.failures++;
        this.#lastError = reason;
      })
      .then(then);
  }

  async #poll(): Promise<void> {
    const { record, hub, clock, log } = this.#parts;
    await this.#tell();
    const failed = record.current.failed.map(({ etag }) => etag);
    const own = this.#inForce?.etag;
    const answer = await hub.poll(own === undefined ? failed : [own, ...failed], this.#stop.signal);
    this.#reached();
    this.#counts.polls++;
    this.#lastPollUs = clock.nowUs();
    this.#lastError = null;
    if (answer.kind !== "offered") {
      // Of a version that never came to be in force, and is not wanted any more, nothing is left to watch.
      if (this.#watch === null && record.current.trial !== null) await record.update({ trial: null });
      return;
    }
    const { config } = answer;
    log.info({ of: config.scope, version: config.version }, "the hub offers a configuration");
    const objection = this.#object(config);
    if (objection === null) await this.#apply(config);
    else await this.#fail(config, "refused", objection);
    await this.#tell();
  }

  /** Why a version is not even looked at; null: it is. */
  #object({ scope, version, etag, document, signature }: OfferedConfig): string | null {
    const { settings, edge, record } = this.#parts;
    const { publicKey, group } = settings;
    const isOwn = scope === `edge:${edge}`;
    if (!isOwn && !(scope.startsWith("group:") && (group === null || scope === `group:${group}`)))
      return `it is for ${scope}, and this is edge ${edge}${group === null ? "" : ` of group ${group}`}`;
    if (record.current.failed.some((failure) => failure.etag === etag)) return "it failed before";
    if (publicKey === null) return null;
    if (signature === null) return "it is not signed, and sync.config.publicKey asks for a signature";
    if (!isSignedBy({ scope, version, document }, signature, publicKey))
      return "its signature is not that of sync.config.publicKey for this text, edge or group, and version";
    const floor = record.current.floors[scope] ?? 0;
    return version < floor ? `it is older than version ${floor}, which was in force here` : null;
  }

  async #apply({ scope, version, etag, document }: OfferedConfig): Promise<void> {
    const { record, reloader } = this.#parts;
    const target: RemoteVersion = { scope, version, etag };
    const { trial } = record.current;
    const isAgain = trial?.version.etag === etag;
    // One that is still watched has not shown that it is good.
    const before = trial?.before ?? reloader.origin;
    await record.update({ trial: { version: target, before, starts: isAgain ? trial.starts : 0 } });
    const answer = await reloader.putRemote(document, target);
    if (!answer.ok) {
      const reason = answer.problems.map(formatProblem).join("; ");
      const isStillWatched = trial !== null && !isAgain && this.#inForce?.etag === trial.version.etag;
      await this.#fail(target, "refused", reason, isStillWatched ? trial : null);
      return;
    }
    const floors = {
      ...record.current.floors,
      [scope]: Math.max(version, record.current.floors[scope] ?? 0),
    };
    await record.update({ floors });
    await this.#report(target, "trying", null);
    this.#beginWatch();
  }

  #beginWatch(): void {
    const { settings } = this.#parts;
    const isWatching = this.#watch !== null;
    this.#watch = new HealthWatch(settings, this.#sample(), this.#atStart);
    if (!isWatching) this.#lookIn();
  }

  async #look(): Promise<void> {
    const { record, log, clock } = this.#parts;
    const { trial } = record.current;
    const watch = this.#watch;
    if (watch === null || trial === null) return;
    const verdict = watch.judge(this.#sample());
    if (verdict.kind === "watching") {
      // Whether the hub is reached is part of it: that cannot wait for the next poll.
      if (
        this.#reachedMs === null ||
        clock.monotonicMs() - this.#reachedMs > this.#parts.settings.watchMs / 2
      )
        await this.#tell();
      return;
    }
    this.#watch = null;
    if (verdict.kind === "good") {
      this.#counts.applied++;
      await record.update({ trial: null });
      await this.#report(trial.version, "applied", null);
      log.info(
        { of: trial.version.scope, version: trial.version.version },
        "the hub's configuration is good",
      );
    } else await this.#goBack(verdict.reason);
    await this.#tell();
  }

  async #goBack(reason: string): Promise<void> {
    const { record, reloader, log } = this.#parts;
    const { trial } = record.current;
    if (trial === null) return;
    const answer = await reloader.restore(trial.before);
    if (!answer.ok) {
      const problems = answer.problems.map(formatProblem).join("; ");
      log.error({ reason, problems }, "what was in force before is not valid any more; the hub's stays");
      await this.#fail(
        trial.version,
        "rolled-back",
        `${reason}; but it stays, since what was before is not valid: ${problems}`,
      );
      return;
    }
    await this.#fail(trial.version, "rolled-back", reason);
  }

  /** `trial`: what goes on being watched. */
  async #fail(
    { scope, version, etag }: RemoteVersion,
    state: "refused" | "rolled-back",
    reason: string,
    trial: RemoteStateTrial = null,
  ): Promise<void> {
    const { record, log } = this.#parts;
    this.#counts[state === "refused" ? "refused" : "rolledBack"]++;
    log.error({ of: scope, version, reason }, `the hub's configuration was ${state.replace("-", " ")}`);
    const report = await this.#report({ scope, version, etag }, state, reason);
    const failed = [...record.current.failed.filter((one) => one.etag !== etag), report].slice(-MAX_FAILED);
    await record.update({ trial, failed });
  }

  async #report(
    { scope, version, etag }: RemoteVersion,
    state: RemoteReport["state"],
    reason: string | null,
  ): Promise<RemoteReport> {
    const { record, clock } = this.#parts;
    // Later than the one before, whatever became of the clock.
    const atUs = Math.max(clock.nowUs(), (record.current.report?.atUs ?? 0) + 1);
    const report = { scope, version, etag, state, reason, atUs };
    await record.update({ report, isReported: false });
    return report;
  }

  /** Says to the hub what is new, or, while a version is watched, only that the hub is there. */
  async #tell(): Promise<void> {
    const { record, hub } = this.#parts;
    const { report, isReported } = record.current;
    if (report === null || (isReported && this.#watch === null)) return;
    await hub.report(report, this.#stop.signal);
    this.#reached();
    if (!isReported && record.current.report === report) await record.update({ isReported: true });
  }

  #reached(): void {
    this.#reachedMs = this.#parts.clock.monotonicMs();
  }

  #sample(): HealthSample {
    const atMs = this.#parts.clock.monotonicMs();
    return { ...this.#parts.health(), atMs, reachedMs: this.#reachedMs };
  }
}

type RemoteStateTrial = RemoteStateRecord["current"]["trial"];

/** fetch says why only in the cause. */
function describe(cause: Error): string {
  const inner = cause.cause instanceof Error ? `: ${cause.cause.message}` : "";
  return `${cause.message}${inner}`;
}
