import type { ResultRow } from "../messages.ts";
import { formatTime } from "../time-format.ts";
import type { RowsItem } from "./batch.ts";
import type { OutgoingTable } from "./outgoing-table.ts";
import type { ParquetColumn } from "./parquet-table.ts";
import { type ClearedResults, decodeAlerts, decodeAttributes, decodeLosses, decodeResults } from "./rows.ts";

/** Rows of one query, or of one kind, as lines and as columns. */
export interface RowTable extends Pick<OutgoingTable, "kind" | "name" | "atUs"> {
  readonly lines: string[];
  readonly columns: readonly ParquetColumn[];
  readonly values: unknown[][];
}

const text = (name: string): ParquetColumn => ({ name, type: "string" });
const time = (name: string): ParquetColumn => ({ name, type: "time" });
const int = (name: string): ParquetColumn => ({ name, type: "int" });
const json = (name: string): ParquetColumn => ({ name, type: "json" });
const bool = (name: string): ParquetColumn => ({ name, type: "bool" });

const RESULTS = [
  text("edge"),
  text("query"),
  time("window_start"),
  time("window_end"),
  json("key"),
  json("values"),
  int("revision"),
  text("kind"),
  bool("retracted"),
  time("cleared_from"),
  int("id"),
];
const ALERTS = [
  text("edge"),
  text("alert"),
  text("severity"),
  json("key"),
  text("state"),
  time("since"),
  time("at"),
  json("value"),
  text("episode"),
  int("revision"),
  bool("retracted"),
];
const LOSSES = [
  text("edge"),
  int("id"),
  text("stream"),
  time("from"),
  time("to"),
  int("count"),
  int("bytes"),
  text("reason"),
  time("at"),
  text("kind"),
  text("subject"),
];

const ATTRIBUTES = [
  text("edge"),
  text("device"),
  text("attribute"),
  json("value"),
  bool("removed"),
  time("at"),
  int("ms"),
  int("counter"),
];

/** The rows of a batch as sinks keep them: results by their query, alerts, losses, attributes. Keys and values keep their digits. */
export function rowTables(edge: string, items: readonly RowsItem[]): RowTable[] {
  const tables = new Map<string, RowTable>();
  const add = (
    kind: RowTable["kind"],
    name: string | null,
    columns: readonly ParquetColumn[],
    row: { readonly atUs: number; readonly line: string; readonly values: unknown[] },
  ): void => {
    const id = `${kind} ${name}`;
    const known = tables.get(id);
    const atUs = Math.min(row.atUs, known?.atUs ?? row.atUs);
    const { lines, values } = known ?? { lines: [] as string[], values: [] as unknown[][] };
    lines.push(row.line);
    values.push(row.values);
    tables.set(id, { kind, name, atUs, columns, lines, values });
  };
  for (const item of items) {
    if (item.kind === "results")
      for (const row of decodeResults(item.ndjson))
        add("results", "clear" in row ? row.clear : row.query, RESULTS, resultRow(edge, item.id, row));
    if (item.kind === "alerts")
      for (const row of decodeAlerts(item.ndjson)) {
        const { alert, severity, key, state, sinceUs, atUs, value, id, revision, isRetracted } = row;
        const line =
          `{"edge":${str(edge)},"alert":${str(alert)},"severity":${str(severity)},"key":${key},"state":"${state}",` +
          `"since":"${formatTime(sinceUs)}","at":"${formatTime(atUs)}","value":${value},"episode":${str(id)},` +
          `"revision":${revision}${isRetracted ? ',"retracted":true' : ""}}`;
        const values = [edge, alert, severity, key, state, us(sinceUs), us(atUs), value, id];
        add("alerts", null, ALERTS, {
          atUs,
          line,
          values: [...values, BigInt(revision), isRetracted],
        });
      }
    if (item.kind === "losses")
      for (const loss of decodeLosses(item.ndjson)) {
        const { stream, fromUs, toUs, count, bytes, reason, atUs, kind, subject } = loss;
        const shown = { edge, id: item.id, stream, from: formatTime(fromUs), to: formatTime(toUs) };
        const rest = { count, bytes, reason, at: formatTime(atUs), kind, subject };
        const place = [edge, BigInt(item.id), stream, us(fromUs), us(toUs)];
        const values = [...place, BigInt(count), BigInt(bytes), reason, us(atUs), kind, subject];
        add("losses", null, LOSSES, { atUs, line: JSON.stringify({ ...shown, ...rest }), values });
      }
    if (item.kind === "attributes")
      for (const { device, attribute, value, ms, counter } of decodeAttributes(item.ndjson)) {
        const atUs = ms * 1_000;
        const line =
          `{"edge":${str(edge)},"device":${str(device)},"attribute":${str(attribute)},"value":${value ?? "null"},` +
          `"removed":${value === null},"at":"${formatTime(atUs)}","ms":${ms},"counter":${counter}}`;
        const values = [
          edge,
          device,
          attribute,
          value,
          value === null,
          us(atUs),
          BigInt(ms),
          BigInt(counter),
        ];
        add("attributes", null, ATTRIBUTES, { atUs, line, values });
      }
  }
  return [...tables.values()];
}

function resultRow(
  edge: string,
  id: number,
  row: ResultRow | ClearedResults,
): { atUs: number; line: string; values: unknown[] } {
  const whose = `{"edge":${str(edge)},"query":`;
  if ("clear" in row) {
    const { clear, fromUs } = row;
    const line = `${whose}${str(clear)},"cleared":{"from":"${formatTime(fromUs)}"},"id":${id}}`;
    const values = [edge, clear, null, null, null, null, null, null, null, us(fromUs), BigInt(id)];
    return { atUs: fromUs, line, values };
  }
  const { query, startUs, endUs, key, values, revision, kind, retracted = false } = row;
  const line =
    `${whose}${str(query)},"window":{"start":"${formatTime(startUs)}","end":"${formatTime(endUs)}"},"key":${key},` +
    `"values":${values},"revision":${revision},"kind":"${kind}"${retracted ? ',"retracted":true' : ""},"id":${id}}`;
  const shown = [edge, query, us(startUs), us(endUs), key, values, BigInt(revision), kind, retracted];
  return { atUs: startUs, line, values: [...shown, null, BigInt(id)] };
}

function str(value: string): string {
  return JSON.stringify(value);
}

function us(value: number): bigint {
  return BigInt(Math.round(value));
}
