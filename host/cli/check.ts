import { existsSync } from "node:fs";
import { MillraceError } from "../../workers/errors.ts";
import type { MasterKeys } from "../../workers/seal/master-key.ts";
import { configJsonSchema } from "../config/json-schema.ts";
import { DEFAULT_FILE, loadConfig } from "../config/load.ts";
import { formatProblem, type Problem } from "../config/problems.ts";
import { loadKeys } from "../encryption/load-keys.ts";
import { CommandError } from "./client.ts";
import { EXIT, finish, print, warn } from "./output.ts";

interface CheckOptions {
  readonly config?: string;
  readonly json?: true;
  readonly schema?: true;
  readonly data?: string;
}

/**
 * `millrace check`: says whether a configuration is valid, without starting anything. With `--data` it looks at the store
 * too, which a start would open.
 */
export async function check({ config, json, schema, data }: CheckOptions): Promise<void> {
  if (schema) {
    print(JSON.stringify(configJsonSchema(), null, 2));
    return;
  }
  const file = config ?? DEFAULT_FILE;
  // A node without a configuration starts with the defaults: its store is all there is to check.
  const isOfStoreAlone = data !== undefined && config === undefined && !existsSync(file);
  if (isOfStoreAlone) {
    if (!(await checkStore(data, null, [], json === true))) finish(EXIT.failed);
    return;
  }
  const loaded = loadConfig(file);
  const problems = loaded.ok ? [] : loaded.problems;
  if (data !== undefined) {
    const isSound = await checkStore(data, await keysOf(loaded), problems, json === true);
    if (loaded.ok && !json) print(`${file} is valid`);
    if (!loaded.ok || !isSound) finish(EXIT.failed);
    return;
  }
  if (json) print(JSON.stringify({ valid: loaded.ok, problems }));
  else for (const problem of problems) warn(formatProblem(problem));
  if (loaded.ok && !json) print(`${file} is valid`);
  if (!loaded.ok) finish(EXIT.failed);
}

async function keysOf(loaded: ReturnType<typeof loadConfig>): Promise<MasterKeys | null> {
  const encryption = loaded.ok ? loaded.config.encryption : undefined;
  try {
    return encryption === undefined ? null : await loadKeys(encryption);
  } catch (cause) {
    if (!(cause instanceof MillraceError)) throw cause;
    throw new CommandError(EXIT.failed, `${cause.message} (${cause.code})`, { cause });
  }
}

/** Prints what was found; no store at all is sound: a start makes one. @returns whether it is sound */
async function checkStore(
  dir: string,
  masters: MasterKeys | null,
  problems: readonly Problem[],
  json: boolean,
): Promise<boolean> {
  // SQLite is loaded by those who ask for it.
  const { diagnose } = await import("../../workers/store/repair/doctor.ts");
  const { formatFinding, toJson } = await import("./doctor.ts");
  const options = { dir, masters, mode: "look", nowUs: Date.now() * 1000 } as const;
  const diagnosis = await diagnose(options).catch((cause: unknown) => {
    if (cause instanceof MillraceError && cause.code === "E_NO_STORE") return null;
    throw cause instanceof MillraceError
      ? new CommandError(EXIT.failed, `${cause.message} (${cause.code})`)
      : cause;
  });
  if (json)
    print(JSON.stringify({ valid: problems.length === 0, problems, store: diagnosis && toJson(diagnosis) }));
  else {
    for (const problem of problems) warn(formatProblem(problem));
    for (const finding of diagnosis?.findings ?? []) warn(formatFinding(finding));
    if (diagnosis === null) print(`${dir} holds no store yet`);
    else if (diagnosis.findings.length === 0) print(`${diagnosis.file} is healthy`);
  }
  return diagnosis === null || diagnosis.findings.length === 0;
}
