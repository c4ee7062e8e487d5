import { access, mkdir, open, rename, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { zstdCompress } from "node:zlib";
import type { PackForm } from "../../../workers/sync.ts";
import type { FileTarget } from "../../config/sink-config.ts";
import { rejected, unreachable } from "../failure-text.ts";
import type { Delivery, OutgoingBatch, Sink } from "../sink.ts";
import type { SinkParts } from "./sink-parts.ts";
import { tablePlace } from "./table-place.ts";

const compress = promisify(zstdCompress);
/** Of a batch: no directory could take it. Anything else is of the disk, or of its permissions. */
const REJECTED = new Set(["ENAMETOOLONG", "EFBIG"]);

/**
 * Files in a directory: one for each table of a batch, under a name made of the batch's key. A file that is there is
 * whole: it is written under another name, fsynced, and renamed. So what is delivered again is there already.
 */
export class FileSink implements Sink {
  readonly name: string;
  readonly form: PackForm;
  readonly #dir: string;
  readonly #edge: string;
  readonly #target: FileTarget;
  readonly #known = new Set<string>();

  constructor({ name, target, edge }: SinkParts<FileTarget>) {
    this.name = name;
    this.form = target.format;
    this.#dir = resolve(target.dir);
    this.#edge = edge;
    this.#target = target;
  }

  async deliver({ key, tables, rows }: OutgoingBatch): Promise<Delivery> {
    try {
      let written = 0;
      for (const table of tables) {
        const file = join(this.#dir, `${tablePlace(table, this.#edge, key)}${this.#extension}`);
        if (await isThere(file)) {
          // It may have been renamed by a life that ended before its name was durable.
          await syncDirectory(dirname(file));
          continue;
        }
        const body = this.#target.isCompressed ? await compress(table.body) : table.body;
        await this.#write(file, body);
        written += table.rows;
      }
      return { kind: "delivered", stored: written, isDuplicate: written === 0 && rows > 0 };
    } catch (cause) {
      return REJECTED.has(codeOf(cause)) ? rejected(cause) : unreachable(cause);
    }
  }

  async probe(): Promise<boolean> {
    try {
      await this.#makeDirectory(this.#dir);
      const file = join(this.#dir, PROBE);
      await (await open(file, "w")).close();
      await unlink(file);
      return true;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    this.#known.clear();
  }

  get #extension(): string {
    const { format, isCompressed } = this.#target;
    return format === "parquet" ? ".parquet" : isCompressed ? ".ndjson.zst" : ".ndjson";
  }

  async #write(file: string, body: Uint8Array): Promise<void> {
    const folder = dirname(file);
    await this.#makeDirectory(folder);
    const partial = `${file}.partial`;
    try {
      await writeDurably(partial, body);
    } catch (cause) {
      // The directory was there once, and was removed.
      if (codeOf(cause) !== "ENOENT") throw cause;
      this.#known.clear();
      await this.#makeDirectory(folder);
      await writeDurably(partial, body);
    }
    await rename(partial, file);
    await syncDirectory(folder);
  }

  /** With its parents, each of which is fsynced when it got a new entry. */
  async #makeDirectory(folder: string): Promise<void> {
    if (this.#known.has(folder)) return;
    const first = await mkdir(folder, { recursive: true });
    if (first !== undefined)
      for (let at = folder; ; at = dirname(at)) {
        await syncDirectory(dirname(at));
        if (at === first || at === dirname(at)) break;
      }
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(folder);
  }
}

const PROBE = ".millrace-probe";
/** Directories that are known to be there; there is one for each hour. */
const MAX_KNOWN = 1_000;

async function writeDurably(file: string, body: Uint8Array): Promise<void> {
  const handle = await open(file, "w");
  try {
    await handle.writeFile(body);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return false;
    throw cause;
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}
