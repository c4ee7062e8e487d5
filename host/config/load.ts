import { existsSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import type { z } from "zod";
import type { Config, QueryConfig, StreamConfig } from "./config.ts";
import { DEFAULT_LIMITS, DEFAULTS } from "./defaults.ts";
import { type ConfigFile, configFile, parseListen } from "./schema.ts";

/** One thing that is wrong, where, and how to mend it. Lines and columns are 1-based. */
export interface Problem {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  readonly path: string;
  readonly message: string;
}

export interface Overrides {
  readonly dataDir?: string | undefined;
  readonly listen?: string | undefined;
}

export type LoadResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Keys that other releases know: naming them is an honest error, not a typing mistake. */
const NOT_YET = new Set([
  "alerts",
  "buffer",
  "sync",
  "tables",
  "where",
  "derive",
  "having",
  "early",
  "sliding",
  "every",
  "session",
  "count",
  "timezone",
]);
const DEFAULT_FILE = "millrace.yaml";
const VARIABLE = /\$\{([A-Za-z_]\w*)\}/g;

/** Loads a configuration. Without a path, `millrace.yaml` is used where it exists, else the defaults. */
export function loadConfig(path: string | null, overrides: Overrides = {}): LoadResult {
  const file = path ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : null);
  if (file === null) return build({}, overrides, "defaults", null);
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    return problem(file, 1, 1, "", `cannot be read: ${reason}`);
  }
  return parseConfig(text, file, overrides);
}

/** As `loadConfig`, from text. `file` is its name in messages. */
export function parseConfig(text: string, file: string, overrides: Overrides = {}): LoadResult {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const problems: Problem[] = document.errors.map((error) => {
    const { line, col } = lines.linePos(error.pos[0]);
    return { file, line, column: col, path: "", message: error.message };
  });
  if (problems.length > 0) return { ok: false, problems };
  const missing = new Set<string>();
  const raw: unknown = substitute(document.toJS() ?? {}, missing);
  const locate: Locate = (at) => position(document.contents as Node | null, at, lines);
  for (const variable of missing) {
    const offset = text.indexOf(`\${${variable}}`);
    const { line, col } = lines.linePos(Math.max(0, offset));
    const message = `the environment variable ${variable} is not set; set it, or write the value here`;
    problems.push({ file, line, column: col, path: "", message });
  }
  const parsed = configFile.safeParse(raw);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) problems.push(...explain(issue, file, locate));
  }
  if (!parsed.success || problems.length > 0) return { ok: false, problems };
  return build(parsed.data, overrides, file, locate);
}

type Path = readonly PropertyKey[];
type Locate = (path: Path) => { line: number; column: number };

function build(input: ConfigFile, overrides: Overrides, file: string, locate: Locate | null): LoadResult {
  const streams = new Map(
    Object.entries(input.streams ?? {}).map(([name, stream]) => [name, streamConfig(name, stream ?? {})]),
  );
  const problems: Problem[] = [];
  const queries = new Map<string, QueryConfig>();
  for (const [name, query] of Object.entries(input.queries ?? {})) {
    if (!streams.has(query.from)) {
      const at = locate?.(["queries", name, "from"]) ?? { line: 1, column: 1 };
      const hint = nearest(query.from, [...streams.keys()]);
      const message = `there is no stream ${query.from}; ${hint ?? "declare it under streams:"}`;
      problems.push({ file, ...at, path: `queries.${name}.from`, message });
    }
    const window = { kind: "tumbling", sizeUs: query.window.tumbling, offsetUs: query.window.offset ?? 0 } as const;
    const select = Object.entries(query.select).map(([output, expression]) => ({ name: output, ...expression }));
    queries.set(name, { name, from: query.from, window, by: query.by ?? null, select });
  }
  const listen = overrides.listen === undefined ? undefined : parseListen(overrides.listen);
  if (listen === null) {
    const message = `--listen ${overrides.listen} must be HOST:PORT, such as 127.0.0.1:7070`;
    problems.push({ file: "command line", line: 1, column: 1, path: "listen", message });
  }
  if (problems.length > 0) return { ok: false, problems };
  const { limits = {} } = input;
  const config: Config = {
    node: { id: input.node?.id ?? hostname() },
    dataDir: overrides.dataDir ?? input.data ?? DEFAULTS.dataDir,
    listen: listen ?? input.http?.listen ?? DEFAULTS.listen,
    acceptsAnyStream: streams.size === 0,
    streams,
    queries,
    limits: {
      maxBodyBytes: limits.maxBody ?? DEFAULT_LIMITS.maxBodyBytes,
      maxQueuedBytes: limits.maxQueuedBytes ?? DEFAULT_LIMITS.maxQueuedBytes,
      maxQueuedRequests: limits.maxQueuedRequests ?? DEFAULT_LIMITS.maxQueuedRequests,
      maxStreams: limits.maxStreams ?? DEFAULT_LIMITS.maxStreams,
      maxLiveClients: limits.maxLiveClients ?? DEFAULT_LIMITS.maxLiveClients,
    },
    ingestWorkers: input.workers?.ingest ?? DEFAULTS.ingestWorkers,
    checkpointEveryMs: (input.checkpoint?.every ?? DEFAULTS.checkpointEveryMs * 1_000) / 1_000,
    groupCommitMs: (input.durability?.groupCommit ?? DEFAULTS.groupCommitMs * 1_000) / 1_000,
  };
  return { ok: true, config };
}

type StreamInput = NonNullable<NonNullable<ConfigFile["streams"]>[string]>;

function streamConfig(name: string, input: StreamInput): StreamConfig {
  const { key, time, fields, watermark = {} } = input;
  return {
    name,
    key: key === undefined ? { fields: DEFAULTS.keyFields, isDeclared: false } : { fields: [key], isDeclared: true },
    time: {
      fields: time?.field === undefined ? DEFAULTS.timeFields : [time.field],
      isDeclared: time?.field !== undefined,
      unit: time?.unit ?? "auto",
    },
    fields: fields === undefined ? null : Object.entries(fields).map(([field, type]) => ({ name: field, type })),
    extra: input.extra ?? "keep",
    watermark: {
      boundUs: watermark.bound ?? DEFAULTS.boundUs,
      per: "stream",
      idleUs: watermark.idle ?? DEFAULTS.idleUs,
      maxAheadUs: watermark.maxAhead ?? DEFAULTS.maxAheadUs,
    },
    latenessUs: input.lateness ?? DEFAULTS.latenessUs,
    priority: input.priority ?? DEFAULTS.priority,
  };
}

function explain(issue: z.core.$ZodIssue, file: string, locate: Locate): Problem[] {
  if (issue.code === "invalid_union") return issue.errors[0]?.flatMap((inner) =>
    explain({ ...inner, path: [...issue.path, ...inner.path] }, file, locate)) ?? [];
  if (issue.code !== "unrecognized_keys") {
    return [{ file, ...locate(issue.path), path: issue.path.join("."), message: issue.message }];
  }
  return issue.keys.map((key) => {
    const path = [...issue.path, key];
    const message = NOT_YET.has(key)
      ? `\`${key}\` is not supported by this release; remove it`
      : `\`${key}\` is not a setting here; ${nearest(key, knownKeys(issue.path)) ?? "remove it"}`;
    return { file, ...locate(path), path: path.join("."), message };
  });
}

/** The settings that stand beside each other at a path, for hints. */
function knownKeys(path: Path): string[] {
  if (path.length === 0) return Object.keys(configFile.shape);
  const [section] = path;
  if (section === "streams") {
    return path.at(-1) === "watermark"
      ? ["bound", "per", "idle", "maxAhead"]
      : ["key", "time", "fields", "extra", "watermark", "lateness", "priority"];
  }
  if (section === "queries") return path.at(-1) === "window" ? ["tumbling", "offset"] : ["from", "window", "by", "select"];
  return ["id", "listen", "every", "groupCommit", "ingest", ...Object.keys(DEFAULT_LIMITS), "maxBody"];
}

function nearest(word: string, known: readonly string[]): string | null {
  const ranked = known.map((candidate) => ({ candidate, distance: editDistance(word, candidate) }));
  const best = ranked.toSorted((a, b) => a.distance - b.distance)[0];
  return best !== undefined && best.distance <= 3 ? `did you mean \`${best.candidate}\`?` : null;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The place of the deepest part of the path that the file has. */
function position(root: Node | null, path: Path, lines: LineCounter): { line: number; column: number } {
  let node: Node | null = root;
  let offset = root?.range?.[0] ?? 0;
  for (const part of path) {
    if (!isMap(node)) break;
    const pair = node.items.find((item) => isScalar(item.key) && String(item.key.value) === String(part));
    if (pair === undefined) break;
    offset = (pair.key as Node).range?.[0] ?? offset;
    node = pair.value as Node | null;
  }
  const { line, col } = lines.linePos(offset);
  return { line, column: col };
}

/** Puts environment variables into every string of a parsed file. */
function substitute(value: unknown, missing: Set<string>): unknown {
  if (typeof value === "string") {
    return value.replace(VARIABLE, (whole, variable: string) => {
      const found = process.env[variable];
      if (found === undefined) missing.add(variable);
      return found ?? whole;
    });
  }
  if (Array.isArray(value)) return value.map((item) => substitute(item, missing));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, substitute(item, missing)]));
}

function problem(file: string, line: number, column: number, path: string, message: string): LoadResult {
  return { ok: false, problems: [{ file, line, column, path, message }] };
}
