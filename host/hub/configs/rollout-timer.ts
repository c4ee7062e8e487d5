import type { Logger } from "pino";
import type { ConfigRegistry } from "./config-registry.ts";

/** How often rollouts are looked at: their steps are minutes. */
const LOOK_MS = 1_000;

/** Takes rollouts further as time passes. Several hubs may do so at once. */
export class RolloutTimer {
  readonly #registry: Pick<ConfigRegistry, "scopes" | "advance">;
  readonly #log: Logger;
  #timer: NodeJS.Timeout | null = null;
  #turn: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(registry: Pick<ConfigRegistry, "scopes" | "advance">, log: Logger) {
    this.#registry = registry;
    this.#log = log;
    this.#wait();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#turn;
  }

  #wait(): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      this.#turn = this.#look().finally(() => this.#wait());
    }, LOOK_MS);
  }

  async #look(): Promise<void> {
    try {
      for (const [name, { rollout }] of await this.#registry.scopes()) {
        if (rollout?.state !== "running") continue;
        const { rollout: now } = await this.#registry.advance(name);
        if (now?.state === "halted")
          this.#log.error({ of: name, reason: now.reason }, "a rollout was halted");
        else if (now?.state === "done")
          this.#log.info({ of: name, version: now.version }, "a rollout is done");
        else if (now !== null && now.step !== rollout.step)
          this.#log.info({ of: name, version: now.version, step: now.step + 1 }, "a rollout goes on");
      }
    } catch (cause) {
      this.#log.error({ err: cause }, "rollouts could not be looked at; tried again soon");
    }
  }
}
