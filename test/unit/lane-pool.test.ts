import assert from "node:assert/strict";
import { test } from "node:test";
import { pino } from "pino";
import { parseConfig } from "../../host/config/load.ts";
import { readTable } from "../../host/config/table/rows.ts";
import { Lane } from "../../host/pipeline/lane.ts";
import { LanePool, type PooledLane } from "../../host/pipeline/lane-pool.ts";
import { StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import type { TableData } from "../../workers/messages.ts";
import { Random } from "../support/random.ts";

const log = pino({ level: "silent" });
const tableOf = (name: string, least: number): TableData =>
  readTable(name, `device,least\na,${least}\nb,1\n`, "csv", "device");

/** A lane whose thread does what the test says, when it says so. */
class PlayedLane implements PooledLane {
  readonly tables = new Map<string, TableData>();
  readonly loading: PromiseWithResolvers<void>[] = [];
  readonly started = Promise.withResolvers<void>();
  busy = 0;
  isClosed = false;
  onFree: (() => void) | null = null;

  ready(): Promise<void> {
    return this.started.promise;
  }

  loadTable(table: TableData): Promise<void> {
    this.tables.set(table.name, table);
    const load = Promise.withResolvers<void>();
    this.loading.push(load);
    return load.promise;
  }

  async close(): Promise<void> {
    assert.ok(!this.isClosed, "closed twice");
    this.isClosed = true;
  }

  free(): void {
    this.busy--;
    this.onFree?.();
  }
}

class Play {
  readonly made: PlayedLane[] = [];
  readonly pool: LanePool<PlayedLane>;
  nowMs = 0;

  constructor(least = 1, most = 2) {
    const clock = { nowUs: () => 0, monotonicMs: () => this.nowMs };
    const make = (): PlayedLane => {
      const lane = new PlayedLane();
      this.made.push(lane);
      return lane;
    };
    this.pool = new LanePool({ least, most, make, clock, log });
  }

  /** So many seconds in which so many tasks wait. */
  async pass(seconds: number, waiting: number): Promise<void> {
    this.pool.waiting = () => waiting;
    for (let second = 0; second <= seconds; second++) {
      this.pool.note();
      this.nowMs += 1_000;
    }
    await turn();
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a lane comes when tasks wait, once it is ready, and goes when the others suffice", async () => {
  const play = new Play();
  const { running } = play.pool;
  let told = 0;
  play.pool.onFree = () => told++;
  await play.pass(3, 5);
  assert.equal(play.made.length, 2);
  assert.deepEqual(running, [play.made[0]], "it takes no task before it is ready");
  play.made[1]!.started.resolve();
  await turn();
  assert.deepEqual([running, play.pool.added, told], [play.made, 1, 1]);
  await play.pass(5, 5);
  assert.equal(play.made.length, 2, "there are no more than may be");
  await play.pass(30, 0);
  assert.deepEqual(running, [play.made[0]]);
  assert.deepEqual(
    play.made.map(({ isClosed }) => isClosed),
    [false, true],
  );
  await play.pass(30, 0);
  assert.equal(running.length, 1, "the last stays");
  await play.pool.close();
});

test("the number stays where it is given", async () => {
  const play = new Play(3, 3);
  await play.pass(10, 50);
  await play.pass(50, 0);
  assert.deepEqual([play.made.length, play.pool.running.length, play.pool.added], [3, 3, 0]);
  await play.pool.close();
  assert.ok(play.made.every(({ isClosed }) => isClosed));
});

test("a lane that goes does first what it was given, and another can come behind it", async () => {
  const play = new Play();
  await play.pass(3, 5);
  const second = play.made[1]!;
  second.started.resolve();
  await turn();
  second.busy = 2;
  // A task that never ends is no work for 20 seconds of clock: the lanes are told of as they would be with none.
  play.pool.waiting = () => -second.busy;
  for (let at = 0; at < 40; at++) {
    play.pool.note();
    play.nowMs += 1_000;
  }
  await turn();
  assert.deepEqual([play.pool.running, second.isClosed], [[play.made[0]], false]);
  second.free();
  await turn();
  assert.equal(second.isClosed, false);
  second.free();
  await turn();
  await turn();
  assert.equal(second.isClosed, true);
  await play.pass(3, 5);
  assert.equal(play.made.length, 3);
  play.made[2]!.started.resolve();
  await turn();
  assert.equal(play.pool.running.length, 2);
  await play.pool.close();
});

test("a lane that cannot be started changes nothing, and is tried again", async () => {
  const play = new Play();
  await play.pass(2, 5);
  play.made[1]!.started.reject(new Error("no thread"));
  await turn();
  await turn();
  assert.deepEqual([play.pool.running.length, play.made[1]!.isClosed], [1, true]);
  await play.pass(2, 5);
  assert.equal(play.made.length, 3);
  play.made[2]!.started.resolve();
  await turn();
  assert.deepEqual(play.pool.running, [play.made[0], play.made[2]]);
  await play.pool.close();
});

test("one that is being started when all are ended is ended too", async () => {
  const play = new Play();
  await play.pass(2, 5);
  const closed = play.pool.close();
  play.made[1]!.started.resolve();
  await closed;
  assert.deepEqual(
    play.made.map(({ isClosed }) => isClosed),
    [true, true],
  );
  await play.pass(3, 5);
  assert.equal(play.made.length, 2);
});

test("a lane has every table of the others when it takes its first task, whenever they were loaded", async () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    const play = new Play();
    const [first] = play.made;
    const load = (): void => {
      const table = tableOf(`t${random.integer(0, 3)}`, random.integer(0, 1e9));
      for (const lane of play.pool.running) void lane.loadTable(table);
    };
    for (let count = random.integer(0, 3); count > 0; count--) load();
    await play.pass(2, 5);
    const second = play.made[1]!;
    const steps: (() => void)[] = [() => second.started.resolve()];
    for (let count = random.integer(0, 6); count > 0; count--) steps.push(load);
    while (play.pool.running.length < 2) {
      const [step] = steps.length > 0 ? steps.splice(random.integer(0, steps.length - 1), 1) : [];
      step?.();
      if (random.chance(0.5)) for (const each of second.loading.splice(0)) each.resolve();
      await turn();
    }
    for (const step of steps) step();
    assert.deepEqual([...second.tables].toSorted(), [...first!.tables].toSorted(), `seed ${seed}`);
    await play.pool.close();
  }
});

test("a real lane that comes later makes of an event what the first makes of it, its tables' rows among that", async (context) => {
  const loaded = parseConfig(
    `
streams: { s: { key: device, time: { field: ts, unit: ms }, watermark: { maxAhead: 36500d } } }
tables: { limits: { key: device } }
queries:
  q: { from: s, where: coalesce(limits.least, 0) <= v, window: { tumbling: 10s }, by: [device], select: { n: count(), total: sum(v) } }
`,
    "test.yaml",
  );
  assert.ok(loaded.ok);
  let nowMs = 0;
  const pool = new LanePool({
    least: 1,
    most: 2,
    make: () => new Lane({ isSummed: false }),
    clock: { nowUs: () => 0, monotonicMs: () => nowMs },
    log,
  });
  context.after(() => pool.close());
  const [first] = pool.running;
  await first!.loadTable(tableOf("limits", 5));
  const come = Promise.withResolvers<void>();
  pool.onFree = () => {
    if (pool.running.length === 2) come.resolve();
  };
  pool.waiting = () => 5;
  for (; nowMs < 3_000; nowMs += 1_000) pool.note();
  await come.promise;
  const stream = new StreamRegistry(loaded.config).stream("s")!;
  const text = [4, 5, 6].map((v) => `{"device":"a","ts":1767225600000,"v":${v}}\n`).join("");
  const partials = await Promise.all(
    pool.running.map(async (lane) => {
      const body = new TextEncoder().encode(text);
      const bodies = { kind: "apart", bodies: [{ format: "ndjson", encoding: "identity", body }] } as const;
      const result = await lane.ingest(stream, 1_767_225_600_000_000, 1e6, bodies);
      assert.equal(result.block?.count, 3);
      return result.partials;
    }),
  );
  assert.equal(partials.length, 2);
  assert.deepEqual(partials[0], partials[1]);
  // One of the three is below the table's 5: with an empty table all would count.
  await pool.running[1]!.loadTable(tableOf("limits", 0));
  const body = new TextEncoder().encode(text);
  const bodies = { kind: "apart", bodies: [{ format: "ndjson", encoding: "identity", body }] } as const;
  const other = await pool.running[1]!.ingest(stream, 1_767_225_600_000_000, 1e6, bodies);
  assert.notDeepEqual(other.partials, partials[0]);
});

test("a table that is on its way to a lane that goes does not fail: who waits for all lanes would", async (context) => {
  let nowMs = 0;
  const pool = new LanePool({
    least: 1,
    most: 2,
    make: () => new Lane({ isSummed: false }),
    clock: { nowUs: () => 0, monotonicMs: () => nowMs },
    log,
  });
  context.after(() => pool.close());
  const come = Promise.withResolvers<void>();
  pool.onFree = () => {
    if (pool.running.length === 2) come.resolve();
  };
  pool.waiting = () => 5;
  for (; nowMs < 3_000; nowMs += 1_000) pool.note();
  await come.promise;
  await turn();
  const loads = pool.running.map((lane) => lane.loadTable(tableOf("limits", 5)));
  pool.waiting = () => 0;
  for (let until = nowMs + 40_000; nowMs < until; nowMs += 1_000) pool.note();
  assert.equal(pool.running.length, 1);
  await Promise.all(loads);
});
