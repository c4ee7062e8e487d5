import { existsSync, globSync, statSync } from "node:fs";
import { resolve } from "node:path";
import { fileSource, type Source, stdinSource } from "./batches.ts";
import { CommandError } from "./client.ts";
import { EXIT } from "./output.ts";

const GLOB = /[*?[{]/;

/** What the arguments name: files, patterns of files, `-` for stdin. All of it is looked up before anything is sent. */
export function findSources(names: readonly string[], stdinName: string | null, run: string): Source[] {
  const sources = new Map<string, Source>();
  for (const name of names.length === 0 ? ["-"] : names) {
    if (name === "-") sources.set("-", stdinSource(stdinName, run));
    else for (const file of expand(name)) sources.set(resolve(file), openable(file));
  }
  return [...sources.values()];
}

function expand(name: string): string[] {
  if (existsSync(name) || !GLOB.test(name)) return [name];
  const found = globSync(name).filter((file) => statSync(file).isFile());
  if (found.length > 0) return found.sort();
  throw new CommandError(EXIT.failed, `no file is named like ${name}`);
}

function openable(file: string): Source {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined) throw new CommandError(EXIT.failed, `there is no file ${file}`);
  if (stats.isDirectory())
    throw new CommandError(EXIT.failed, `${file} is a folder; name its files, as in '${file}/*'`);
  return fileSource(resolve(file), file, stats.size);
}
