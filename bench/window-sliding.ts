import { makeBatch, makePlan } from "../test/unit/window-batch.ts";
import type { CoreModule, Pointer } from "../workers/core/module.ts";
import { createLocal, createWindows } from "../workers/core/window.ts";
import type { Output, WindowPlan } from "../workers/messages.ts";

const SECOND_US = 1_000_000;
const HOUR_S = 3_600;
const KEYS = 10_000;
/** Batches a second of event time. */
const BATCHES = 4;
const MEASURED_S = 64;
/** The first window puts the hour's nodes together, once. */
const WARM_UP_S = 2;
/** In the hour before, every key reports this often: the state of the window must be there, its size must not matter. */
const EARLIER_EVERY_S = 100;

const SLIDING: WindowPlan = {
  kind: "sliding",
  sizeUs: HOUR_S * SECOND_US,
  everyUs: SECOND_US,
  offsetUs: 0,
};
/** Gives as many results: one a second and key. */
const TUMBLING: WindowPlan = { kind: "tumbling", sizeUs: SECOND_US, offsetUs: 0 };

type Row = Record<string, string | number>;

/** What an event costs in windows of 1 h every 1 s, beside windows of 1 s, which give as many results. */
export function measureSliding(
  core: CoreModule,
  cpuMs: () => number,
  queries: readonly { readonly name: string; readonly select: readonly Output[] }[],
): Row[] {
  return queries.flatMap(({ name, select }) =>
    [1, 10].flatMap((perSecond) => {
      const tumbling = measureOne(core, cpuMs, TUMBLING, select, perSecond);
      const sliding = measureOne(core, cpuMs, SLIDING, select, perSecond);
      const about = { query: name, "events/key/s": perSecond };
      return [
        { ...about, windows: "1 s", ...tumbling },
        {
          ...about,
          windows: "1 h every 1 s",
          ...sliding,
          "× 1 s": sliding["ns/event"] / tumbling["ns/event"],
        },
      ];
    }),
  );
}

function measureOne(
  core: CoreModule,
  cpuMs: () => number,
  window: WindowPlan,
  select: readonly Output[],
  perSecond: number,
): { "ns/event": number } & Record<string, number> {
  const plan = makePlan({ window, select });
  const local = createLocal(core, plan);
  const windows = createWindows(core, plan);
  const { batchDispose } = core.exports as unknown as { batchDispose(batch: Pointer): void };
  for (let second = 0; second < HOUR_S; second++) {
    const devices = devicesFrom(second % EARLIER_EVERY_S, EARLIER_EVERY_S);
    const batch = makeSecond(core, second, devices, 1);
    // Under the watermark of the hour's end: what is open then is kept, and no earlier window fires.
    windows.merge(local.aggregate(batch), BigInt(HOUR_S * SECOND_US));
    batchDispose(batch);
  }
  const spent = { aggregate: 0, merge: 0, fire: 0 };
  const timed = <T>(stage: keyof typeof spent, work: () => T): T => {
    const started = cpuMs();
    const result = work();
    spent[stage] += cpuMs() - started;
    return result;
  };
  let events = 0;
  let results = 0;
  for (let second = HOUR_S; second < HOUR_S + WARM_UP_S + MEASURED_S; second++) {
    if (second === HOUR_S + WARM_UP_S) {
      Object.assign(spent, { aggregate: 0, merge: 0, fire: 0 });
      events = 0;
      results = 0;
    }
    for (let part = 0; part < BATCHES; part++) {
      const devices = devicesFrom(part, BATCHES);
      const batch = makeSecond(core, second, devices, perSecond);
      const partial = timed("aggregate", () => local.aggregate(batch));
      timed("merge", () => windows.merge(partial, BigInt(second * SECOND_US)));
      batchDispose(batch);
      events += devices.length * perSecond;
    }
    results += timed("fire", () => windows.fire(BigInt((second + 1) * SECOND_US))).length;
  }
  const nsPerEvent = (ms: number): number => (ms * 1e6) / events;
  const { groups, bytes } = windows.stats();
  windows.dispose();
  local.dispose();
  return {
    "ns/event": nsPerEvent(spent.aggregate + spent.merge + spent.fire),
    "aggregate ns": nsPerEvent(spent.aggregate),
    "merge ns": nsPerEvent(spent.merge),
    "fire ns": nsPerEvent(spent.fire),
    "results/event": results / events,
    groups,
    "state MiB": bytes / 2 ** 20,
  };
}

/** Every `step`th device. */
function devicesFrom(first: number, step: number): number[] {
  return Array.from({ length: Math.ceil((KEYS - first) / step) }, (_, index) => first + index * step);
}

function makeSecond(
  core: CoreModule,
  second: number,
  devices: readonly number[],
  perSecond: number,
): Pointer {
  const rows = devices.flatMap((device) => Array.from({ length: perSecond }, () => device));
  const step = SECOND_US / Math.max(rows.length, 1);
  return makeBatch(core, {
    times: rows.map((_, row) => BigInt(second * SECOND_US + Math.floor(row * step))),
    columns: [
      { name: "device", kind: "text", cells: rows.map((device) => `device-${device}`) },
      {
        name: "temp",
        kind: "float",
        cells: rows.map((device, row) => 20 + ((device * 7 + row * 13 + second * 31) % 1_000) / 100),
      },
    ],
  });
}
