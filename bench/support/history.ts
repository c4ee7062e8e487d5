import { encodeBatch, readHeader } from "../../workers/core/codec.ts";
import { instantiateCore } from "../../workers/core/module.ts";
import { createParser } from "../../workers/core/parse.ts";
import { Store } from "../../workers/store/store.ts";
import { portableCodec } from "../../workers/zstd.ts";
import { makeFleetBodies, stampBody } from "./fleet.ts";

/** What a bench reads: a fleet's events at a constant rate, in blocks as compaction leaves them. */
export interface HistoryShape {
  readonly events: number;
  readonly devices: number;
  readonly eventsPerSecond: number;
  /** In one block. */
  readonly eventsPerBlock: number;
  /** Devices whose events share a block: all, or those of one gateway. */
  readonly devicesPerBlock: number;
  readonly startMs: number;
}

const EVENTS_PER_BODY = 4_000;
const BODIES = 64;
const COMMIT_BLOCKS = 16;

/** Fills a data directory without a node. Gives the bytes stored. */
export async function buildHistory(dir: string, shape: HistoryShape): Promise<{ storedBytes: number }> {
  const { events, devices, devicesPerBlock, eventsPerBlock, eventsPerSecond, startMs } = shape;
  const core = instantiateCore();
  const codec = await portableCodec();
  const store = Store.open(dir);
  const groups = Math.max(1, Math.round(devices / devicesPerBlock));
  const bodies = Array.from({ length: Math.min(groups, BODIES) }, (_, group) =>
    makeFleetBodies({
      devices: devicesPerBlock,
      bodies: Math.max(1, Math.floor(BODIES / groups)),
      eventsPerBody: Math.min(EVENTS_PER_BODY, eventsPerBlock),
      seed: 11 + group,
      firstDevice: group * devicesPerBlock,
    }),
  );
  const parser = createParser(core, {
    stream: "fleet",
    key: ["device"],
    isKeyDeclared: true,
    time: { fields: ["ts"], isDeclared: true, unit: "ms" },
    fields: null,
    extra: "keep",
    maxAheadUs: Number.MAX_SAFE_INTEGER,
  });
  let storedBytes = 0;
  let done = 0;
  let blocks = 0;
  let waiting: Parameters<Store["writer"]["commit"]>[0][number][] = [];
  while (done < events) {
    const group = blocks % groups;
    const own = bodies[group % bodies.length]!;
    parser.begin(startMs * 1_000);
    let rows = 0;
    // The groups' blocks lie side by side in time.
    const round = Math.floor(blocks / groups);
    const spanMs = (eventsPerBlock * groups * 1_000) / eventsPerSecond;
    for (let part = 0; rows < eventsPerBlock; part++) {
      const body = own[(round * 7 + part) % own.length]!;
      const partMs = (spanMs * body.events) / eventsPerBlock;
      const endMs = Math.round(startMs + round * spanMs + (part + 1) * partMs);
      stampBody(body, endMs, Math.min(Math.floor(partMs), body.events));
      parser.parse("ndjson", body.bytes);
      rows += body.events;
    }
    const encoded = encodeBatch(core, parser.finish(), { stream: "fleet" });
    const { count, minUs, maxUs, schema } = readHeader(encoded);
    const data = new Uint8Array(codec.compress(encoded, 1));
    storedBytes += data.length;
    done += count;
    blocks++;
    waiting.push({
      kind: "block",
      stream: "fleet",
      arrivalUs: startMs * 1_000,
      block: {
        data,
        codec: "zstd",
        encodedBytes: encoded.length,
        count,
        minUs: Number(minUs),
        maxUs: Number(maxUs),
        schema,
      },
      idempotencyKey: null,
      accepted: count,
      deadLetters: [],
      unkeptDeadLetters: 0,
      skewed: null,
    });
    if (waiting.length < COMMIT_BLOCKS && done < events) continue;
    store.writer.commit(waiting, Date.now() * 1_000);
    waiting = [];
  }
  store.close();
  return { storedBytes };
}
