import type { Logger } from "pino";
import type { IdentityCase } from "../../workers/hub/edge-identity.ts";
import type { HubTime } from "../../workers/store/attribute-operations.ts";
import type { HubNews } from "../hub/news-answer.ts";
import type { Clock } from "../pipeline/clock.ts";

export interface NewsDeskParts {
  readonly edge: string;
  readonly dataDir: string;
  /** Resolves with how many attributes were stamped anew. */
  readonly learnTime: (time: HubTime) => Promise<number>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What the hub said of this node. */
export interface NewsReport {
  /** null: its data directory is as it was. */
  readonly identity: IdentityCase | null;
  /** This node's clock less the hub's, ms, as of the last answer and with the time that it took; null: not heard yet. */
  readonly clockOffsetMs: number | null;
  /** Attributes that the hub did not take, since the start. */
  readonly refusedAttributes: number;
}

/** How often the store is told the hub's time, when nothing asks for it sooner. */
const LEARN_EVERY_MS = 60_000;
const MINUTE_MS = 60_000;

const WHAT_TO_DO: Readonly<Record<IdentityCase, string>> = {
  replayed:
    "this data directory went back to an older copy of itself: what it sent since that copy stays at the hub, is counted there, and is missing here",
  cloned:
    "another node runs on a copy of this data directory; stop one of the two, and start it anew with an empty data directory and a node.id of its own",
  "re-imaged":
    "the hub knows this edge by an earlier data directory; counts of both add up. If another node has this name, give each a node.id of its own",
  "name-shared":
    "another node sends to the hub under this name, from a data directory of its own; give each a node.id of its own",
};

/** Listens to what the hub says of this node, and has it known. */
export class NewsDesk {
  readonly #parts: NewsDeskParts;
  readonly #logged = new Set<IdentityCase>();
  #report: NewsReport = { identity: null, clockOffsetMs: null, refusedAttributes: 0 };
  #learnAtMs = Number.NEGATIVE_INFINITY;
  #isSkewLogged = false;
  #isLearning = false;

  constructor(parts: NewsDeskParts) {
    this.#parts = parts;
  }

  get report(): NewsReport {
    return this.#report;
  }

  hear({ time, refusedAttributes, identity }: HubNews): void {
    const { clock } = this.#parts;
    const clockOffsetMs = Math.round(clock.nowUs() / 1_000) - time.nowMs;
    const refused = this.#report.refusedAttributes + refusedAttributes;
    this.#report = {
      identity: identity ?? this.#report.identity,
      clockOffsetMs,
      refusedAttributes: refused,
    };
    if (identity !== null) this.#tell(identity);
    this.#watchClock(clockOffsetMs, time.maxAheadMs);
    if (this.#isLearning || (refusedAttributes === 0 && clock.monotonicMs() < this.#learnAtMs)) return;
    this.#learnAtMs = clock.monotonicMs() + LEARN_EVERY_MS;
    void this.#learn(time, refusedAttributes);
  }

  #tell(identity: IdentityCase): void {
    if (this.#logged.has(identity)) return;
    this.#logged.add(identity);
    const { log, edge, dataDir } = this.#parts;
    const what = { code: "E_IDENTITY", case: identity, edge, data: dataDir };
    if (identity === "re-imaged") log.warn(what, WHAT_TO_DO[identity]);
    else log.error(what, WHAT_TO_DO[identity]);
  }

  #watchClock(offsetMs: number, maxAheadMs: number): void {
    const isFar = Math.abs(offsetMs) > Math.max(maxAheadMs, MINUTE_MS);
    if (isFar && !this.#isSkewLogged)
      this.#parts.log.warn(
        { code: "E_CLOCK", offsetSeconds: Math.round(offsetMs / 1_000) },
        "this node's clock is far from the hub's; set it (NTP), or events are late or ahead",
      );
    this.#isSkewLogged = isFar;
  }

  async #learn(time: HubTime, refused: number): Promise<void> {
    const { log, learnTime } = this.#parts;
    this.#isLearning = true;
    try {
      let restamped = 0;
      // A portion each, so that commits come in between.
      for (let some = await learnTime(time); some > 0; some = await learnTime(time)) restamped += some;
      if (restamped + refused > 0)
        log.warn(
          { code: "E_CLOCK", refused, restamped, maxAheadSeconds: time.maxAheadMs / 1_000 },
          "attributes of devices were set by a clock that was wrong; they were stamped anew by the hub's, and are sent again",
        );
    } catch (cause) {
      log.warn({ err: cause }, "the hub's time could not be written down; it is with its next answer");
      this.#learnAtMs = Number.NEGATIVE_INFINITY;
    } finally {
      this.#isLearning = false;
    }
  }
}
