import { createHash } from "node:crypto";
import type { AlertPatience, AlertPlan, ExpressionProgram } from "../../workers/messages.ts";
import type { QueryConfig, StreamConfig, TableConfig } from "./config.ts";
import { compileHaving, compileRows } from "./expression/compile.ts";
import type { Expression } from "./expression/parse.ts";
import type { Attempt } from "./expression/problem.ts";
import type { Path } from "./places.ts";
import type { ConfigFile } from "./schema.ts";
import { nearest } from "./suggest.ts";
import { tableColumns } from "./table/load.ts";
import { isShownAddress } from "./webhook-addresses.ts";

export const DEFAULT_SEVERITY = "warning";
const DEFINITION_DIGITS = 16;

/** One alert, compiled. */
export interface AlertConfig {
  readonly name: string;
  readonly from: AlertPlan["from"];
  readonly when: Expression;
  /** null: when `when` is not true. */
  readonly clear: Expression | null;
  readonly for: AlertPatience;
  readonly severity: string;
  /** Addresses to which its steps are posted. */
  readonly webhooks: readonly string[];
  readonly programs: Pick<AlertPlan, "when" | "clear">;
  readonly definition: string;
}

type AlertInput = NonNullable<ConfigFile["alerts"]>[string];
type Source =
  | { readonly kind: "query"; readonly query: QueryConfig; readonly stream: StreamConfig }
  | { readonly kind: "stream"; readonly stream: StreamConfig };

export interface AlertSurroundings {
  readonly streams: ReadonlyMap<string, StreamConfig>;
  readonly queries: ReadonlyMap<string, QueryConfig>;
  readonly tables: ReadonlyMap<string, TableConfig>;
  /** The stream of events or results that a query is from. */
  readonly sourceOf: (query: QueryConfig) => StreamConfig | undefined;
  readonly report: (path: Path, problem: { message: string; fix: string | null }, column?: number) => void;
}

/** Checks and compiles an alert; null when something about it is wrong, which is reported. */
export function buildAlert(name: string, input: AlertInput, around: AlertSurroundings): AlertConfig | null {
  const source = findSource(name, input.from, around);
  if (source === null) return null;
  const compile = (setting: "when" | "clear", expression: Expression): ExpressionProgram | null => {
    const compiled = compileOver(source, expression, around);
    if (compiled.ok) return compiled.value;
    const { at, message, fix } = compiled.problem;
    around.report(["alerts", name, setting], { message, fix }, at);
    return null;
  };
  const { when } = input;
  const clear = input.clear ?? null;
  const whenProgram = compile("when", when);
  const clearProgram = clear === null ? null : compile("clear", clear);
  if (whenProgram === null || (clear !== null && clearProgram === null)) return null;
  (input.notify ?? []).forEach(({ webhook }, index) => {
    if (!isShownAddress(webhook)) return;
    const message = `${webhook} is how an address is shown, and the alert ${name} has none there`;
    around.report(["alerts", name, "notify", index, "webhook"], { message, fix: "write the whole address" });
  });
  const patience = input.for ?? { kind: "samples", count: 1 };
  const from = { kind: source.kind, name: input.from };
  return {
    name,
    from,
    when,
    clear,
    for: patience,
    severity: input.severity ?? DEFAULT_SEVERITY,
    webhooks: [...new Set((input.notify ?? []).map(({ webhook }) => webhook))],
    programs: { when: whenProgram, clear: clearProgram },
    definition: digest([name, from, when.text, clear?.text ?? null, patience, definitionOf(source)]),
  };
}

/** What is in force of an alert; where its steps are posted is no part of that. */
export type SetAlert = Pick<AlertConfig, "name" | "severity" | "from" | "programs" | "for" | "definition">;

/** What the threads must know of an alert. `id`: its place among all. */
export function alertPlan(alert: SetAlert, stream: StreamConfig, id: number): AlertPlan {
  const { name, severity, from, programs, definition } = alert;
  return { id, name, severity, from, ...programs, for: alert.for, by: [stream.key.fields], definition };
}

function findSource(
  name: string,
  from: string,
  { streams, queries, sourceOf, report }: AlertSurroundings,
): Source | null {
  const path = ["alerts", name, "from"];
  const query = queries.get(from);
  const stream = streams.get(from);
  if (query !== undefined && stream !== undefined) {
    report(path, { message: `${from} is a query and a stream`, fix: "give one of them another name" });
    return null;
  }
  if (stream !== undefined) return { kind: "stream", stream };
  if (query !== undefined) {
    const ofQuery = sourceOf(query);
    // What is wrong with the query is said of the query.
    return ofQuery === undefined ? null : { kind: "query", query, stream: ofQuery };
  }
  const hint = nearest(from, [...queries.keys(), ...streams.keys()]);
  const fix = hint === null ? "declare it under queries: or streams:" : `did you mean \`${hint}\`?`;
  report(path, { message: `there is no query or stream ${from}`, fix });
  return null;
}

function compileOver(
  source: Source,
  expression: Expression,
  { tables }: AlertSurroundings,
): Attempt<ExpressionProgram> {
  if (source.kind === "query") {
    const { query, stream } = source;
    const { by, select, expressions } = query;
    const compiled = compileHaving(
      { having: expression, by, select },
      stream,
      expressions?.kinds ?? new Map(),
    );
    if (compiled !== null) return compiled;
    throw new Error("a condition compiles to something");
  }
  const { stream } = source;
  const columns = [...tables].map(([table, data]) => [table, tableColumns(data, stream.key.fields)] as const);
  const { program, problems } = compileRows({ where: expression, derive: [] }, stream, new Map(columns));
  const [first] = problems;
  if (first !== undefined) return { ok: false, problem: first.problem };
  if (program === null) throw new Error("a condition compiles to something");
  return { ok: true, value: program };
}

/** What a sample depends on beside the alert itself. */
function definitionOf(source: Source): unknown {
  if (source.kind === "stream") return source.stream.key.fields;
  const { window, by, select, expressions } = source.query;
  const derived = expressions?.derive.map(({ name, expression }) => [name, expression.text]);
  return [window, by, select, expressions?.where?.text, derived, expressions?.having?.text];
}

function digest(parts: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, DEFINITION_DIGITS);
}
