import { Agent, request } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { CommandError, unreachable } from "../client.ts";
import { EXIT } from "../output.ts";
import { type FleetBody, fleetBodies, stampBody } from "./fleet-bodies.ts";

export interface LoadOptions {
  readonly url: string;
  readonly stream: string;
  readonly connections: number;
  readonly devices: number;
  readonly eventsPerBody: number;
  /** Events a second; null: as fast as they are acknowledged. */
  readonly rate: number | null;
  /** The greatest event time of a body, and how much time it spans, in ms. */
  readonly eventTime: (body: number) => { readonly endMs: number; readonly spreadMs: number };
}

export interface LoadFigures {
  readonly events: number;
  readonly elapsedMs: number;
  /** From when a body was due (with a rate) or sent to its acknowledgement; ascending. */
  readonly latenciesMs: readonly number[];
  /** Answers 429 and 503: the body was sent again. */
  readonly refused: number;
}

const REFUSED_PAUSE_MS = 5;

/** Sends bodies of generated events over a few connections, each after the acknowledgement of the one before. */
export class GeneratedLoad {
  readonly #options: LoadOptions;
  readonly #agent: Agent;
  readonly #path: URL;
  /** A body is on its way in one connection at a time. */
  readonly #free: FleetBody[];
  #sent = 0;
  acknowledged = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.connections });
    this.#path = new URL(`${options.url}/v1/streams/${encodeURIComponent(options.stream)}/events`);
    this.#free = fleetBodies({ ...options, bodies: options.connections * 4 }, Math.random);
  }

  /** Sends for so long, and waits for the last acknowledgement. */
  async run(forMs: number): Promise<LoadFigures> {
    const { connections, eventsPerBody, rate } = this.#options;
    const everyMs = rate === null ? 0 : (eventsPerBody / rate) * 1_000;
    const latenciesMs: number[] = [];
    const startMs = performance.now();
    let events = 0;
    let refused = 0;
    let next = 0;
    const send = async (): Promise<void> => {
      for (;;) {
        // Latencies count from when a body is due, so that a stall shows in all that it holds up.
        const sinceStartMs = rate === null ? performance.now() - startMs : next * everyMs;
        if (sinceStartMs >= forMs) return;
        const dueMs = startMs + sinceStartMs;
        next++;
        const aheadMs = dueMs - performance.now();
        if (aheadMs > 0.5) await sleep(aheadMs);
        const body = this.#free.shift()!;
        const { endMs, spreadMs } = this.#options.eventTime(this.#sent++);
        stampBody(body, endMs, spreadMs);
        refused += await this.#deliver(body);
        latenciesMs.push(performance.now() - dueMs);
        this.#free.push(body);
        events += body.events;
      }
    };
    await Promise.all(Array.from({ length: connections }, send));
    const elapsedMs = performance.now() - startMs;
    return { events, elapsedMs, latenciesMs: latenciesMs.toSorted((a, b) => a - b), refused };
  }

  close(): void {
    this.#agent.destroy();
  }

  /** @returns how often it was refused before */
  async #deliver({ bytes, events }: FleetBody): Promise<number> {
    for (let refused = 0; ; refused++) {
      const { status, text } = await this.#post(bytes);
      if (status === 429 || status === 503) {
        await sleep(REFUSED_PAUSE_MS);
        continue;
      }
      const accepted = status === 200 ? (JSON.parse(text) as { accepted: number }).accepted : 0;
      if (accepted !== events) {
        const message = `a body of ${events} events was answered ${status}: ${text.slice(0, 500)}`;
        throw new CommandError(EXIT.failed, message);
      }
      this.acknowledged += accepted;
      return refused;
    }
  }

  #post(body: Buffer): Promise<{ readonly status: number; readonly text: string }> {
    const headers = { "content-type": "application/x-ndjson", "content-length": body.length };
    return new Promise((resolve, reject) => {
      const fail = (cause: unknown): void => reject(unreachable(this.#options.url, cause));
      const outgoing = request(this.#path, { method: "POST", agent: this.#agent, headers }, (answer) => {
        let text = "";
        answer.setEncoding("utf8");
        answer.on("data", (chunk: string) => {
          text += chunk;
        });
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text }));
        answer.on("error", fail);
      });
      outgoing.on("error", fail);
      outgoing.end(body);
    });
  }
}
