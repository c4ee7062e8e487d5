import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HttpClient } from "../support/http-client.ts";
import { audit } from "../support/ledger-audit.ts";
import { type NodeProcess, spawnNode } from "../support/node-process.ts";
import { Random } from "../support/random.ts";
import { SmallDisk } from "../support/small-disk.ts";

const MIB = 1024 * 1024;
const DISK_BYTES = 48 * MIB;
const OTHERS_BYTES = 12 * MIB;
/** Events of a batch, each with a text that no codec makes smaller. */
const BATCH_EVENTS = 1_000;
const NOTE_BYTES = 96;
/** Batches sent while the disk fills: more than it holds. */
const BATCHES = 650;
const CONFIG = `
streams:
  main: { key: device }
  less: { key: device, priority: 8 }
queries:
  per_minute: { from: main, window: { tumbling: 1m }, select: { n: count(), mean: avg(temp) } }
`;
const NO_MOUNT = "mounting a small tmpfs is not possible here: it needs Linux and root";
const PATIENCE_MS = 240_000;

interface Loss {
  readonly stream: string | null;
  readonly kind: string;
  readonly count: number;
}

class Sender {
  readonly acknowledged = new Map<string, number>();
  readonly statuses = new Map<number, number>();
  readonly #client: HttpClient;
  readonly #random: Random;
  #ts = Date.UTC(2026, 0, 1);

  constructor(client: HttpClient, random: Random) {
    this.#client = client;
    this.#random = random;
  }

  /** One batch, once. @returns the status */
  async send(): Promise<number> {
    const stream = this.#random.chance(0.3) ? "less" : "main";
    const lines = Array.from({ length: BATCH_EVENTS }, (_, n) => {
      this.#ts += 1;
      return { device: `d${n % 7}`, ts: this.#ts, temp: this.#random.next(), note: this.#note() };
    });
    const answer = await this.#client.post(stream, lines);
    this.statuses.set(answer.status, (this.statuses.get(answer.status) ?? 0) + 1);
    if (answer.status === 200) {
      const { accepted } = JSON.parse(answer.text) as { accepted: number };
      this.acknowledged.set(stream, (this.acknowledged.get(stream) ?? 0) + accepted);
    } else {
      assert.ok(answer.status === 507 || answer.status === 503, `${answer.status} ${answer.text}`);
      assert.match(String(answer.headers["retry-after"]), /^\d+$/);
      if (answer.status === 507) {
        const problem = JSON.parse(answer.text) as { code: string; detail: string };
        assert.equal(problem.code, "E_BUFFER_FULL");
        assert.match(problem.detail, /free space/);
      }
    }
    return answer.status;
  }

  #note(): string {
    let text = "";
    while (text.length < NOTE_BYTES) text += this.#random.next().toString(36).slice(2);
    return text.slice(0, NOTE_BYTES);
  }
}

/** Events of a stream that are held as they came, and those in the ledger: both of one moment, while room is still being made. */
async function count(client: HttpClient, stream: string): Promise<{ held: number; lost: number }> {
  const lostNow = async (): Promise<number> =>
    (await rows<Loss>(client, "/v1/losses"))
      .filter((loss) => loss.stream === stream && loss.kind === "events")
      .reduce((sum, { count }) => sum + count, 0);
  const endMs = performance.now() + PATIENCE_MS;
  for (;;) {
    const lost = await lostNow();
    // Reading all events takes long: not before it is likely to be worth it.
    await sleep(300);
    if (lost !== (await lostNow())) continue;
    const events = await client.events(stream);
    const held = events.filter((event) => event.downsampled !== true).length;
    if (lost === (await lostNow())) return { held, lost };
    assert.ok(performance.now() < endMs, "an end comes to making room");
  }
}

/** Every acknowledged event is held, or in the ledger. */
async function verify(node: NodeProcess, client: HttpClient, sender: Sender): Promise<void> {
  let heldOfAll = 0;
  for (const [stream, acknowledged] of sender.acknowledged) {
    const { held, lost } = await count(client, stream);
    assert.equal(held + lost, acknowledged, `${stream}: ${held} held, ${lost} in the ledger`);
    heldOfAll += held;
  }
  // Of the stream that matters least all may be gone.
  assert.ok(heldOfAll > 0, "something is held");
  const { imbalances, integrity } = audit(node.dataDir);
  assert.deepEqual(imbalances, []);
  assert.equal(integrity, "ok");
}

async function rows<T>(client: HttpClient, path: string): Promise<T[]> {
  const all: T[] = [];
  let next: string | undefined = `${path}?limit=1000`;
  while (next !== undefined) {
    const answer = await client.request("GET", next);
    assert.equal(answer.status, 200, answer.text);
    for (const line of answer.text.split("\n")) if (line !== "") all.push(JSON.parse(line) as T);
    next = /<([^>]+)>/.exec(String(answer.headers.link ?? ""))?.[1];
  }
  return all;
}

async function untilAccepted(sender: Sender): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while ((await sender.send()) !== 200) {
    assert.ok(performance.now() < endMs, "events are taken again");
    await sleep(100);
  }
}

test("a real full disk: what was acknowledged is held or in the ledger, and it goes on when space returns", async (context) => {
  const random = Random.fromEnvironment();
  context.diagnostic(`MILLRACE_SEED=${random.seed}`);
  const disk = SmallDisk.mount(DISK_BYTES, context);
  if (disk === null) return context.skip(NO_MOUNT);
  disk.take("others", OTHERS_BYTES);
  const node = await spawnNode({ config: CONFIG, dataDir: join(disk.dir, "data") }, context);
  const { pid } = node;
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const sender = new Sender(client, random);

  for (let batch = 0; batch < BATCHES; batch++) if ((await sender.send()) !== 200) await sleep(20);
  const total = [...sender.acknowledged.values()].reduce((a, b) => a + b, 0);
  assert.ok(total * NOTE_BYTES > DISK_BYTES, "more was taken than the disk holds");
  await verify(node, client, sender);

  // Others take the rest, to the last byte, while events come.
  let taken = 0;
  for (let round = 0; disk.freeBytes > 0 && round < 8; round++) {
    taken += disk.take(`greedy-${round}`, DISK_BYTES);
    for (let batch = 0; batch < 20; batch++) if ((await sender.send()) !== 200) await sleep(20);
  }
  context.diagnostic(`others took ${taken} bytes more; answers ${JSON.stringify([...sender.statuses])}`);
  assert.ok(taken > 0);
  await verify(node, client, sender);

  for (let round = 0; round < 8; round++) giveBack(disk, `greedy-${round}`);
  await untilAccepted(sender);
  for (let batch = 0; batch < 50; batch++) await untilAccepted(sender);
  await verify(node, client, sender);
  assert.equal(node.pid, pid, "the same process all along");

  await node.restart("SIGKILL");
  await verify(node, client, sender);
  await node.stop();
});

function giveBack(disk: SmallDisk, name: string): void {
  try {
    disk.give(name);
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause && cause.code === "ENOENT")) throw cause;
  }
}

test("a disk that is full before the first event: refused with what to do, taken once there is space", async (context) => {
  const disk = SmallDisk.mount(DISK_BYTES, context);
  if (disk === null) return context.skip(NO_MOUNT);
  const node = await spawnNode({ config: CONFIG, dataDir: join(disk.dir, "data") }, context);
  const client = new HttpClient(() => node.url);
  context.after(() => client.close());
  const sender = new Sender(client, new Random(1));
  disk.take("others", DISK_BYTES);
  const statuses = new Set<number>();
  for (let batch = 0; batch < 60; batch++) {
    statuses.add(await sender.send());
    await sleep(20);
  }
  assert.ok(statuses.has(507) || statuses.has(503), [...statuses].join());
  const status = await client.json<{ buffer: { diskFreeBytes: number } }>("/v1/status");
  assert.ok(status.buffer.diskFreeBytes < MIB);
  disk.give("others");
  await untilAccepted(sender);
  for (let batch = 0; batch < 20; batch++) await untilAccepted(sender);
  await verify(node, client, sender).catch((cause: unknown) => {
    throw new Error(node.tail(), { cause });
  });
});
