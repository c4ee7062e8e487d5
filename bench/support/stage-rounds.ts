import { valueSymbol } from "piscina";
import { parseConfig } from "../../host/config/load.ts";
import { StreamRegistry } from "../../host/pipeline/stream-registry.ts";
import { windowSetups } from "../../host/pipeline/window-setups.ts";
import { Random } from "../../test/support/random.ts";
import { ingest } from "../../workers/ingest.ts";
import type { ApplyResult, IngestResult, StreamSetup } from "../../workers/messages.ts";
import { apply, resume } from "../../workers/window.ts";
import { quantileOf } from "../report.ts";
import { fleetConfig, makeFleetBodies, stampBody } from "./fleet.ts";
import { type DeviceEvent, PlainWindows, parseLines } from "./plain-windows.ts";

/**
 * What lanes and the window thread do with a body, stage by stage, and the plain way with the same body, in one process and by
 * turns: what else the machine does falls on both. Of each step the time that a fifth of its turns stayed below is taken: a
 * turn is so short that those were not interrupted.
 */

const DEVICES = 1_000;
const EVENTS_PER_BODY = 4_000;
const BODIES = 25;
const WINDOW_MS = 1_000;
const BOUND_MS = 100;
/** So that a window ends in each round. */
const MS_PER_BODY = WINDOW_MS / BODIES;
const FIRST_EVENT_MS = Date.UTC(2026, 0, 1);
const MAX_BODY_BYTES = 16 * 1024 * 1024;
const MAX_SOURCES = 100_000;
const QUANTILE = 0.2;
const STREAM = "fleet";
/** Of bodies whose fields come in another order in each line. */
const SHUFFLED = "shuffled";

/** ns by event; of firing, by row. */
export interface StepTimes {
  readonly parse: number;
  readonly parseShuffled: number;
  readonly apply: number;
  readonly encode: number;
  readonly compress: number;
  readonly merge: number;
  readonly emitByRow: number;
  /** `JSON.parse` of each line. */
  readonly jsonParse: number;
  readonly jsonParseShuffled: number;
  /** A `Map` of windows. */
  readonly plainWindows: number;
  readonly plainFireByRow: number;
}

export interface StageRounds {
  readonly times: StepTimes;
  /** Why they are worthless. */
  readonly failures: readonly string[];
}

type Step = keyof StepTimes;

export function measureStages(rounds: number): StageRounds {
  const turns: Record<Step, number[]> = {
    parse: [],
    parseShuffled: [],
    apply: [],
    encode: [],
    compress: [],
    merge: [],
    emitByRow: [],
    jsonParse: [],
    jsonParseShuffled: [],
    plainWindows: [],
    plainFireByRow: [],
  };
  const note = (step: Step, ns: number, count = EVENTS_PER_BODY): number => turns[step].push(ns / count);
  const bodies = makeFleetBodies({
    devices: DEVICES,
    bodies: BODIES,
    eventsPerBody: EVENTS_PER_BODY,
    seed: 5,
  });
  for (const body of bodies) stampBody(body, FIRST_EVENT_MS, 1);
  const shuffled = bodies.map(({ bytes }, index) => shuffleFields(parseLines(bytes), new Random(index)));
  const lane = new InProcess(STREAM);
  const shuffledLane = new InProcess(SHUFFLED);
  const plain = new PlainWindows(WINDOW_MS, BOUND_MS);
  let plainRows = 0;
  let rows = 0;
  for (let turn = 0; turn < rounds * BODIES; turn++) {
    const body = bodies[turn % BODIES]!;
    stampBody(body, FIRST_EVENT_MS + (turn + 1) * MS_PER_BODY, MS_PER_BODY);

    const events = timed(
      () => parseLines(body.bytes),
      (ns) => note("jsonParse", ns),
    );
    timed(
      () => {
        for (const event of events) plain.add(event);
      },
      (ns) => note("plainWindows", ns),
    );
    if (plain.isDue) {
      const before = plainRows;
      timed(
        () => plain.fire(() => plainRows++),
        (ns) => note("plainFireByRow", ns, plainRows - before),
      );
    }

    const { stages, ...result } = lane.ingest(body.bytes);
    note("parse", stages.parseNs);
    note("apply", stages.applyNs);
    note("encode", stages.encodeNs);
    note("compress", stages.compressNs);
    const { mergeNs, emitNs, fired } = lane.apply(result);
    note("merge", mergeNs);
    if (fired > 0) note("emitByRow", emitNs, fired);
    rows += fired;

    const other = shuffled[turn % BODIES]!;
    timed(
      () => parseLines(other),
      (ns) => note("jsonParseShuffled", ns),
    );
    note("parseShuffled", shuffledLane.ingest(other).stages.parseNs);
  }
  const times = Object.fromEntries(
    Object.entries(turns).map(([step, values]) => [
      step,
      quantileOf(Float64Array.from(values).sort(), QUANTILE),
    ]),
  ) as Record<Step, number>;
  const failures = rows === plainRows && rows > 0 ? [] : [`${rows} rows fired, ${plainRows} the plain way`];
  return { times, failures };
}

/** A lane and the window thread, in this thread. */
class InProcess {
  readonly #stream: string;
  readonly #setup: StreamSetup;
  #isKnown = false;
  #seq = 0;

  constructor(stream: string) {
    const yaml = `${fleetConfig(`${WINDOW_MS}ms`, `${BOUND_MS}ms`)}`.replaceAll("fleet", stream);
    const loaded = parseConfig(yaml, "guard.yaml");
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems));
    const running = new StreamRegistry(loaded.config).stream(stream);
    if (running === undefined) throw new Error(`there is no stream ${stream}`);
    this.#stream = stream;
    this.#setup = running.setup();
    if (stream !== STREAM) return;
    const setups = windowSetups(running, MAX_SOURCES);
    apply([{ kind: "config", seq: 0, setups, takeovers: [] }]);
  }

  ingest(bytes: Uint8Array): IngestResult {
    // Its buffer is given back once it is parsed.
    const body = new Uint8Array(bytes);
    const result = moved<IngestResult>(
      ingest({
        stream: this.#stream,
        setup: this.#isKnown ? null : this.#setup,
        arrivalUs: FIRST_EVENT_MS * 1_000,
        maxBodyBytes: MAX_BODY_BYTES,
        bodies: [{ format: "ndjson", encoding: "identity", body }],
      }),
    );
    this.#isKnown = true;
    if (result.block?.count !== EVENTS_PER_BODY)
      throw new Error(`${result.block?.count ?? 0} of ${EVENTS_PER_BODY} events are in the block`);
    return result;
  }

  /** What merging and firing took, and how many rows fired. */
  apply({ partials, maxEventUs, sources }: Omit<IngestResult, "stages">): {
    mergeNs: number;
    emitNs: number;
    fired: number;
  } {
    const entry = { kind: "block", seq: ++this.#seq, stream: this.#stream, arrivalUs: 0 } as const;
    const totals = { mergeNs: 0, emitNs: 0, fired: 0 };
    let result: ApplyResult = apply([{ ...entry, partials, maxEventUs, sources }]);
    for (;;) {
      totals.mergeNs += result.mergeNs;
      totals.emitNs += result.emitNs;
      for (const { rows } of result.fired) totals.fired += rows;
      if (!result.hasMore) return totals;
      result = resume();
    }
  }
}

function moved<T>(answer: unknown): T {
  return (answer as Record<symbol, T>)[valueSymbol] ?? (answer as T);
}

function timed<T>(work: () => T, note: (ns: number) => void): T {
  const startedMs = performance.now();
  const value = work();
  note((performance.now() - startedMs) * 1e6);
  return value;
}

function shuffleFields(events: readonly DeviceEvent[], random: Random): Uint8Array {
  const lines = events.map((event) =>
    JSON.stringify(Object.fromEntries(random.shuffled(Object.entries(event)))),
  );
  return Buffer.from(`${lines.join("\n")}\n`);
}
