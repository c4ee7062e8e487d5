import type { ResultRow } from "../messages.ts";
import type { WindowOfKey } from "./window.ts";

/** Results of one window that stand as given. */
interface GivenWindow {
  readonly startUs: number;
  readonly endUs: number;
  /** JSON texts, as result rows have them. */
  readonly keys: Set<string>;
}

/** A window's line begins with it; keys are JSON, and begin otherwise. */
const WINDOW_MARK = "@";

/** Which results stand as given, of the windows that may still be revised. */
export class GivenResults {
  readonly #windows = new Map<string, GivenWindow>();
  /** Rows of one window come one after another. */
  #last: GivenWindow | null = null;

  /**
   * What is to be given of a row: itself, its retraction, or nothing. Rows of windows that end at `finalUs` or before are the
   * last of their window and key, and are not remembered.
   */
  pass(row: ResultRow, isTrue: boolean, finalUs: number): ResultRow | null {
    if (!isTrue || row.retracted === true) {
      return this.#delete(row) ? { ...row, values: "{}", retracted: true } : null;
    }
    if (row.endUs > finalUs) this.#open(row.startUs, row.endUs).keys.add(row.key);
    return row;
  }

  /** Forgets windows that can give nothing more. */
  forget(closed: readonly WindowOfKey[]): void {
    for (const window of closed) this.#delete(window);
  }

  /** Forgets windows that end there or before. */
  forgetUntil(endUs: bigint): void {
    for (const [id, window] of this.#windows) if (BigInt(window.endUs) <= endUs) this.#drop(id, window);
  }

  /** All of them as bytes, windows and keys in the order in which they were given. */
  write(): Buffer {
    const lines: string[] = [];
    for (const { startUs, endUs, keys } of this.#windows.values()) {
      lines.push(`${WINDOW_MARK}${startUs} ${endUs}`);
      for (const key of keys) lines.push(key);
    }
    return Buffer.from(lines.join("\n"));
  }

  /** Puts what `write` wrote in the place of what is known. */
  read(bytes: Uint8Array): void {
    this.#windows.clear();
    this.#last = null;
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
    let keys = new Set<string>();
    for (const line of text === "" ? [] : text.split("\n")) {
      if (line.startsWith(WINDOW_MARK)) {
        const [startUs, endUs] = line.slice(1).split(" ").map(Number) as [number, number];
        keys = this.#open(startUs, endUs).keys;
      } else keys.add(line);
    }
  }

  #open(startUs: number, endUs: number): GivenWindow {
    const known = this.#find(startUs, endUs);
    if (known !== undefined) return known;
    const opened = { startUs, endUs, keys: new Set<string>() };
    this.#windows.set(idOf(startUs, endUs), opened);
    this.#last = opened;
    return opened;
  }

  #find(startUs: number, endUs: number): GivenWindow | undefined {
    if (this.#last?.startUs === startUs && this.#last.endUs === endUs) return this.#last;
    const found = this.#windows.get(idOf(startUs, endUs));
    if (found !== undefined) this.#last = found;
    return found;
  }

  /** Whether it stood as given. */
  #delete({ startUs, endUs, key }: WindowOfKey): boolean {
    const window = this.#find(startUs, endUs);
    if (window?.keys.delete(key) !== true) return false;
    if (window.keys.size === 0) this.#drop(idOf(startUs, endUs), window);
    return true;
  }

  #drop(id: string, window: GivenWindow): void {
    this.#windows.delete(id);
    if (this.#last === window) this.#last = null;
  }
}

function idOf(startUs: number, endUs: number): string {
  return `${startUs} ${endUs}`;
}
