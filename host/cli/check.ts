import { loadConfig } from "../config/load.ts";
import { complain, print } from "./output.ts";

/** `millrace check`: exit code 0 when the configuration is valid, 1 when not. */
export function check(options: { config: string; json?: true }): void {
  const loaded = loadConfig(options.config);
  const problems = loaded.ok ? [] : loaded.problems;
  if (options.json) print(JSON.stringify({ valid: loaded.ok, problems }));
  else if (loaded.ok) print(`${options.config} is valid`);
  for (const { file, line, column, path, message } of options.json ? [] : problems) {
    complain(`${file}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`);
  }
  if (!loaded.ok) process.exitCode = 1;
}
