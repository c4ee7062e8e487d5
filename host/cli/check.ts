import { configJsonSchema } from "../config/json-schema.ts";
import { DEFAULT_FILE, loadConfig } from "../config/load.ts";
import { formatProblem } from "../config/problems.ts";
import { EXIT, finish, print, warn } from "./output.ts";

interface CheckOptions {
  readonly config?: string;
  readonly json?: true;
  readonly schema?: true;
}

/** `millrace check`: says whether a configuration is valid, without starting anything. */
export function check({ config: file = DEFAULT_FILE, json, schema }: CheckOptions): void {
  if (schema) {
    print(JSON.stringify(configJsonSchema(), null, 2));
    return;
  }
  const loaded = loadConfig(file);
  const problems = loaded.ok ? [] : loaded.problems;
  if (json) print(JSON.stringify({ valid: loaded.ok, problems }));
  else for (const problem of problems) warn(formatProblem(problem));
  if (loaded.ok && !json) print(`${file} is valid`);
  if (!loaded.ok) finish(EXIT.failed);
}
