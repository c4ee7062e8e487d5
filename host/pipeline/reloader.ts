import type { Logger } from "pino";
import { MillraceError } from "../../workers/errors.ts";
import type { StoredConfig } from "../../workers/store/log-reader.ts";
import type { Config } from "../config/config.ts";
import { formatProblem, type Problem } from "../config/problems.ts";
import type { ConfigSource } from "../config/source.ts";
import type { Engine, ReloadOutcome } from "./engine.ts";
import { type ConfigOrigin, readQuerySet } from "./query-set.ts";

export type ReloadAnswer =
  | { readonly ok: true; readonly outcome: ReloadOutcome }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Changes the configuration of a running node: whole, or not at all. */
export class Reloader {
  readonly #source: ConfigSource;
  readonly #engine: Engine;
  readonly #log: Logger;
  #turn: Promise<unknown> = Promise.resolve();
  /** Changes that were put in force, and those refused. */
  applied = 0;
  refused = 0;

  constructor(source: ConfigSource, engine: Engine, log: Logger) {
    this.#source = source;
    this.#engine = engine;
    this.#log = log;
  }

  /** Reads the node's file again. What was put before gives way to it. */
  fromFile(): Promise<ReloadAnswer> {
    return this.#inTurn("its file", () => [this.#source.reload(this.#engine.config()), { kind: "file" }]);
  }

  /** Puts a document in force. It is kept with the data, and holds at later starts until the node's file is changed. */
  put(document: string): Promise<ReloadAnswer> {
    return this.#inTurn("PUT /v1/config", () => [
      this.#source.parse(document, this.#engine.config()),
      { kind: "put", document, fileDigest: this.#source.digest() },
    ]);
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
      const outcome = await this.#engine.reload(loaded.config, origin);
      this.applied++;
      this.#log.info({ from, ...outcome }, "configuration changed");
      return { ok: true, outcome };
    } catch (cause) {
      this.refused++;
      this.#log.error({ err: cause, from }, "the configuration was not changed");
      throw cause;
    }
  }
}

/** What a node starts with: what was put last, unless its file has been changed since. */
export function configAtStart(
  source: ConfigSource,
  ofFile: Config,
  newest: StoredConfig | null,
  log: Logger,
): { readonly config: Config; readonly origin: ConfigOrigin } {
  const fromFile = { config: ofFile, origin: { kind: "file" } } as const;
  if (newest === null) return fromFile;
  const { origin, version } = readQuerySet(newest);
  if (origin.kind === "file") return fromFile;
  const file = source.file ?? "the defaults";
  if (origin.fileDigest !== source.digest()) {
    log.warn(
      { file, version },
      "the file was changed after PUT /v1/config, so the file holds and what was put is dropped",
    );
    return fromFile;
  }
  const parsed = source.parse(origin.document, ofFile);
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
