import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { BenchReport, Machine } from "../report.ts";
import type { Neighbours } from "./neighbours.ts";

/** A run as it is kept: what was found, on what machine, of which version, how it is repeated, and who else was at work. */
export interface KeptResult extends BenchReport {
  readonly machine: Machine;
  readonly command: string;
  readonly tookSeconds: number;
  readonly meanwhile: Neighbours | null;
}

export const RESULTS_FOLDER = fileURLToPath(new URL("../results", import.meta.url));
const NAME = /^[a-z0-9][a-z0-9-]*$/;

/** Whether a result can be kept under the name: lower-case letters, digits and dashes. */
export function isResultName(name: string): boolean {
  return NAME.test(name);
}

/** Writes `FOLDER/NAME.json`, in the place of an older one, and gives the file's name. */
export function keepResult(folder: string, name: string, result: KeptResult): string {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${name}.json`);
  writeFileSync(file, `${JSON.stringify(result, null, 2)}\n`);
  return file;
}
