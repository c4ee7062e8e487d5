import { readColumns } from "../../workers/core/codec.ts";
import { type CoreModule, instantiateCore } from "../../workers/core/module.ts";
import { createParser, type ParseOutcome, type Parser } from "../../workers/core/parse.ts";
import type { BodyFormat, SchemaField, StreamPlan } from "../../workers/messages.ts";

export const ARRIVAL_US = 1_700_000_000_000_000;
export const core: CoreModule = instantiateCore();

export type Value = boolean | number | bigint | string;

/** One row as a reader sees it; values that are null are left out. */
export interface Row {
  readonly timeUs: bigint;
  readonly flags: number;
  readonly values: ReadonlyMap<string, Value>;
  readonly extra: string | null;
}

export interface Parsed extends ParseOutcome {
  readonly rows: readonly Row[];
  readonly schema: readonly SchemaField[];
}

export interface PlanOverrides {
  readonly key?: readonly string[];
  readonly isKeyDeclared?: boolean;
  readonly time?: Partial<StreamPlan["time"]>;
  readonly fields?: readonly SchemaField[] | null;
  readonly extra?: StreamPlan["extra"];
  readonly maxAheadUs?: number;
}

/** A plan that infers all, without a key or a time unless they are given. */
export function makePlan(overrides: PlanOverrides = {}): StreamPlan {
  return {
    stream: "test",
    key: overrides.key ?? [],
    isKeyDeclared: overrides.isKeyDeclared ?? false,
    time: { fields: [], isDeclared: false, unit: "auto", ...overrides.time },
    fields: overrides.fields ?? null,
    extra: overrides.extra ?? "keep",
    maxAheadUs: overrides.maxAheadUs ?? 300_000_000,
  };
}

export function readRows(parser: Parser): Row[] {
  const batch = readColumns(core, parser.finish());
  return Array.from({ length: batch.rows }, (_, row) => {
    const values = new Map<string, Value>();
    for (const column of batch.columns) {
      const value = column.valueAt(row);
      if (value !== null) values.set(column.name, value);
    }
    return { timeUs: batch.times[row]!, flags: batch.flags[row]!, values, extra: batch.extraAt(row) };
  });
}

export function toBytes(body: string | Uint8Array): Uint8Array {
  return typeof body === "string" ? new TextEncoder().encode(body) : body;
}

/** Parses bodies as one batch with a parser of its own. The outcome is the last body's. */
export function parseBodies(
  format: BodyFormat,
  bodies: readonly (string | Uint8Array)[],
  overrides?: PlanOverrides,
): Parsed {
  const parser = createParser(core, makePlan(overrides));
  try {
    parser.begin(ARRIVAL_US);
    let outcome: ParseOutcome = { accepted: 0, bad: 0, errors: [] };
    for (const body of bodies) outcome = parser.parse(format, toBytes(body));
    return { ...outcome, rows: readRows(parser), schema: parser.schema() };
  } finally {
    parser.dispose();
  }
}

export function parseBody(format: BodyFormat, body: string | Uint8Array, overrides?: PlanOverrides): Parsed {
  return parseBodies(format, [body], overrides);
}

/** The only row of the only event. */
export function parseEvent(event: string, overrides?: PlanOverrides): Row {
  const { rows, errors } = parseBody("ndjson", event, overrides);
  if (rows.length !== 1) throw new Error(`not one row: ${JSON.stringify(errors)}`);
  return rows[0]!;
}
