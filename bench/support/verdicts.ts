/** How long something takes beside the plain way to do the same, ns. */
export interface Measure {
  readonly measure: string;
  readonly ns: number;
  readonly plain: string;
  readonly "plain ns": number;
  /** How many times as long the plain way takes. */
  readonly ratio: number;
}

/** The ratios that are held against, of a run whose figures were believed. */
export interface Baseline {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly node: string;
  readonly ratios: Readonly<Record<string, number>>;
}

export interface Verdict extends Measure {
  readonly baseline: number | string;
  readonly "now / baseline": number | string;
  /** Empty: nothing to look at. */
  readonly verdict: "" | "REGRESSION?" | "better?" | "no baseline";
}

/** Below this part of the baseline, and above its inverse, somebody should look: runs on a busy machine differ by a fifth. */
export const BAND = 0.7;

export function verdictsOf(measures: readonly Measure[], { ratios }: Baseline): Verdict[] {
  return measures.map((measure) => {
    const baseline = ratios[measure.measure];
    if (baseline === undefined)
      return { ...measure, baseline: "-", "now / baseline": "-", verdict: "no baseline" };
    const share = measure.ratio / baseline;
    const verdict = share < BAND ? "REGRESSION?" : share > 1 / BAND ? "better?" : "";
    return { ...measure, baseline, "now / baseline": share, verdict };
  });
}
