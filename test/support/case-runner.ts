import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { HttpClient, type Result } from "./http-client.ts";
import { REPOSITORY_ROOT, spawnNode } from "./node-process.ts";
import type { Random } from "./random.ts";
import type { Cleanup } from "./temp-dir.ts";

const CASES_DIR = join(REPOSITORY_ROOT, "../shared/cases");
/** Results are there when a request returns; the patience is for a machine under load. */
const PATIENCE_MS = 120_000;

/** A reason to skip a test that needs the cases, or false. */
export const casesAreMissing: string | false = existsSync(CASES_DIR)
  ? false
  : "the cases are not beside the repository (../shared/cases)";

type Step =
  | { readonly send: { readonly stream: string; readonly events: readonly object[] } }
  | { readonly watermark: { readonly stream: string; readonly time: string } }
  | { readonly restart: NodeJS.Signals }
  | {
      readonly expect: {
        readonly query: string;
        readonly revisions?: "latest" | "all";
        readonly rows: readonly Result[];
      };
    }
  | { readonly expectLate: { readonly stream: string; readonly count: number } };

interface Case {
  readonly name: string;
  readonly streams: object;
  readonly queries: object;
  readonly steps: readonly Step[];
}

export interface CaseVariant {
  readonly ingestWorkers: number;
  /** Sends each step's events one by one in another order; null: together, as they stand. */
  readonly shuffle: Random | null;
}

const AS_WRITTEN: CaseVariant = { ingestWorkers: 1, shuffle: null };

/** Runs a case of ../shared/cases against a real node, step by step. */
export async function runCase(
  name: string,
  cleanup: Cleanup,
  { ingestWorkers, shuffle }: CaseVariant = AS_WRITTEN,
): Promise<void> {
  const { streams, queries, steps } = JSON.parse(
    readFileSync(join(CASES_DIR, `${name}.json`), "utf8"),
  ) as Case;
  // JSON is YAML.
  const workers = { ingest: ingestWorkers };
  const config = JSON.stringify({ streams, queries, workers }, null, 1);
  const node = await spawnNode({ config }, cleanup);
  const client = new HttpClient(() => node.url);
  cleanup.after(() => client.close());
  for (const [index, step] of steps.entries()) {
    const where = `${name}, step ${index + 1}`;
    if ("send" in step) {
      const { stream, events } = step.send;
      const batches = shuffle === null ? [events] : shuffle.shuffled(events).map((event) => [event]);
      for (const batch of batches) {
        const { accepted } = await client.send(stream, batch);
        assert.equal(accepted, batch.length, where);
      }
    } else if ("watermark" in step) {
      await client.watermark(step.watermark.stream, { time: step.watermark.time });
    } else if ("restart" in step) {
      await node.restart(step.restart);
    } else if ("expect" in step) {
      const { query, rows, revisions } = step.expect;
      const parameters = revisions === undefined ? {} : { revisions };
      await settle(
        async () => (await client.results(query, parameters)).map(canonical).toSorted(),
        rows.map(canonical).toSorted(),
        where,
      );
    } else {
      const { stream, count } = step.expectLate;
      await settle(async () => (await client.late(stream)).length, count, where);
    }
  }
}

/** Asks until the answer is as expected; after the patience, fails with the difference. */
async function settle<T>(ask: () => Promise<T>, expected: T, where: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  while (true) {
    const answer = await ask();
    try {
      assert.deepEqual(answer, expected, where);
      return;
    } catch (difference) {
      if (performance.now() > deadline) throw difference;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** One text for one value, whatever the order of its members. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, member: unknown) =>
    typeof member === "object" && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}
