import { readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** Deletes what was kept of a damaged database and its log: with a key, nothing may stay in the plain beside it. */
export function forgetKeptFiles(file: string): void {
  const dir = dirname(file);
  const name = basename(file);
  for (const each of readdirSync(dir)) {
    if (each.startsWith(name) && each.includes(".damaged-")) rmSync(join(dir, each), { force: true });
  }
}
