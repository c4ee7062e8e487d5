import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { HttpClient } from "./http-client.ts";
import type { Random } from "./random.ts";

/** What the cap counts. */
const FILES = ["millrace.db", "millrace.db-wal", "millrace.db-shm", "millrace.reserve"];
const LOOK_MS = 5;
const CLIENTS = 8;
/** Random texts of an event, and about what it takes in the store. */
const NOTES = 6;
const EVENT_BYTES = 70;

export interface Flood {
  readonly eventsPerBatch: number;
  /** About what all events take in the store. */
  readonly bytes: number;
  /** Of the first event, ms since the epoch; each is 1 ms after the one before. */
  readonly fromMs: number;
}

/** Several clients send texts that no codec makes small, to `machines` and `chatter`. @returns how many events were acknowledged */
export async function flood(
  client: HttpClient,
  random: Random,
  { eventsPerBatch, bytes, fromMs }: Flood,
): Promise<number> {
  let [ts, sent, acknowledged] = [fromMs, 0, 0];
  const noise = (): string => random.next().toString(36).slice(2);
  await Promise.all(
    Array.from({ length: CLIENTS }, async (_, n) => {
      while (sent < bytes) {
        const lines = Array.from({ length: eventsPerBatch }, () => {
          const texts = Object.fromEntries(Array.from({ length: NOTES }, (_, at) => [`note${at}`, noise()]));
          return { device: `d${random.integer(0, 19)}`, ts: ts++, temp: random.next(), ...texts };
        });
        const answer = await client.post(n % 2 === 0 ? "machines" : "chatter", lines);
        if (answer.status === 200) {
          sent += eventsPerBatch * EVENT_BYTES;
          acknowledged += eventsPerBatch;
        } else {
          assert.ok([429, 503, 507].includes(answer.status), `${answer.status} ${answer.text}`);
          await sleep(50);
        }
      }
    }),
  );
  return acknowledged;
}

/** Looks at the files all through some work. @returns what it gives, and the sizes when they were most in sum */
export async function watchFiles<T>(
  dir: string,
  work: () => Promise<T>,
): Promise<{ readonly value: T; readonly most: readonly number[] }> {
  let most: readonly number[] = [0];
  const look = setInterval(() => {
    const sizes = sizesOf(dir);
    if (sum(sizes) > sum(most)) most = sizes;
  }, LOOK_MS);
  try {
    const value = await work();
    return { value, most };
  } finally {
    clearInterval(look);
  }
}

/**
 * Sizes that the files had at one moment. Read one after the other, a log that is emptied between two of them counts twice:
 * a look stands when the next one finds the same.
 */
export function sizesOf(dir: string): readonly number[] {
  const look = (): readonly number[] =>
    FILES.map((name) => statSync(join(dir, name), { throwIfNoEntry: false })?.size ?? 0);
  for (let sizes = look(); ; ) {
    const again = look();
    if (isDeepStrictEqual(sizes, again)) return sizes;
    sizes = again;
  }
}

export function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
