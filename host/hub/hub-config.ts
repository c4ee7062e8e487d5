import { existsSync, readFileSync } from "node:fs";
import { LineCounter, parseDocument } from "yaml";
import * as z from "zod";
import { DEFAULT_ATTRIBUTE_LIMITS, type HubAttributeLimits } from "../../workers/hub/edge-news.ts";
import type { BatchLimits } from "../../workers/sync/batch-format.ts";
import { type Environment, substituteVariables } from "../config/env.ts";
import { explainIssues } from "../config/explain.ts";
import { lostNames } from "../config/lost-names.ts";
import { type NatsStreamForm, natsStreamForm } from "../config/nats-stream.ts";
import { Places } from "../config/places.ts";
import type { Problem } from "../config/problems.ts";
import { readRelays } from "../config/relay-config.ts";
import { duration, listen, name, parseListen, size, whole } from "../config/schema.ts";
import { natsMaxAge, natsMaxBytes, natsRetention } from "../config/sink-schema.ts";
import { unveil, veil } from "../config/veil.ts";
import { buildStore, type HubStoreConfig, storeSchema } from "./store-config.ts";

const MIB = 1024 ** 2;
const DAY_US = 86_400e6;

/** A hub's configuration, every default filled in. Sizes in bytes. */
export interface HubConfig {
  readonly dataDir: string;
  readonly listen: { readonly host: string; readonly port: number };
  /** By edge; null: none are set, and edges on this machine are let in. */
  readonly tokens: ReadonlyMap<string, string> | null;
  /** What changes of configurations must bring; null: they are taken from this machine alone. */
  readonly adminToken: string | null;
  /** Edges that send for others, and for whom; null: for any. */
  readonly relays: ReadonlyMap<string, ReadonlySet<string> | null>;
  readonly store: HubStoreConfig;
  /** null: batches come over HTTP alone. */
  readonly nats: HubNatsConfig | null;
  readonly limits: HubLimits;
}

/** Batches that edges publish to JetStream, and that hubs consume as a group. */
export interface HubNatsConfig {
  readonly url: string;
  readonly stream: string;
  /** The group's name: each batch goes to one of the hubs that share it. */
  readonly consumer: string;
  readonly form: NatsStreamForm;
}

/** Every limit has a name, a default and a metric. */
export interface HubLimits extends BatchLimits, HubAttributeLimits {
  /** Largest batch as it comes over the wire. */
  readonly maxBatchBytes: number;
  /** Bytes of a batch's blocks, decompressed. */
  readonly maxBlockBytes: number;
  /** Bytes of batches in memory before edges are told to wait. */
  readonly maxQueuedBytes: number;
  readonly maxConnections: number;
  /** Batches from JetStream that can never be taken; more stay in the stream. */
  readonly maxParked: number;
  readonly maxParkedBytes: number;
  /** How long the oldest batch of a stream of JetStream may stand before it is fetched by other means. */
  readonly maxStreamWaitMs: number;
}

const DEFAULTS = {
  dataDir: "./millrace-hub-data",
  listen: { host: "127.0.0.1", port: 7080 },
  nats: { stream: "MILLRACE", consumer: "millrace-hub" },
  limits: {
    maxBatchBytes: 16 * MIB,
    maxContentBytes: 64 * MIB,
    maxRatio: 1_000,
    maxItems: 100_000,
    maxBlockBytes: 512 * MIB,
    maxQueuedBytes: 128 * MIB,
    maxConnections: 10_000,
    ...DEFAULT_ATTRIBUTE_LIMITS,
    maxParked: 10_000,
    maxParkedBytes: 1024 * MIB,
    maxStreamWaitMs: 90_000,
  },
} as const;

/** Of a node that receives for others, too. */
export const DEFAULT_HUB_LIMITS: HubLimits = DEFAULTS.limits;

const TOKEN_MESSAGE = "must have 8 characters at least; write a longer one";

const natsName = z
  .string("must be a name")
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "must have 1 to 64 letters, digits, _ or -");

const hubFile = z.strictObject({
  data: z
    .string("must be a folder")
    .min(1, "must be a folder")
    .optional()
    .describe("Data directory. Default: ./millrace-hub-data."),
  http: z
    .strictObject({
      listen: listen.optional().describe("HOST:PORT. Default: 127.0.0.1:7080."),
      admin: z
        .strictObject({ token: z.string("must be a text").min(8, TOKEN_MESSAGE) })
        .nullish()
        .describe("Who may change configurations. Default: this machine alone."),
    })
    .nullish(),
  store: storeSchema.nullish(),
  nats: z
    .strictObject({
      url: z
        .string("must be the address of a server")
        .regex(/^(nats|tls):\/\/[^\s]+$/, "must be like nats://host:4222")
        .describe("A NATS server with JetStream."),
      stream: natsName.optional().describe("Default: MILLRACE. Made where there is none."),
      consumer: natsName
        .optional()
        .describe(
          "The group of hubs that share the batches. Default: millrace-hub. Made where there is none.",
        ),
      retention: natsRetention,
      maxBytes: natsMaxBytes,
      maxAge: natsMaxAge,
    })
    .nullish(),
  tokens: z
    .record(name, z.string("must be a text").min(8, TOKEN_MESSAGE))
    .nullish()
    .describe("What each edge must bring. Default: none, and edges on this machine alone are let in."),
  relays: z
    .record(name, z.union([z.literal("any"), z.array(name)], "must be a list of edges, or any"))
    .nullish()
    .describe("Edges that send for others, and for which. Default: none."),
  limits: z
    .strictObject({
      maxBatch: size(64 * 1024, 256 * MIB)
        .optional()
        .describe("Largest batch on the wire. Default: 16MiB."),
      maxContent: size(64 * 1024, 1024 * MIB)
        .optional()
        .describe("Largest batch, decompressed. Default: 64MiB."),
      maxRatio: whole(10, 100_000)
        .optional()
        .describe("How far a batch may be compressed, beyond its first MiB. Default: 1000."),
      maxItems: whole(1, 1e6).optional().describe("Blocks and groups of rows in a batch. Default: 100000."),
      maxBlocks: size(64 * 1024, 4096 * MIB)
        .optional()
        .describe("A batch's blocks, decompressed. Default: 512MiB."),
      maxQueuedBytes: size(64 * 1024, 1024 ** 4)
        .optional()
        .describe("Batches in memory before 503. Default: 128MiB."),
      maxConnections: whole(1, 1e6).optional().describe("Open connections. Default: 10000."),
      maxClockAhead: duration(1_000_000, DAY_US)
        .optional()
        .describe("How far ahead of the hub's clock attributes of devices may be set. Default: 5m."),
      maxAttributes: whole(1, 1e9)
        .optional()
        .describe("Attributes of devices of one edge. Default: 1000000."),
      maxParked: whole(1, 1e6).optional().describe("Batches from JetStream, parked. Default: 10000."),
      maxParkedBytes: size(64 * 1024, 1024 ** 4)
        .optional()
        .describe("Their bytes. Default: 1GiB."),
      maxStreamWait: duration(1_000_000, DAY_US)
        .optional()
        .describe(
          "How long the oldest batch in JetStream may stand before its consumption is begun anew. Default: 90s.",
        ),
    })
    .nullish(),
});

export type HubLoadResult =
  | { readonly ok: true; readonly config: HubConfig }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export interface HubOverrides {
  readonly dataDir?: string | undefined;
  readonly listen?: string | undefined;
}

export const DEFAULT_HUB_FILE = "hub.yaml";

/** Loads a hub's configuration. Without a path, `hub.yaml` is used where it exists, else the defaults. */
export function loadHubConfig(path: string | null, overrides: HubOverrides = {}): HubLoadResult {
  const file = path ?? (existsSync(DEFAULT_HUB_FILE) ? DEFAULT_HUB_FILE : null);
  if (file === null) return parseHubConfig("", "defaults", overrides);
  try {
    return parseHubConfig(readFileSync(file, "utf8"), file, overrides);
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause)) throw cause;
    return refuse(
      file,
      `the file cannot be read (${String(cause.code)})`,
      "name a configuration with -c FILE",
    );
  }
}

/** As `loadHubConfig`, from text. `file` is its name in messages. */
export function parseHubConfig(
  text: string,
  file: string,
  overrides: HubOverrides = {},
  environment: Environment = process.env,
): HubLoadResult {
  const lines = new LineCounter();
  const document = parseDocument(veil(text), { lineCounter: lines, prettyErrors: false });
  const places = new Places(document, lines);
  const [malformed] = document.errors;
  if (malformed !== undefined) {
    const place = places.ofOffset(malformed.pos[0]);
    return {
      ok: false,
      problems: [{ file, ...place, path: "", message: unveil(malformed.message), fix: null }],
    };
  }
  const lost = lostNames(document, file, places);
  if (lost.length > 0) return { ok: false, problems: lost };
  const missing = substituteVariables(document, environment);
  if (missing.length > 0) {
    const problems = missing.map(({ name: variable, offset }) => {
      const message = `the environment variable ${variable} is not set`;
      return { file, ...places.ofOffset(offset), path: "", message, fix: "set it, or write the value here" };
    });
    return { ok: false, problems };
  }
  const parsed = hubFile.safeParse(document.toJS() ?? {}, { reportInput: true });
  if (!parsed.success) return { ok: false, problems: explainIssues(parsed.error.issues, file, places) };
  const { data, http, store, nats, tokens, relays, limits } = parsed.data;
  const address =
    overrides.listen === undefined ? (http?.listen ?? DEFAULTS.listen) : parseListen(overrides.listen);
  if (address === null)
    return refuse(
      "command line",
      `--listen ${overrides.listen} must be HOST:PORT`,
      "write it like 127.0.0.1:7080",
    );
  const byDefault = DEFAULTS.limits;
  return {
    ok: true,
    config: {
      dataDir: overrides.dataDir ?? data ?? DEFAULTS.dataDir,
      listen: address,
      store: buildStore(store),
      nats:
        nats == null
          ? null
          : {
              url: nats.url,
              stream: nats.stream ?? DEFAULTS.nats.stream,
              consumer: nats.consumer ?? DEFAULTS.nats.consumer,
              form: natsStreamForm(nats),
            },
      tokens: tokens == null ? null : new Map(Object.entries(tokens)),
      adminToken: http?.admin?.token ?? null,
      relays: readRelays(relays),
      limits: {
        maxBatchBytes: limits?.maxBatch ?? byDefault.maxBatchBytes,
        maxContentBytes: limits?.maxContent ?? byDefault.maxContentBytes,
        maxRatio: limits?.maxRatio ?? byDefault.maxRatio,
        maxItems: limits?.maxItems ?? byDefault.maxItems,
        maxBlockBytes: limits?.maxBlocks ?? byDefault.maxBlockBytes,
        maxQueuedBytes: limits?.maxQueuedBytes ?? byDefault.maxQueuedBytes,
        maxConnections: limits?.maxConnections ?? byDefault.maxConnections,
        maxClockAheadMs:
          limits?.maxClockAhead === undefined ? byDefault.maxClockAheadMs : limits.maxClockAhead / 1_000,
        maxAttributes: limits?.maxAttributes ?? byDefault.maxAttributes,
        maxParked: limits?.maxParked ?? byDefault.maxParked,
        maxParkedBytes: limits?.maxParkedBytes ?? byDefault.maxParkedBytes,
        maxStreamWaitMs:
          limits?.maxStreamWait === undefined ? byDefault.maxStreamWaitMs : limits.maxStreamWait / 1_000,
      },
    },
  };
}

function refuse(file: string, message: string, fix: string): HubLoadResult {
  return { ok: false, problems: [{ file, line: 1, column: 1, path: "", message, fix }] };
}
