import { existsSync } from "node:fs";
import { databaseFile } from "../../workers/store/data-dir.ts";
import type { Config } from "../config/config.ts";
import { DEFAULT_FILE, loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problems.ts";
import { CommandError } from "./client.ts";
import { EXIT } from "./output.ts";

const DEFAULT_DATA = "./millrace-data";

/** A valid configuration, that of `millrace.yaml` where none is named and it is there, or null. */
export function readConfig(file: string | undefined): Config | null {
  if (file === undefined && !existsSync(DEFAULT_FILE)) return null;
  const loaded = loadConfig(file ?? DEFAULT_FILE);
  if (loaded.ok) return loaded.config;
  throw new CommandError(EXIT.failed, loaded.problems.map(formatProblem).join("\n"));
}

/**
 * The data directory of a command that reads it itself: the option, else the configuration's, else the default.
 * @throws CommandError when there is no store in it
 */
export function dataDirectory(option: string | undefined, config: () => Config | null): string {
  const dir = option ?? config()?.dataDir ?? DEFAULT_DATA;
  if (existsSync(databaseFile(dir))) return dir;
  throw new CommandError(
    EXIT.failed,
    `${dir} is no data directory: there is no ${databaseFile(dir)}; name it with --data`,
  );
}
