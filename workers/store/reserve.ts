import { closeSync, fsyncSync, openSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";

const RESERVE_FILE = "millrace.reserve";
const CHUNK_BYTES = 64 * 1024;

/**
 * A file that holds some of the disk: deleting rows writes into the log first, so on a disk that is full to the last
 * byte nothing could be deleted. It is cut to make room, and filled again when there is some.
 */
export class Reserve {
  readonly #file: string;
  #bytes: number;

  constructor(dir: string) {
    this.#file = join(dir, RESERVE_FILE);
    this.#bytes = statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Makes it so large. Its bytes are written, for a file with holes holds nothing. @throws as the file system does */
  fill(bytes: number): void {
    if (this.#bytes === bytes) return;
    const file = openSync(this.#file, "w");
    try {
      const chunk = new Uint8Array(CHUNK_BYTES).fill(0x52);
      for (let at = 0; at < bytes; at += CHUNK_BYTES)
        writeSync(file, chunk, 0, Math.min(CHUNK_BYTES, bytes - at));
      fsyncSync(file);
    } catch (cause) {
      this.release();
      throw cause;
    } finally {
      closeSync(file);
    }
    this.#bytes = bytes;
  }

  /** Gives its room back to the disk. */
  release(): void {
    if (statSync(this.#file, { throwIfNoEntry: false }) !== undefined) truncateSync(this.#file, 0);
    this.#bytes = 0;
  }
}
