import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Random } from "./random.ts";
import { type Cleanup, makeTempDir } from "./temp-dir.ts";

/** A disk writes a sector whole or not at all. */
const SECTOR_BYTES = 512;
const SOURCE = fileURLToPath(new URL("./power-loss.c", import.meta.url));

/** Compiles the library that a node is loaded with; or says why it cannot be. */
export function buildPowerShim(
  cleanup: Cleanup,
): { readonly library: string } | { readonly missing: string } {
  if (process.platform !== "linux") return { missing: "LD_PRELOAD is needed, which is Linux's" };
  const library = join(makeTempDir(cleanup), "power-loss.so");
  try {
    execFileSync("cc", ["-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl", "-lpthread"], {
      stdio: "pipe",
    });
    return { library };
  } catch (cause) {
    return { missing: `a C compiler is needed (cc): ${String(cause).split("\n")[0]}` };
  }
}

type Change =
  | { readonly kind: "write"; readonly at: number; readonly data: Buffer }
  | { readonly kind: "truncate"; readonly length: number };

interface FileState {
  /** What a sync has made sure of. */
  durable: Buffer;
  /** Since then, in order. */
  pending: Change[];
}

type NameChange = (names: Map<string, FileState>) => void;

/**
 * A disk that loses power. It knows what a process has changed since the start of a round, and what it has synced. After
 * the cut: of each file what was synced, and of what was written since any of the sectors, in any mixture; of names that
 * were made, changed or removed since their folder was synced, the first few.
 */
export class PowerlessDisk {
  readonly #dir: string;
  readonly #names = new Map<string, FileState>();
  #durableNames = new Map<string, FileState>();
  #pendingNames: NameChange[] = [];
  syncs = 0;
  changes = 0;

  /** With what is in the folder now, all of it synced. */
  constructor(dir: string) {
    this.#dir = dir;
    mkdirSync(dir, { recursive: true });
    for (const name of readdirSync(dir)) {
      const path = join(dir, name);
      if (name.endsWith("-shm") || !statSync(path).isFile()) continue;
      this.#names.set(path, { durable: readFileSync(path), pending: [] });
    }
    this.#durableNames = new Map(this.#names);
  }

  /** Takes in what the process has done. */
  replay(journal: string): void {
    if (!existsSync(journal)) return;
    const bytes = readFileSync(journal);
    for (let at = 0; at + 24 <= bytes.length; ) {
      const op = bytes.readUInt32LE(at);
      const pathBytes = bytes.readUInt32LE(at + 4);
      const offset = Number(bytes.readBigUInt64LE(at + 8));
      const dataBytes = Number(bytes.readBigUInt64LE(at + 16));
      const path = bytes.toString("utf8", at + 24, at + 24 + pathBytes);
      const data = bytes.subarray(at + 24 + pathBytes, at + 24 + pathBytes + dataBytes);
      at += 24 + pathBytes + dataBytes;
      this.#take(op, path, offset, data);
    }
  }

  /** Puts into the folder what is left on the disk. */
  cut(random: Random): void {
    const names = new Map(this.#durableNames);
    for (const change of this.#pendingNames.slice(0, random.integer(0, this.#pendingNames.length)))
      change(names);
    rmSync(this.#dir, { recursive: true, force: true });
    mkdirSync(this.#dir, { recursive: true });
    for (const [path, file] of names) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, contentAfter(file, random));
    }
  }

  #take(op: number, path: string, offset: number, data: Buffer): unknown {
    this.changes++;
    switch (op) {
      case 1:
        this.#file(path).pending.push({ kind: "write", at: offset, data });
        return;
      case 2:
        this.#file(path).pending.push({ kind: "truncate", length: offset });
        return;
      case 3:
        this.#sync(path);
        return;
      case 4: {
        const file: FileState = { durable: Buffer.alloc(0), pending: [] };
        this.#rename((names) => void names.set(path, file));
        return;
      }
      case 5:
        this.#rename((names) => void names.delete(path));
        return;
      case 6: {
        const to = data.toString("utf8");
        this.#rename((names) => {
          const file = names.get(path);
          names.delete(path);
          if (file !== undefined) names.set(to, file);
        });
        return;
      }
      default:
        throw new Error(`the journal has a change of kind ${op}`);
    }
  }

  #rename(change: NameChange): void {
    change(this.#names);
    this.#pendingNames.push(change);
  }

  #sync(path: string): void {
    this.syncs++;
    const file = this.#names.get(path);
    if (file === undefined) {
      // A folder: its names are sure now.
      this.#durableNames = new Map(this.#names);
      this.#pendingNames = [];
      return;
    }
    file.durable = applied(file.durable, file.pending, () => true);
    file.pending = [];
  }

  #file(path: string): FileState {
    const file = this.#names.get(path);
    if (file === undefined) throw new Error(`the journal writes to ${path}, which is not there`);
    return file;
  }
}

/** What was synced, and of what was written since each sector with a chance of its own for this cut. */
function contentAfter({ durable, pending }: FileState, random: Random): Buffer {
  const share = random.pick([0, 1, random.next(), 0.5, 0.95]);
  return applied(durable, pending, () => random.chance(share));
}

/** The content after some changes, of each those sectors that are kept. */
function applied(durable: Buffer, changes: readonly Change[], isKept: () => boolean): Buffer {
  const most = changes.reduce(
    (size, change) =>
      Math.max(size, change.kind === "write" ? change.at + change.data.length : change.length),
    durable.length,
  );
  const content = Buffer.alloc(most);
  durable.copy(content);
  let length = durable.length;
  for (const change of changes) {
    if (change.kind === "truncate") {
      if (!isKept()) continue;
      content.fill(0, Math.min(length, change.length), length);
      length = change.length;
      continue;
    }
    const { at, data } = change;
    for (let from = at; from < at + data.length; ) {
      const to = Math.min(at + data.length, (Math.floor(from / SECTOR_BYTES) + 1) * SECTOR_BYTES);
      if (isKept()) {
        data.copy(content, from, from - at, to - at);
        length = Math.max(length, to);
      }
      from = to;
    }
  }
  return content.subarray(0, length);
}
