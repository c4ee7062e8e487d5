import { existsSync, readFileSync } from "node:fs";
import { type Document, LineCounter, parseDocument, type YAMLParseError } from "yaml";
import { buildConfig, type Report } from "./build.ts";
import type { Config, TableConfig } from "./config.ts";
import { DEFAULT_LIMITS } from "./defaults.ts";
import { type Environment, substituteVariables } from "./env.ts";
import { explainIssues } from "./explain.ts";
import { lostNames } from "./lost-names.ts";
import { Places } from "./places.ts";
import type { Problem } from "./problems.ts";
import { configFile, parseListen } from "./schema.ts";
import { type KnownTables, loadTable } from "./table/load.ts";
import { unveil, veil } from "./veil.ts";
import { watchAddresses } from "./webhook-addresses.ts";

/** What the command line says over the file. */
export interface Overrides {
  readonly dataDir?: string | undefined;
  readonly listen?: string | undefined;
}

export type LoadResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly Problem[] };

export const DEFAULT_FILE = "millrace.yaml";

/** Loads a configuration. Without a path, `millrace.yaml` is used where it exists, else the defaults. */
export function loadConfig(
  path: string | null,
  overrides: Overrides = {},
  known: KnownTables = new Map(),
): LoadResult {
  const file = path ?? (existsSync(DEFAULT_FILE) ? DEFAULT_FILE : null);
  if (file === null) return parseConfig("", "defaults", overrides, process.env, known);
  const read = readConfigFile(file);
  return read.ok ? parseConfig(read.text, file, overrides, process.env, known) : read;
}

/** A configuration's file as it is at one moment: read again, it may be another. */
export function readConfigFile(
  file: string,
): { readonly ok: true; readonly text: string } | (LoadResult & { readonly ok: false }) {
  try {
    return { ok: true, text: readFileSync(file, "utf8") };
  } catch (cause) {
    if (!(cause instanceof Error && "code" in cause)) throw cause;
    const message =
      cause.code === "ENOENT" ? "there is no such file" : `the file cannot be read (${String(cause.code)})`;
    return refuse([
      { file, line: 1, column: 1, path: "", message, fix: "name a configuration with -c FILE" },
    ]);
  }
}

/** As `loadConfig`, from text. `file` is its name in messages. */
export function parseConfig(
  text: string,
  file: string,
  overrides: Overrides = {},
  environment: Environment = process.env,
  known: KnownTables = new Map(),
): LoadResult {
  const lines = new LineCounter();
  const document = parseDocument(veil(text), { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const places = new Places(document, lines);
  const malformed = [...document.errors, ...document.warnings];
  if (malformed.length > 0) return refuse(malformed.map((error) => explainSyntax(error, file, places)));
  const lost = lostNames(document, file, places);
  if (lost.length > 0) return refuse(lost);
  const writtenAddresses = watchAddresses(document);
  const missing = substituteVariables(document, environment);
  const problems: Problem[] = missing.map(({ name, offset }) => {
    const message = `the environment variable ${name} is not set`;
    return { file, ...places.ofOffset(offset), path: "", message, fix: "set it, or write the value here" };
  });
  const content = toContent(document);
  if (!content.ok)
    return refuse([{ file, line: 1, column: 1, path: "", message: content.message, fix: null }]);
  const parsed = configFile.safeParse(content.value, { reportInput: true });
  if (!parsed.success) {
    // A setting whose variable is missing is wrong for that reason alone.
    const unset = missing.map(({ textOffset }) => places.ofOffset(textOffset));
    const others = explainIssues(parsed.error.issues, file, places).filter(
      (problem) => !unset.some(({ line, column }) => line === problem.line && column === problem.column),
    );
    return refuse([...problems, ...others]);
  }
  const maxBytes = parsed.data.limits?.maxTable ?? DEFAULT_LIMITS.maxTableBytes;
  const tables = new Map<string, TableConfig>();
  for (const [name, input] of Object.entries(parsed.data.tables ?? {})) {
    const loaded = loadTable(name, input, { configFile: file, maxBytes, known });
    if (loaded.ok) tables.set(name, loaded.table);
    else if (loaded.problem.file !== "") problems.push(loaded.problem);
    else problems.push({ ...loaded.problem, file, ...places.ofValue(loaded.problem.path.split(".")) });
  }
  // What uses a table that is not there would only be said twice.
  if (problems.length > missing.length) return refuse(problems);
  const report: Report = (path, { message, fix }, column) => {
    problems.push({ file, ...places.ofValue(path, column), path: path.join("."), message, fix });
  };
  const config = buildConfig(parsed.data, report, tables);
  const listen = overrides.listen === undefined ? config.listen : parseListen(overrides.listen);
  if (listen === null) {
    const message = `--listen ${overrides.listen} must be HOST:PORT`;
    problems.push({
      file: "command line",
      line: 1,
      column: 1,
      path: "",
      message,
      fix: "write it like 127.0.0.1:7070",
    });
  }
  if (listen === null || problems.length > 0) return refuse(problems);
  const dataDir = overrides.dataDir ?? config.dataDir;
  return { ok: true, config: { ...config, dataDir, listen, writtenWebhooks: writtenAddresses() } };
}

function toContent(document: Document): { ok: true; value: unknown } | { ok: false; message: string } {
  try {
    return { ok: true, value: document.toJS() ?? {} };
  } catch (cause) {
    return { ok: false, message: cause instanceof Error ? cause.message : String(cause) };
  }
}

function explainSyntax(
  { code, message, pos }: Pick<YAMLParseError, "code" | "message" | "pos">,
  file: string,
  places: Places,
): Problem {
  const place = { file, ...places.ofOffset(pos[0]), path: "" };
  if (code === "DUPLICATE_KEY")
    return { ...place, message: "this setting stands twice in its map", fix: "remove one of the two" };
  if (code === "TAG_RESOLVE_FAILED")
    return {
      ...place,
      message: "! begins a tag of YAML",
      fix: "write not x, or put the expression in quotes",
    };
  if (code === "MULTIPLE_DOCS")
    return { ...place, message: "--- begins a second document", fix: "keep one of them" };
  if (code === "TAB_AS_INDENT") return { ...place, message: "a tab cannot indent YAML", fix: "use spaces" };
  return { ...place, message: unveil(message), fix: null };
}

function refuse(problems: readonly Problem[]): LoadResult & { readonly ok: false } {
  return { ok: false, problems: problems.toSorted((a, b) => a.line - b.line || a.column - b.column) };
}
