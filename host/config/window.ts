import type { WindowPlan } from "../../workers/messages.ts";
import { formatDuration } from "./durations.ts";
import {
  buildPaneWindow,
  describePaneWindow,
  type PaneWindowInput,
  paneWindowProblem,
} from "./pane-window.ts";

/** What `window:` says, of any kind. `session` in µs. */
export interface WindowInput extends PaneWindowInput {
  readonly session?: number | undefined;
  readonly count?: number | undefined;
  readonly none?: true | undefined;
}

/** The settings that name a kind of window, of which there is one. */
const KINDS = ["tumbling", "sliding", "session", "count", "none"] as const;
/** The settings that go with the first two. */
const OF_PANES = ["every", "offset", "timezone"] as const;

/** The first thing that is wrong, or null: `message; fix`, of a setting or, with null, of all together. */
export function windowProblem(
  input: WindowInput,
): { readonly setting: keyof WindowInput | null; readonly message: string } | null {
  const named = KINDS.filter((kind) => input[kind] !== undefined);
  if (named.length === 0)
    return { setting: null, message: `names no kind of window; add one of ${KINDS.join(", ")}` };
  if (named.length > 1) return { setting: null, message: `is both ${named.join(" and ")}; keep one of them` };
  if (input.tumbling === undefined && input.sliding === undefined) {
    const setting = OF_PANES.find((name) => input[name] !== undefined);
    if (setting === undefined) return null;
    return { setting, message: `${setting} goes with tumbling and sliding windows; remove it` };
  }
  const problem = paneWindowProblem(input);
  return problem === null ? null : { ...problem, message: `${problem.setting} ${problem.message}` };
}

/** The window of settings that have no problem. */
export function buildWindow(input: WindowInput): WindowPlan {
  if (input.session !== undefined) return { kind: "session", gapUs: input.session };
  if (input.count !== undefined) return { kind: "count", size: input.count };
  return input.none === true ? { kind: "none" } : buildPaneWindow(input);
}

/** A window in the form of the configuration file. */
export function describeWindow(window: WindowPlan): object | string {
  if (window.kind === "session") return { session: formatDuration(window.gapUs) };
  if (window.kind === "count") return { count: window.size };
  return window.kind === "none" ? "none" : describePaneWindow(window);
}
