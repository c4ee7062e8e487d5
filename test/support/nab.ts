import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY_ROOT } from "./node-process.ts";

/** The Numenta Anomaly Benchmark's data, kept beside the repository. */
const NAB_DIR = join(REPOSITORY_ROOT, "../shared/data/nab");
const FOLDERS = ["realAWSCloudwatch", "realKnownCause", "realTraffic"];

/** A reason to skip a test that needs the data, or false. */
export const nabIsMissing: string | false = existsSync(NAB_DIR)
  ? false
  : "the NAB data is not beside the repository (../shared/data/nab)";

/** One reading. Times in µs. */
export interface Reading {
  readonly file: string;
  readonly timeUs: number;
  readonly value: number;
}

/** All readings of all files, file by file. */
export function readNab(): Reading[] {
  return FOLDERS.flatMap((folder) =>
    readdirSync(join(NAB_DIR, folder))
      .filter((name) => name.endsWith(".csv"))
      .toSorted()
      .flatMap((name) => readFile(folder, name)),
  );
}

function readFile(folder: string, name: string): Reading[] {
  const [header, ...lines] = readFileSync(join(NAB_DIR, folder, name), "utf8")
    .trimEnd()
    .split(/\r?\n/);
  if (header !== "timestamp,value") throw new Error(`${folder}/${name} has an unknown header: ${header}`);
  return lines.map((line) => {
    const [time, value] = line.split(",");
    return {
      file: name.slice(0, -".csv".length),
      timeUs: Date.parse(`${time?.replace(" ", "T")}Z`) * 1_000,
      value: Number(value),
    };
  });
}
