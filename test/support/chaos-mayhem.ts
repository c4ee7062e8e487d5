import { setTimeout as sleep } from "node:timers/promises";
import type { ChaosProxy } from "./chaos-proxy.ts";
import type { NodeProcess } from "./node-process.ts";
import type { Random } from "./random.ts";

/** What is killed and started again. */
export interface Victim {
  readonly name: string;
  /** Its process, where its start may be interrupted. */
  readonly node: NodeProcess | null;
  kill(): Promise<unknown>;
  start(): Promise<void>;
}

export interface MayhemParts {
  readonly victims: readonly Victim[];
  readonly proxies: readonly ChaosProxy[];
  readonly random: Random;
  /** From one harm to the next, ms. */
  readonly longestLifeMs: number;
}

const LONGEST_REST_MS = 400;
const EARLY_DEATH_SHARE = 0.15;
/** How often every line is cut at the moment of a kill. */
const CUT_SHARE = 0.3;
const OUTAGE_SHARE = 0.15;
const LONGEST_OUTAGE_MS = 4_000;
/** Harm that is made good at the same time: more, and nothing would be up for long. */
const AT_ONCE = 2;

/** Kills, cuts and starts again. */
export class Mayhem {
  readonly #parts: MayhemParts;
  /** Each is killed as often as the others, but for chance. */
  #turn: Victim[] = [];
  readonly #underWay = new Set<Promise<void>>();
  readonly #down = new Set<Victim>();
  #failure: unknown = null;
  readonly kills: Record<string, number> = {};
  earlyDeaths = 0;
  outages = 0;

  constructor(parts: MayhemParts) {
    this.#parts = parts;
  }

  get hasKilledAll(): boolean {
    return this.#parts.victims.every(({ name }) => name in this.kills);
  }

  /** Waits a while, and then does harm that is made good later. Throws when something did not start again. */
  async next(): Promise<void> {
    const { random, proxies, longestLifeMs } = this.#parts;
    await sleep(random.integer(0, longestLifeMs));
    while (this.#underWay.size >= AT_ONCE) await Promise.race(this.#underWay);
    if (this.#failure !== null) throw this.#failure;
    if (random.chance(OUTAGE_SHARE)) {
      this.#begin(this.#outage(random.pick(proxies)));
      return;
    }
    if (this.#turn.length === 0) this.#turn = random.shuffled(this.#parts.victims);
    const victim = this.#turn.shift()!;
    // It has not come up since it was killed last.
    if (this.#down.has(victim)) return;
    if (random.chance(CUT_SHARE)) for (const proxy of proxies) proxy.cut();
    this.#begin(this.#restart(victim));
  }

  /** Waits until everything is up again. */
  async end(): Promise<void> {
    await Promise.all(this.#underWay);
    if (this.#failure !== null) throw this.#failure;
  }

  #begin(harm: Promise<void>): void {
    const done: Promise<void> = harm
      .catch((cause: unknown) => {
        this.#failure ??= cause;
      })
      .finally(() => this.#underWay.delete(done));
    this.#underWay.add(done);
  }

  async #restart(victim: Victim): Promise<void> {
    const { random } = this.#parts;
    const { node } = victim;
    this.#down.add(victim);
    await this.#kill(victim);
    await sleep(random.integer(0, LONGEST_REST_MS));
    if (node !== null && random.chance(EARLY_DEATH_SHARE)) {
      this.earlyDeaths++;
      node.launch();
      await sleep(random.integer(0, 2 * LONGEST_REST_MS));
      await this.#kill(victim);
    }
    await victim.start();
    this.#down.delete(victim);
  }

  async #kill(victim: Victim): Promise<void> {
    this.kills[victim.name] = (this.kills[victim.name] ?? 0) + 1;
    await victim.kill();
  }

  async #outage(proxy: ChaosProxy): Promise<void> {
    // It is down for another reason.
    if (proxy.isDown) return;
    this.outages++;
    proxy.isDown = true;
    proxy.cut();
    await sleep(this.#parts.random.integer(0, LONGEST_OUTAGE_MS));
    proxy.isDown = false;
  }
}
