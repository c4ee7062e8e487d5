import type { ExpressionProgram } from "../../../workers/messages.ts";
import type { QueryConfig, QueryExpressions, StreamConfig } from "../config.ts";
import { encodeProgram } from "./encode.ts";
import { Graph, type Value } from "./graph.ts";
import { KIND_OF, type Kind } from "./kinds.ts";
import { Lowering } from "./lower.ts";
import type { Expression } from "./parse.ts";
import { type Attempt, attempt, type ExpressionProblem } from "./problem.ts";
import { ResultScope } from "./result-scope.ts";
import { RowScope } from "./row-scope.ts";
import type { Scope, TableColumns } from "./scope.ts";

type RowExpressions = Pick<QueryExpressions, "where" | "derive">;
type ResultExpressions = Pick<QueryConfig, "by" | "select"> & Pick<QueryExpressions, "having">;

/** Something wrong in one of a query's expressions. `path` is below the query. */
export interface QueryProblem {
  readonly path: readonly string[];
  readonly problem: ExpressionProblem;
}

export interface CompiledRows {
  /** null when there is nothing to compute. */
  readonly program: ExpressionProgram | null;
  /** What is known of the derived columns. */
  readonly kinds: ReadonlyMap<string, Kind>;
  readonly problems: readonly QueryProblem[];
}

/** Checks and compiles `where` and `derive` into one program. A program with problems is not to be run. */
export function compileRows(
  { where, derive }: RowExpressions,
  stream: StreamConfig,
  tables: ReadonlyMap<string, TableColumns>,
): CompiledRows {
  const graph = new Graph();
  const scope = new RowScope(stream, tables);
  const problems: QueryProblem[] = [];
  const derived: { name: string; value: Value }[] = [];
  for (const { name, expression } of derive) {
    const lowered = lower(expression, graph, scope, (lowering) => lowering.value(expression.tree));
    if (!lowered.ok) problems.push({ path: ["derive", name], problem: lowered.problem });
    // What uses it is checked all the same.
    const value = lowered.ok ? lowered.value : graph.column(name, "any");
    derived.push({ name, value });
    scope.derive(name, value);
  }
  const condition =
    where === null ? null : lower(where, graph, scope, (lowering) => lowering.condition(where.tree));
  if (condition?.ok === false) problems.push({ path: ["where"], problem: condition.problem });
  const kinds = new Map(derived.map(({ name, value }) => [name, value.kind]));
  if (problems.length > 0 || (where === null && derive.length === 0))
    return { program: null, kinds, problems };
  const program = encodeProgram(graph, { derived, condition: condition?.ok ? condition.value : null });
  return { program, kinds, problems };
}

/** Checks and compiles `having`; null when there is none. `kinds`: what is known of derived columns. */
export function compileHaving(
  { having, by, select }: ResultExpressions,
  stream: StreamConfig,
  kinds: ReadonlyMap<string, Kind>,
): Attempt<ExpressionProgram> | null {
  if (having === null) return null;
  const graph = new Graph();
  const scope = new ResultScope(select === "*" ? [] : select, by ?? stream.key.fields, (field) =>
    fieldKind(field, stream, kinds),
  );
  const condition = lower(having, graph, scope, (lowering) => lowering.condition(having.tree));
  if (!condition.ok) return condition;
  return { ok: true, value: encodeProgram(graph, { derived: [], condition: condition.value }) };
}

function fieldKind(field: string, { fields }: StreamConfig, kinds: ReadonlyMap<string, Kind>): Kind {
  const derived = kinds.get(field);
  if (derived !== undefined) return derived;
  const declared = fields?.find(({ name }) => name === field);
  return declared === undefined ? "any" : KIND_OF[declared.type];
}

function lower(
  { text }: Expression,
  graph: Graph,
  scope: Scope,
  work: (lowering: Lowering) => Value,
): Attempt<Value> {
  return attempt(text, () => work(new Lowering(graph, scope)));
}
