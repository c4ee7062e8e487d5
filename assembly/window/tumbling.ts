import { Plan } from "./plan";

/**
 * Tumbling windows: [offset + n·size, offset + (n + 1)·size) for every whole n. An event is in one window, so a pane is a
 * window. Other kinds of windows differ here: in which panes an event goes to, and which panes make a window.
 */

/** The start of the window of an event time: rounded down, before the epoch too. */
@inline
export function windowStart(plan: Plan, timeUs: i64): i64 {
  let rest = (timeUs - plan.offsetUs) % plan.sizeUs;
  if (rest < 0) rest += plan.sizeUs;
  return timeUs - rest;
}

@inline
export function windowEnd(plan: Plan, startUs: i64): i64 {
  return startUs + plan.sizeUs;
}

/** The watermark from which on the window takes no more events. Saturates at the end of time. */
@inline
export function closingTime(plan: Plan, startUs: i64): i64 {
  const end = windowEnd(plan, startUs);
  const closing = end + plan.latenessUs;
  return closing < end ? i64.MAX_VALUE : closing;
}
