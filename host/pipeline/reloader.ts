import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { TableData } from "../../workers/messages.ts";
import type { StoredConfig } from "../../workers/store/log-reader.ts";
import type { Config, TableConfig } from "../config/config.ts";
import { declaresAnything, EMPTIED } from "../config/emptied.ts";
import { formatProblem, type Problem } from "../config/problems.ts";
import { localSettings } from "../config/remote-document.ts";
import type { ConfigSource } from "../config/source.ts";
import { replaceTables, withPutRows } from "../config/table/replace.ts";
import { readTable, TableError, type TableFormat } from "../config/table/rows.ts";
import { emptyTable, fromStored, rowCount } from "../config/table/stored.ts";
import { revealAddresses } from "../config/webhook-addresses.ts";
import type { Encryption } from "../encryption/encryption.ts";
import type { StorageClient } from "../store/storage-client.ts";
import type { Engine, ReloadOutcome } from "./engine.ts";
import { type ConfigOrigin, type RemoteVersion, readQuerySet } from "./query-set.ts";

export type ReloadAnswer =
  | { readonly ok: true; readonly outcome: ReloadOutcome }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** What came of rows that were put. */
export type TableAnswer =
  | { readonly kind: "put"; readonly rows: number; readonly version: number }
  | { readonly kind: "unknown" }
  | { readonly kind: "file"; readonly file: string }
  | { readonly kind: "refused"; readonly problems: readonly Problem[] };

/** As the log names it. */
const FILE = "its file";

/** Changes the configuration of a running node: whole, or not at all. */
export class Reloader {
  readonly #source: ConfigSource;
  readonly #engine: Engine;
  readonly #log: Logger;
  readonly #encryption: Pick<Encryption, "change"> | null;
  #turn: Promise<unknown> = Promise.resolve();
  #origin: ConfigOrigin;
  /** Hears of each configuration that is in force. */
  onChanged: (config: Config) => void = () => undefined;
  /** Changes that were put in force, and those refused. */
  applied = 0;
  refused = 0;

  constructor(
    source: ConfigSource,
    engine: Engine,
    log: Logger,
    encryption: Pick<Encryption, "change"> | null = null,
    origin: ConfigOrigin = { kind: "file" },
  ) {
    this.#origin = origin;
    this.#encryption = encryption;
    this.#source = source;
    this.#engine = engine;
    this.#log = log;
  }

  /** Of what is in force. */
  get origin(): ConfigOrigin {
    return this.#origin;
  }

  /** Reads the node's file again. What was put before gives way to it. */
  fromFile(): Promise<ReloadAnswer> {
    return this.#inTurn(FILE, () => {
      const current = this.#engine.config();
      const loaded = this.#source.reload(current);
      if (!loaded.ok || heldByHub(this.#origin, current) === null) return [loaded, { kind: "file" }];
      // What the hub holds stays: of the file only what no hub may set.
      const { sync, encryption } = loaded.config;
      const { encryption: _, ...config } = { ...current, ...(sync === undefined ? {} : { sync }) };
      return [
        { ok: true, config: encryption === undefined ? config : { ...config, encryption } },
        this.#origin,
      ];
    });
  }

  /** Puts rows in the place of those of a table that has no file. Durable, and in force for what comes, when it resolves. */
  putTable(name: string, text: string, format: TableFormat): Promise<TableAnswer> {
    const answer = this.#turn.then(() => this.#putTable(name, text, format));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async #putTable(name: string, text: string, format: TableFormat): Promise<TableAnswer> {
    const current = this.#engine.config();
    const table = current.tables?.get(name);
    if (table === undefined) return { kind: "unknown" };
    if (table.file !== null) return { kind: "file", file: table.file };
    const read = readRows(table, text, format);
    const replaced = read.ok ? replaceTables(current, [{ ...table, data: read.data }]) : read;
    if (!replaced.ok) {
      const { problems } = replaced;
      this.refused++;
      this.#log.error({ table: name, problems: problems.map(formatProblem) }, "a table's rows were refused");
      return { kind: "refused", problems };
    }
    const outcome = await this.#engine.reload(replaced.config);
    this.applied++;
    const rows = rowCount(replaced.config.tables?.get(name)?.data ?? table.data);
    this.#log.info({ table: name, rows, ...outcome }, "a table's rows were replaced");
    return { kind: "put", rows, version: outcome.version };
  }

  /** Puts a document in force. It is kept with the data, and holds at later starts until the node's file is changed. */
  put(document: string): Promise<ReloadAnswer> {
    return this.#inTurn("PUT /v1/config", () => {
      const current = this.#engine.config();
      const held = heldByHub(this.#origin, current);
      if (held !== null) return [held, this.#origin];
      // Kept with what was hidden: a start must find it there.
      const whole = revealAddresses(document, current);
      const origin = { kind: "put", document: whole, fileDigest: this.#source.digest() } as const;
      return [this.#source.parse(whole, current), origin];
    });
  }

  /** Puts a document of the hub in force. It holds at later starts until the hub gives another. */
  putRemote(document: string, version: RemoteVersion): Promise<ReloadAnswer> {
    return this.#inTurn("the hub", () => {
      const current = this.#engine.config();
      const [kind, name = ""] = version.scope.split(":", 2);
      const target = kind === "group" ? { group: name } : { edge: name };
      const problems = localSettings(document, target, `version ${version.version}`);
      const fileDigest = this.#source.digest();
      const origin = { kind: "put", document, fileDigest, remote: version } as const;
      return [problems.length > 0 ? { ok: false, problems } : this.#source.parse(document, current), origin];
    });
  }

  /** Goes back to what was in force. */
  restore(origin: ConfigOrigin): Promise<ReloadAnswer> {
    return this.#inTurn("what was in force before", () => {
      const current = this.#engine.config();
      if (origin.kind === "file") return [this.#source.reload(current), origin];
      return [this.#source.parse(origin.document, current), origin];
    });
  }

  #inTurn(
    from: string,
    read: () => readonly [ReturnType<ConfigSource["load"]>, ConfigOrigin],
  ): Promise<ReloadAnswer> {
    const answer = this.#turn.then(() => this.#reload(from, read));
    this.#turn = answer.catch(() => undefined);
    return answer;
  }

  async #reload(
    from: string,
    read: () => readonly [ReturnType<ConfigSource["load"]>, ConfigOrigin],
  ): Promise<ReloadAnswer> {
    try {
      const [loaded, origin] = read();
      if (!loaded.ok) {
        this.refused++;
        const problems = loaded.problems.map(formatProblem);
        this.#log.error({ from, problems }, "the configuration was refused; nothing changed");
        return loaded;
      }
      // First: a key that cannot be had leaves all as it was.
      if (from === FILE) await this.#encryption?.change(loaded.config.encryption);
      const outcome = await this.#engine.reload(loaded.config, origin);
      this.applied++;
      this.#origin = origin;
      this.onChanged(loaded.config);
      this.#log.info({ from, ...outcome }, "configuration changed");
      return { ok: true, outcome };
    } catch (cause) {
      this.refused++;
      this.#log.error({ err: cause, from }, "the configuration was not changed");
      throw cause;
    }
  }
}

/** Why a document cannot be put beside the hub's; null: it can. */
function heldByHub(
  origin: ConfigOrigin,
  { sync }: Config,
): { readonly ok: false; readonly problems: readonly Problem[] } | null {
  if (origin.kind !== "put" || origin.remote === undefined || sync?.remote == null) return null;
  const { scope, version } = origin.remote;
  const message = `the hub holds this node's configuration (${scope}, version ${version})`;
  const fix = "put it there; or set sync.config to false in the node's file and start it again";
  return { ok: false, problems: [{ file: "configuration", line: 1, column: 1, path: "", message, fix }] };
}

/** Nothing at all empties the table; else as its file would be read. */
function readRows(
  { name, key }: TableConfig,
  text: string,
  format: TableFormat,
): { readonly ok: true; readonly data: TableData } | { readonly ok: false; readonly problems: Problem[] } {
  try {
    const isEmpty = text.trim() === "" || (format === "json" && /^\s*\[\s*\]\s*$/.test(text));
    return { ok: true, data: isEmpty ? emptyTable(name, key) : readTable(name, text, format, key) };
  } catch (cause) {
    if (!(cause instanceof TableError)) throw cause;
    const { line, message, fix } = cause;
    return { ok: false, problems: [{ file: "", line, column: 1, path: `tables.${name}`, message, fix }] };
  }
}

/** The tables of the newest entry of the log, with their rows: for those of them that have no file. */
export async function tablesInForce(
  storage: StorageClient,
  newest: StoredConfig | null,
): Promise<ReadonlyMap<string, TableConfig>> {
  const put = (newest === null ? [] : (readQuerySet(newest).tables ?? [])).filter(
    ({ file }) => file === null,
  );
  const stored = await storage.readTables(put.map(({ digest }) => digest));
  const rows = new Map(stored.map((table) => [table.digest, fromStored(table)]));
  const tables = put.map(({ digest, ...table }): TableConfig => {
    return { ...table, data: rows.get(digest) ?? emptyTable(table.name, table.key) };
  });
  return new Map(tables.map((table) => [table.name, table]));
}

/** What a node starts with: what was put last, unless its file has been changed since. */
export function configAtStart(
  source: ConfigSource,
  ofFile: Config,
  newest: StoredConfig | null,
  put: ReadonlyMap<string, TableConfig>,
  log: Logger,
  /** In the place of what is in force; null: nothing is. */
  instead: ConfigOrigin | null = null,
): { readonly config: Config; readonly origin: ConfigOrigin } {
  const file = source.file ?? "the defaults";
  const filled = withPutRows(ofFile, put);
  if (!filled.ok) {
    const problems = filled.problems.map((problem) => formatProblem({ ...problem, file }));
    throw new MillraceError(
      "E_CONFIG",
      `the configuration does not fit rows that were put: ${problems.join("; ")}; mend ${file}`,
    );
  }
  const inForce = newest === null ? null : readQuerySet(newest);
  const fromFile = () => {
    if (inForce !== null && source.isEmpty && declaresAnything(inForce))
      throw new MillraceError("E_CONFIG", `${file}: ${EMPTIED.message}; ${EMPTIED.fix}`);
    return { config: filled.config, origin: { kind: "file" } } as const;
  };
  if (inForce === null) return fromFile();
  const { origin: stored, version } = inForce;
  const origin = instead ?? stored;
  if (origin.kind === "file") return fromFile();
  if (origin.remote !== undefined && ofFile.sync?.remote == null) {
    log.warn(
      { file, version },
      "sync.config is not set any more, so the file holds and the hub's is dropped",
    );
    return fromFile();
  }
  if (origin.remote === undefined && origin.fileDigest !== source.digest()) {
    log.warn(
      { file, version },
      "the file was changed after PUT /v1/config, so the file holds and what was put is dropped",
    );
    return fromFile();
  }
  const parsed = source.parse(origin.document, { ...ofFile, tables: put });
  if (parsed.ok && origin.remote !== undefined) {
    log.info({ of: origin.remote.scope, version: origin.remote.version }, "the configuration is the hub's");
    return { config: parsed.config, origin };
  }
  if (parsed.ok) {
    log.info(
      { file, version },
      "the configuration is the one of PUT /v1/config, not of the file; SIGHUP goes back to the file",
    );
    return { config: parsed.config, origin };
  }
  // A node that drops queries loses windows; one that does not start loses events, but senders keep those and try again.
  throw new MillraceError(
    "E_CONFIG",
    `what PUT /v1/config put in force is not valid any more: ${parsed.problems.map(formatProblem).join("; ")};` +
      ` mend what it names, or edit ${file}: then the file holds`,
  );
}
