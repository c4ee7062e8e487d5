const BAR_WIDTH = 24;
const REDRAW_MS = 100;

/** A line on stderr that is drawn over and over; nothing where stderr is no terminal. */
export class Progress {
  readonly #isShown = process.stderr.isTTY === true;
  readonly #totalBytes: number | null;
  readonly #startMs = performance.now();
  #drawnMs = 0;

  constructor(totalBytes: number | null) {
    this.#totalBytes = totalBytes;
  }

  update(bytes: number, events: number): void {
    const nowMs = performance.now();
    if (!this.#isShown || nowMs - this.#drawnMs < REDRAW_MS) return;
    this.#drawnMs = nowMs;
    const seconds = (nowMs - this.#startMs) / 1_000;
    const rate = `${formatCount(events)} events  ${formatCount(events / seconds)}/s`;
    this.#draw(this.#totalBytes === null ? rate : `${bar(bytes / this.#totalBytes)}  ${rate}`);
  }

  /** How much of a work is done, 0 to 1, and what it is. */
  part(share: number, what: string): void {
    const nowMs = performance.now();
    if (!this.#isShown || nowMs - this.#drawnMs < REDRAW_MS) return;
    this.#draw(`${bar(share)}  ${what}`);
  }

  /** A word about a wait, until the next update. */
  note(text: string): void {
    if (this.#isShown) this.#draw(text);
  }

  clear(): void {
    if (this.#isShown && this.#drawnMs > 0) this.#draw("");
  }

  #draw(text: string): void {
    const columns = process.stderr.columns ?? 80;
    this.#drawnMs = performance.now();
    process.stderr.write(`\r\u{1b}[K${text.slice(0, columns - 1)}`);
  }
}

function bar(share: number): string {
  const part = Math.min(1, Math.max(0, share));
  const filled = Math.round(part * BAR_WIDTH);
  return `[${"=".repeat(filled).padEnd(BAR_WIDTH)}] ${String(Math.floor(part * 100)).padStart(3)} %`;
}

/** `1,234,567` */
export function formatCount(count: number): string {
  return Math.round(count).toLocaleString("en-US");
}
