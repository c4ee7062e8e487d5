import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { runAudit } from "./audit.ts";
import { type Compared, compareWithHub } from "./chaos-compare.ts";
import { ChaosEdge, type EdgeRole, LETTERS, ROLES } from "./chaos-edge.ts";
import { Mayhem, type Victim } from "./chaos-mayhem.ts";
import { ChaosProxy, MISHAPS, MISHAPS_OF_TCP, type Mishap } from "./chaos-proxy.ts";
import { all, synced } from "./fleet.ts";
import { HttpClient } from "./http-client.ts";
import { type HubDatabase, startHubDatabase } from "./hub-database.ts";
import { NodeProcess } from "./node-process.ts";
import type { Random } from "./random.ts";
import type { Cleanup } from "./temp-dir.ts";

export interface ChaosOptions {
  /** How long everything is killed and cut. */
  readonly seconds: number;
  /** What the hub stores in, as `MILLRACE_HUB_STORE` has it. */
  readonly store: string;
  readonly random: Random;
  /** Told now and then how far it is. */
  readonly tell: (line: string) => void;
}

export interface ChaosReport {
  readonly edges: readonly (Compared & { readonly starts: number; readonly auditedHours: number })[];
  /** By what was killed. */
  readonly kills: Readonly<Record<string, number>>;
  /** Lives that ended before they were ready. */
  readonly earlyDeaths: number;
  readonly outages: number;
  /** The highest level of the small edge's buffer that was seen. */
  readonly level: string;
  /** Batches that the hub was given again. */
  readonly duplicates: number;
  readonly mishaps: Readonly<Record<string, number>>;
}

const MISHAP_SHARE = 0.5;
const LONGEST_LIFE_MS = 3_000;
/** Beyond `seconds`, until everything has happened once. */
const LONGEST_OVERTIME_MS = 180_000;
const PAUSE_MS = 300;
/** What the small edge is sent beyond its cap while it reaches nobody. */
const BURST_BYTES = 24 * 1024 ** 2;
/** Levels of the buffer at which something of what the hub has not got goes. */
const LOSING = ["downsample", "give-up"];
const BURST_TIMEOUT_MS = 120_000;

/**
 * Five edges under load (plain, encrypted, with too small a disk, a relay, one behind it), a hub, and a proxy before each of them that
 * treats every exchange badly by chance, while all of them, and the servers that the hub stores in, are killed at random. At the
 * end the hub must hold what follows from what the edges acknowledged.
 */
export async function runChaos(
  { seconds, store, random, tell }: ChaosOptions,
  cleanup: Cleanup,
): Promise<ChaosReport> {
  const database = await startHubDatabase(cleanup, store);
  const hub = new NodeProcess({ config: database.config, command: "hub" }, cleanup);
  await hub.start();
  const atHub = new HttpClient(() => hub.url);
  cleanup.after(() => atHub.close());
  const state = { isChaos: true };
  const edges = await startEdges({ database, hub, random, state }, cleanup);
  const proxies = edges.map(({ uplink }) => uplink.proxy);
  const small = edges.find(({ role }) => role === "small")!;
  const victims: Victim[] = [
    ofNode("hub", hub),
    ...database.killable.map((killable) => ({ ...killable, node: null })),
    ...edges.map(({ name, node }) => ofNode(name, node)),
  ];
  const longestLifeMs = Math.min(LONGEST_LIFE_MS, seconds * 100);
  const mayhem = new Mayhem({ victims, proxies, random, longestLifeMs });
  const endMs = performance.now() + seconds * 1_000;
  let filling: Promise<string> | null = null;
  let toldMs = performance.now();
  let isFilling = false;
  while (performance.now() < endMs || isFilling || !mayhem.hasKilledAll || missingOf(proxies).length > 0) {
    if (performance.now() > endMs + LONGEST_OVERTIME_MS) break;
    await mayhem.next();
    for (const edge of edges) edge.check();
    if (filling === null && performance.now() > endMs - (seconds * 1_000) / 2) {
      isFilling = true;
      filling = fill(small).finally(() => {
        isFilling = false;
      });
    }
    if (performance.now() - toldMs < 30_000) continue;
    toldMs = performance.now();
    const sent = edges.reduce((sum, { load, bulk }) => sum + load.events.length + bulk.events.length, 0);
    tell(
      `${Math.round((endMs - toldMs) / 1_000)} s left, ${sent} events, kills ${JSON.stringify(mayhem.kills)}`,
    );
  }
  const level = await (filling ?? fill(small));
  await mayhem.end();
  tell(`the small disk came to ${level}; kills ${JSON.stringify(mayhem.kills)}`);
  for (const proxy of proxies) proxy.isDown = false;
  for (const edge of edges) await edge.end();
  state.isChaos = false;
  for (const proxy of proxies) proxy.cut();
  tell("all was sent");
  for (const edge of edges) await synced(edge.node, edge.client);
  for (const edge of edges) if (edge.role === "relay") await forwarded(edge);
  await database.settled();
  tell("all has arrived");
  const compared: ChaosReport["edges"][number][] = [];
  for (const edge of edges) {
    const of = await compareWithHub(edge, atHub);
    const auditedHours = await audited(edge, hub, of.events - of.inLedger + of.aggregates);
    compared.push({ ...of, starts: edge.node.starts, auditedHours });
    tell(JSON.stringify(compared.at(-1)));
  }
  const duplicates = await compareFleet(compared, atHub);
  assert.deepEqual(missingOf(proxies), [], "these never happened");
  const mishaps = Object.fromEntries(MISHAPS.map((mishap) => [mishap, countOf(mishap, proxies)]));
  const { kills, earlyDeaths, outages } = mayhem;
  return { edges: compared, kills, earlyDeaths, outages, level, duplicates, mishaps };
}

function countOf(mishap: Mishap, proxies: readonly ChaosProxy[]): number {
  return proxies.reduce((sum, { counts }) => sum + (counts.get(mishap) ?? 0), 0);
}

function missingOf(proxies: readonly ChaosProxy[]): Mishap[] {
  return MISHAPS.filter((mishap) => countOf(mishap, proxies) === 0);
}

interface FleetParts {
  readonly database: HubDatabase;
  readonly hub: NodeProcess;
  readonly random: Random;
  readonly state: { readonly isChaos: boolean };
}

async function startEdges(
  { database, hub, random, state }: FleetParts,
  cleanup: Cleanup,
): Promise<ChaosEdge[]> {
  const chooseOf = (mishaps: readonly Mishap[]) => () =>
    state.isChaos && random.chance(MISHAP_SHARE) ? random.pick(mishaps) : "pass";
  const uplinkTo = async (kind: "hub" | "nats", target: () => string) => {
    const choose = chooseOf(kind === "hub" ? MISHAPS : MISHAPS_OF_TCP);
    return { kind, proxy: await ChaosProxy.start(target, random, cleanup, choose, "exchange") };
  };
  const edges: ChaosEdge[] = [];
  const urlOf = (role: EdgeRole): string => edges.find((edge) => edge.role === role)!.node.url;
  for (const role of ROLES) {
    const { nats } = database;
    // A relay, and who sends to it, speak HTTP; so every kind of mishap is there with any kind of hub.
    const overNats = nats !== null && role !== "relay" && role !== "behind";
    const uplink =
      role === "behind"
        ? await uplinkTo("hub", () => urlOf("relay"))
        : overNats
          ? await uplinkTo("nats", () => nats)
          : await uplinkTo("hub", () => hub.url);
    edges.push(new ChaosEdge({ role, uplink, random, pauseMs: PAUSE_MS }, cleanup));
  }
  await Promise.all(edges.map((edge) => edge.start(cleanup)));
  return edges;
}

function ofNode(name: string, node: NodeProcess): Victim {
  return { name, node, kill: () => node.kill("SIGKILL"), start: () => node.start() };
}

/** Cuts the small edge off until something of what nobody has must go for want of room. @returns the highest level. */
async function fill({ client, uplink, bulk }: ChaosEdge): Promise<string> {
  const { proxy } = uplink;
  proxy.isDown = true;
  proxy.cut();
  bulk.isBurst = true;
  const from = bulk.events.length;
  const endMs = performance.now() + BURST_TIMEOUT_MS;
  let level = "normal";
  while (performance.now() < endMs && !LOSING.includes(level)) {
    await sleep(100);
    // Another outage of it may just have ended.
    proxy.isDown = true;
    // It may be killed meanwhile.
    const status = await client.json<{ buffer: { level: string } | null }>("/v1/status").catch(() => null);
    level = status?.buffer?.level ?? level;
    if ((bulk.events.length - from) * LETTERS.burst > BURST_BYTES) break;
  }
  bulk.isBurst = false;
  proxy.isDown = false;
  return level;
}

async function forwarded({ name, client, node }: ChaosEdge): Promise<void> {
  type Status = { relay: { edges: readonly { waiting: number; received: number; forwarded: number }[] } };
  const deadline = performance.now() + 300_000;
  for (;;) {
    const { relay } = await client.json<Status>("/v1/status");
    const [first] = relay.edges;
    if (first !== undefined && relay.edges.every(({ waiting }) => waiting === 0)) {
      assert.equal(first.received, first.forwarded);
      return;
    }
    if (performance.now() > deadline) assert.fail(`${name}: ${JSON.stringify(relay)}\n${node.tail()}`);
    await sleep(100);
  }
}

/** @returns hours that are the same; 0 of an edge without a hub, whose sink is not asked. */
async function audited({ name, node, uplink }: ChaosEdge, hub: NodeProcess, events: number): Promise<number> {
  if (uplink.kind !== "hub") return 0;
  const { exitCode, report } = await runAudit(node.url, hub.url);
  assert.deepEqual([report.findings, report.others, exitCode], [[], [], 0], name);
  assert.equal(report.equalEvents, events, name);
  return report.equalHours;
}

/**
 * By its own books the hub has as much of each edge, took none for a copy, and has set nothing aside.
 * @returns how many batches it was given that it had.
 */
async function compareFleet(edges: readonly Compared[], hub: HttpClient): Promise<number> {
  assert.deepEqual(await all(hub, "/v1/dlq"), []);
  type Known = {
    edge: string;
    events: number;
    accepted: number;
    copies: number;
    conflicts: number;
    duplicates: number;
  };
  const { edges: known } = await hub.json<{ edges: Known[] }>("/v1/edges");
  const byName = (a: { edge: string }, b: { edge: string }): number => (a.edge < b.edge ? -1 : 1);
  assert.deepEqual(
    known
      .map(({ edge, events, accepted, copies, conflicts }) => ({ edge, events, accepted, copies, conflicts }))
      .sort(byName),
    edges
      .map(({ edge, events, inLedger }) => {
        return { edge, events: events - inLedger, accepted: events, copies: 0, conflicts: 0 };
      })
      .sort(byName),
  );
  return known.reduce((sum, edge) => sum + edge.duplicates, 0);
}
