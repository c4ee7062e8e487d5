import type { OutgoingTable } from "../../../workers/sync/outgoing-table.ts";

const FOLDER: Readonly<Record<OutgoingTable["kind"], string>> = {
  events: "stream",
  downsampled: "stream",
  results: "query",
  alerts: "",
  losses: "",
  attributes: "",
};

/**
 * Where a table of a batch lies, below a directory or a prefix, as Hive partitions it:
 * `events/stream=machines/date=2026-01-31/hour=08/press-1-KEY`. The same for the same batch, whenever it is delivered.
 */
export function tablePlace({ kind, name, atUs }: OutgoingTable, edge: string, key: string): string {
  const time = new Date(Math.floor(atUs / 1_000));
  const iso = Number.isNaN(time.getTime()) ? "" : time.toISOString();
  const at = /^\d{4}-/.test(iso) ? iso : "1970-01-01T00";
  const named = name === null ? [] : [`${FOLDER[kind]}=${name}`];
  return [kind, ...named, `date=${at.slice(0, 10)}`, `hour=${at.slice(11, 13)}`, `${edge}-${key}`].join("/");
}
