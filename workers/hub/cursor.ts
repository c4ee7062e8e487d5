import { type CursorForm, form, isInteger } from "../query/cursor.ts";
import type { DeviceCursor, HubAlertCursor, HubResultCursor } from "./tasks.ts";

export const HUB_RESULT_CURSOR: CursorForm<HubResultCursor> = form(
  "hr",
  ({ startUs, key, endUs, edgeId, revision }) => [startUs, key, endUs, edgeId, revision],
  ([startUs, key, endUs, edgeId, revision]) =>
    isInteger(startUs) &&
    isInteger(endUs) &&
    isInteger(edgeId) &&
    isInteger(revision) &&
    typeof key === "string"
      ? { startUs, key, endUs, edgeId, revision }
      : null,
);

export const DEVICE_CURSOR: CursorForm<DeviceCursor> = form(
  "hd",
  ({ edge, device }) => [edge, device],
  ([edge, device]) => (typeof edge === "string" && typeof device === "string" ? { edge, device } : null),
);

export const HUB_ALERT_CURSOR: CursorForm<HubAlertCursor> = form(
  "ha",
  ({ sinceUs, alert, key, id, revision, edgeId }) => [sinceUs, alert, key, id, revision, edgeId],
  ([sinceUs, alert, key, id, revision, edgeId]) => {
    const areTexts = typeof alert === "string" && typeof key === "string" && typeof id === "string";
    return areTexts && isInteger(sinceUs) && isInteger(revision) && isInteger(edgeId)
      ? { sinceUs, alert, key, id, revision, edgeId }
      : null;
  },
);
