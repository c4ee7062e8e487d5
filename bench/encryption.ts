import { randomBytes } from "node:crypto";
import { makeTempDir } from "../test/support/temp-dir.ts";
import type { CommitOperation } from "../workers/messages.ts";
import { masterKey } from "../workers/seal/master-key.ts";
import { Reader } from "../workers/store/reader.ts";
import { Store } from "../workers/store/store.ts";
import type { BenchReport } from "./report.ts";
import { withCleanups } from "./support/cleanups.ts";

/**
 * What encryption costs the storage and query threads, as CPU time: what they wait for, such as an fsync, is left out, so
 * that the figures do not depend on the disk. The two ways run in turn, and the least of several rounds counts.
 */
const ROUNDS = 7;
const BLOCKS = 200;
/** As 4,000 events take, at about 6 bytes each. */
const BLOCK_BYTES = 24 * 1024;
const EVENTS_OF_A_BLOCK = 4_000;
const RESULTS = 10_000;
const NOW_US = Date.UTC(2026, 0, 1) * 1_000;

interface Times {
  block: number;
  result: number;
  readBlock: number;
  readResult: number;
}

export async function run(): Promise<BenchReport> {
  const plain: Times[] = [];
  const sealed: Times[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    plain.push(await measure(false));
    sealed.push(await measure(true));
  }
  const least = (all: readonly Times[], name: keyof Times): number =>
    Math.min(...all.map((times) => times[name]));
  const row = (what: string, name: keyof Times, divisor: number, unit: string) => {
    const [without, withKey] = [least(plain, name) / divisor, least(sealed, name) / divisor];
    return {
      what,
      unit,
      "without a key": without.toFixed(2),
      "with a key": withKey.toFixed(2),
      more: (withKey - without).toFixed(2),
    };
  };
  return {
    name: "encryption",
    rows: [
      row("commit a block", "block", 1_000, "µs"),
      row("commit a block, an event", "block", EVENTS_OF_A_BLOCK, "ns"),
      row("write a result", "result", 1_000, "µs"),
      row("read a block", "readBlock", 1_000, "µs"),
      row("read a result", "readResult", 1_000, "µs"),
    ],
    notes: [
      `CPU time of the thread; blocks of ${BLOCK_BYTES} bytes with ${EVENTS_OF_A_BLOCK} events, one a commit; ${RESULTS} results a commit`,
      `the least of ${ROUNDS} rounds`,
    ],
  };
}

function measure(isSealed: boolean): Promise<Times> {
  return withCleanups(async (cleanup) => {
    const masters = isSealed ? { current: masterKey(randomBytes(32)), previous: [] } : null;
    const store = Store.open(makeTempDir(cleanup), undefined, masters);
    const data = new Uint8Array(randomBytes(BLOCK_BYTES));
    const blocks = Array.from({ length: BLOCKS }, (): CommitOperation[] => [blockOperation(data)]);
    const block = cpuNs(() => {
      for (const operations of blocks) store.writer.commit(operations, NOW_US);
    });
    const rows = Array.from({ length: RESULTS }, (_, at) => ({
      query: "temp_1m",
      startUs: NOW_US,
      endUs: NOW_US + 60_000_000,
      key: `{"device":"m-${at}"}`,
      values: `{"n":60,"avg":${20 + at / 1_000},"max":${30 + at / 1_000}}`,
      revision: 0,
      kind: "on-time" as const,
    }));
    const result = cpuNs(() => store.writer.commit([{ kind: "results", rows }], NOW_US));
    const reader = new Reader(store.dir, masters);
    const readBlock = cpuNs(() => {
      for (let seq = 1; seq <= BLOCKS; seq++) reader.block(seq);
    });
    const filter = {
      query: "temp_1m",
      fromUs: null,
      toUs: null,
      key: null,
      kind: null,
      after: null,
    } as const;
    const readResult = cpuNs(() => reader.results({ ...filter, revisions: "all", limit: RESULTS }));
    reader.close();
    store.close();
    return {
      block: block / BLOCKS,
      result: result / RESULTS,
      readBlock: readBlock / BLOCKS,
      readResult: readResult / RESULTS,
    };
  });
}

function blockOperation(data: Uint8Array<ArrayBuffer>): CommitOperation {
  const times = { minUs: NOW_US, maxUs: NOW_US + 999 };
  return {
    kind: "block",
    stream: "machines",
    arrivalUs: NOW_US,
    block: {
      data,
      codec: "zstd",
      encodedBytes: data.length * 2,
      count: EVENTS_OF_A_BLOCK,
      ...times,
      schema: [],
    },
    idempotencyKey: null,
    accepted: EVENTS_OF_A_BLOCK,
    deadLetters: [],
    unkeptDeadLetters: 0,
    skewed: null,
  };
}

function cpuNs(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) * 1_000;
}
