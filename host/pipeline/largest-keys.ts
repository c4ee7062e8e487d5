import type { KeySize, KeySizes } from "../../workers/core/key-sizes.ts";

/** Keys that are named. */
const NAMED_KEYS = 5;
/** State below this share of its limit needs no names: nobody looks, and the windows are not held up. */
const LOOK_SHARE = 0.5;
/** How often keys are looked through. */
const EVERY_MS = 10_000;
/** How often it is told that events are refused. */
const TOLD_EVERY_MS = 60_000;

/** The largest keys of the query with most state. */
export interface NamedKeys {
  readonly query: string;
  readonly keys: readonly KeySize[];
}

export interface LargestKeysParts {
  readonly windows: {
    largestKeys(task: { queryId: number; from: number; limit: number }): Promise<KeySizes>;
  };
  /** The query with most state, and what share of the limit all state takes. */
  readonly use: () => { readonly share: number; readonly query: { id: number; name: string } | null };
  /** Told of what is refused, but not of each: once in a while, with the keys named. */
  readonly onRefusal: (detail: string) => void;
  readonly onFailure: (cause: unknown) => void;
}

/** Names the keys that take most memory, so that whoever meets the limit of state knows what to look at. */
export class LargestKeys {
  readonly #parts: LargestKeysParts;
  #timer: NodeJS.Timeout | null = null;
  #look: Promise<void> | null = null;
  #toldAtMs = Number.NEGATIVE_INFINITY;
  /** As they were last looked through; null while there is room enough. */
  named: NamedKeys | null = null;

  constructor(parts: LargestKeysParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), EVERY_MS);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    await this.#look;
  }

  /** Events were refused. */
  refused(detail: string): void {
    // The first refusal may know no keys yet: the next one will.
    if (this.named === null) this.look();
    const nowMs = performance.now();
    if (this.named === null || nowMs < this.#toldAtMs + TOLD_EVERY_MS) return;
    this.#toldAtMs = nowMs;
    this.#parts.onRefusal(detail);
  }

  /** Looks the keys through, unless that is under way. */
  look(): void {
    const { share, query } = this.#parts.use();
    if (query === null || share < LOOK_SHARE) {
      this.named = null;
      return;
    }
    this.#look ??= this.#through(query)
      .catch(this.#parts.onFailure)
      .finally(() => {
        this.#look = null;
      });
  }

  /** Part by part: entries are applied in between. */
  async #through({ id, name }: { id: number; name: string }): Promise<void> {
    let keys: readonly KeySize[] = [];
    for (let from: number | null = 0; from !== null; ) {
      const part: KeySizes = await this.#parts.windows.largestKeys({ queryId: id, from, limit: NAMED_KEYS });
      keys = [...keys, ...part.largest].toSorted((a, b) => b.bytes - a.bytes).slice(0, NAMED_KEYS);
      from = part.next;
    }
    this.named = { query: name, keys };
  }
}
