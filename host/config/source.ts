import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";
import { LineCounter, parseDocument } from "yaml";
import type { Config } from "./config.ts";
import { emptiedProblem, isEmptyDocument } from "./emptied.ts";
import { DEFAULT_FILE, type LoadResult, type Overrides, parseConfig, readConfigFile } from "./load.ts";
import { Places } from "./places.ts";
import type { Problem } from "./problems.ts";
import type { SyncConfig } from "./sync-config.ts";
import { veil } from "./veil.ts";

/** What a node reads once, as it starts; by the path of the setting. */
const FIXED: readonly (readonly [
  path: readonly string[],
  of: (config: Config) => unknown,
  reason: string,
])[] = [
  [["node", "id"], ({ node }) => node.id, "what was sent is under the name"],
  [["data"], ({ dataDir }) => dataDir, "the events are there"],
  [["http", "listen"], ({ listen }) => listen, "clients are connected"],
  [["http", "admin", "token"], ({ adminToken }) => adminToken, "it guards this very change"],
  [["checkpoint", "every"], ({ checkpointEveryMs }) => checkpointEveryMs, "it is read at the start"],
  [["durability", "groupCommit"], ({ groupCommitMs }) => groupCommitMs, "it is read at the start"],
  [["workers", "ingest"], ({ ingestWorkers }) => ingestWorkers, "threads are made at the start"],
  [
    ["sync"],
    ({ sync }) => sync,
    "where data goes is changed in the node's file; sync.config, sync.sinks, and whether there is a hub, at a start",
  ],
  [["relay"], ({ relay }) => relay, "it is read at the start"],
  [["limits"], ({ limits }) => limits, "memory is planned at the start"],
];
/** What stands for a secret where a configuration is shown: it says that it is as it is. */
const HIDDEN = "***";

/** Where a node's configuration comes from: a file, or defaults where there is none, with the command line over both. */
export class ConfigSource {
  #path: string | null;
  readonly #overrides: Overrides;
  #isEmpty = false;

  constructor(path: string | null, overrides: Overrides) {
    this.#path = path;
    this.#overrides = overrides;
  }

  /** The file's name; null when there is none. One that was there once is not done without while it is being replaced. */
  get file(): string | null {
    if (this.#path === null && existsSync(DEFAULT_FILE)) this.#path = DEFAULT_FILE;
    return this.#path;
  }

  /** Whether the file that was loaded says nothing. */
  get isEmpty(): boolean {
    return this.#isEmpty;
  }

  load(): LoadResult {
    const { file } = this;
    if (file === null) return parseConfig("", "defaults", this.#overrides);
    const read = readConfigFile(file);
    if (!read.ok) return read;
    this.#isEmpty = isEmptyDocument(read.text);
    return parseConfig(read.text, file, this.#overrides);
  }

  /** As `load`, over a running node: settings that it read at its start must be left out or as they are. */
  reload(current: Config): LoadResult {
    const { file } = this;
    const read = file === null ? ({ ok: true, text: "" } as const) : readConfigFile(file);
    if (!read.ok) return read;
    const name = file ?? "defaults";
    const emptied = emptiedProblem(read.text, name, current);
    if (emptied !== null) return { ok: false, problems: [emptied] };
    const loaded = parseConfig(read.text, name, this.#overrides, process.env, current.tables);
    if (!loaded.ok) return loaded;
    const sync = nextSync(current.sync ?? null, loaded.config.sync ?? null);
    const kept = keepFixed(read.text, file ?? "", { ...current, sync }, loaded.config);
    if (!kept.ok) return kept;
    const { encryption: before, ...config } = kept.config;
    const { encryption = before } = loaded.config;
    return { ok: true, config: encryption === undefined ? config : { ...config, encryption } };
  }

  /** A document that was sent. Tables' files are looked for beside the node's own file. */
  parse(document: string, current: Config): LoadResult {
    const file = this.file ?? "configuration";
    const emptied = emptiedProblem(document, file, current);
    if (emptied !== null) return { ok: false, problems: [emptied] };
    const parsed = parseConfig(document, file, this.#overrides, process.env, current.tables);
    if (!parsed.ok) return parsed;
    const kept = keepFixed(document, file, current, parsed.config);
    const problem = kept.ok ? encryptionProblem(document, file) : null;
    return problem === null ? kept : { ok: false, problems: [problem] };
  }

  /** Of the file's text: tells whether it was edited. */
  digest(): string {
    const { file } = this;
    const text = file === null || !existsSync(file) ? "" : readFileSync(file, "utf8");
    return createHash("sha256").update(text).digest("hex");
  }
}

/** Where it goes, and how, may change; whether it goes anywhere, and who is in charge, may not. */
function nextSync(current: SyncConfig | null, next: SyncConfig | null): SyncConfig | null {
  if (current === null || next === null) return current;
  const fixed = ({ url, sinks, remote }: SyncConfig): unknown => [url === null, sinks, remote];
  return isDeepStrictEqual(fixed(current), fixed(next)) ? next : current;
}

/** The streams, queries, tables and alerts of `next`, and its `buffer` where it has one, with all else as it is. */
function keepFixed(text: string, file: string, current: Config, next: Config): LoadResult {
  const lines = new LineCounter();
  const document = parseDocument(veil(text), { lineCounter: lines });
  const places = new Places(document, lines);
  const problems = FIXED.flatMap(([path, of, reason]): Problem[] => {
    if (!document.hasIn(path) || document.getIn(path) === HIDDEN) return [];
    if (isDeepStrictEqual(of(current), of(next))) return [];
    const name = path.join(".");
    const message = `${name} cannot be changed while the node runs: ${reason}`;
    const fix =
      "leave it out or as it was; to change it, write it into the node's file and start the node again";
    return [{ file, ...places.ofValue(path), path: name, message, fix }];
  });
  if (problems.length > 0) return { ok: false, problems };
  const { tables: _tables, ...kept } = current;
  const { acceptsAnyStream, streams, queries, alerts, writtenWebhooks = new Map(), tables } = next;
  const changed = { acceptsAnyStream, streams, queries, alerts, writtenWebhooks };
  const buffer = document.hasIn(["buffer"]) ? next.buffer : current.buffer;
  return { ok: true, config: { ...kept, ...changed, buffer, ...(tables === undefined ? {} : { tables }) } };
}

/** Keys must be known before the data is opened, and no request may name a program to run: they come by the file alone. */
function encryptionProblem(text: string, file: string): Problem | null {
  const lines = new LineCounter();
  const document = parseDocument(veil(text), { lineCounter: lines });
  const path = ["encryption"];
  if (!document.hasIn(path)) return null;
  const place = new Places(document, lines).ofValue(path);
  const message = "encryption is set in the node's file alone";
  return {
    file,
    ...place,
    path: "encryption",
    message,
    fix: "leave it out; to change the key, edit the file and send SIGHUP",
  };
}
