/** How full the buffer is, and what is done about it: each level does what those before it do. */
export type BufferLevel = "normal" | "alert" | "evict" | "downsample" | "give-up";

interface Threshold {
  readonly level: BufferLevel;
  /** Share of the capacity at which the level begins. */
  readonly from: number;
  /** And below which it ends: what was begun is done in one go, and a share that trembles changes nothing. */
  readonly until: number;
}

/** In the order in which they follow each other. */
const THRESHOLDS: readonly Threshold[] = [
  { level: "alert", from: 0.7, until: 0.65 },
  { level: "evict", from: 0.85, until: 0.8 },
  { level: "downsample", from: 0.95, until: 0.9 },
  { level: "give-up", from: 1, until: 0.97 },
];

/** The level's beginning in percent of the capacity, 0 for normal: its number in metrics. */
export function percentOf(level: BufferLevel): number {
  return Math.round(100 * (THRESHOLDS.find((each) => each.level === level)?.from ?? 0));
}

/** Whether a level does what `least` does. */
export function reaches(level: BufferLevel, least: BufferLevel): boolean {
  return percentOf(level) >= percentOf(least);
}

/** The level after `current` when `share` of the capacity is used; it may rise or fall by several at once. */
export function nextLevel(current: BufferLevel, share: number): BufferLevel {
  let level: BufferLevel = "normal";
  for (const threshold of THRESHOLDS) {
    const isIn = reaches(current, threshold.level);
    if (share < (isIn ? threshold.until : threshold.from)) break;
    level = threshold.level;
  }
  return level;
}
