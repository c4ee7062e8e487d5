import type { ResultRow } from "../messages.ts";

/** How many results are handed over at once: a portion ends with the row that reaches one of these. */
export interface Portion {
  readonly rows: number;
  /** Of keys and values. */
  readonly chars: number;
}

/**
 * What a watermark lets go may be millions of rows, when it jumps over many windows. They leave in portions of this size,
 * so that no more of them is in memory as JS objects, and so that the first are on their way to the disk while the next are
 * written as text.
 */
export const RESULT_PORTION: Portion = { rows: 2_048, chars: 256 * 1024 };
/**
 * Rows that become text at once. Each collection of the young generation meets those of them that are objects just then, which live on
 * into the old one: of 2,048 most, 160 KB of 256, 25 KB of 64.
 */
const PACKED_ROWS = 64;
const UNLIMITED: Portion = { rows: Number.POSITIVE_INFINITY, chars: Number.POSITIVE_INFINITY };

/** What of a portion is written as text at once, where nobody needs the rows but as text. */
export function packedAtOnce({ rows, chars }: Portion): Portion {
  return { rows: Math.min(rows, PACKED_ROWS), chars };
}

/** Gathers rows into a portion. */
export class PortionRows {
  readonly #limit: Portion;
  rows: ResultRow[] = [];
  #chars = 0;

  constructor(limit: Portion) {
    this.#limit = limit;
  }

  push(row: ResultRow): void {
    this.rows.push(row);
    this.#chars += row.key.length + row.values.length;
  }

  get isFull(): boolean {
    return this.rows.length >= this.#limit.rows || this.#chars >= this.#limit.chars;
  }

  /** The rows so far; what comes is the next portion. */
  take(): ResultRow[] {
    const { rows } = this;
    this.rows = [];
    this.#chars = 0;
    return rows;
  }
}

/** All portions of a firing in one. */
export function fireAtOnce(
  portions: (watermarkUs: bigint, limit: Portion) => Iterable<ResultRow[]>,
  watermarkUs: bigint,
): ResultRow[] {
  let all: ResultRow[] | null = null;
  for (const rows of portions(watermarkUs, UNLIMITED)) {
    if (all === null) all = rows;
    else for (const row of rows) all.push(row);
  }
  return all ?? [];
}
