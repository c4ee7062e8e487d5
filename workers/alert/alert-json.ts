import type { AlertRow } from "../messages.ts";
import { formatTime } from "../time-format.ts";

/** A step as the API gives it, and as it is posted. */
export function alertJson(row: Omit<AlertRow, "definition" | "isTold">): string {
  const { alert, severity, key, state, sinceUs, atUs, value, id, revision, isRetracted } = row;
  const [since, at] = [sinceUs, atUs].map(formatTime) as [string, string];
  const head = JSON.stringify({ alert, severity }).slice(0, -1);
  const tail = JSON.stringify({ state, since, at }).slice(1, -1);
  const retracted = isRetracted ? ',"retracted":true' : "";
  return `${head},"key":${key},${tail},"value":${value},"id":"${id}","revision":${revision}${retracted}}`;
}
