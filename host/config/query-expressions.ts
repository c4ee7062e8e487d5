import type { QueryConfig, QueryExpressions, StreamConfig, TableConfig } from "./config.ts";
import { compileHaving, compileRows, type QueryProblem } from "./expression/compile.ts";
import type { TableColumns } from "./expression/scope.ts";
import { tableColumns } from "./table/load.ts";

/** A query's expressions as they are written. */
export type WrittenExpressions = Pick<QueryExpressions, "where" | "derive" | "having">;
type Surroundings = Pick<QueryConfig, "by" | "select">;

/**
 * Checks and compiles a query's expressions. What tables hold is checked; the programs take it as it comes, so that they stay
 * the same, and windows with them, whatever rows a table gets.
 */
export function compileExpressions(
  written: WrittenExpressions,
  query: Surroundings,
  stream: StreamConfig,
  tables: ReadonlyMap<string, TableConfig>,
): { readonly expressions: QueryExpressions; readonly problems: readonly QueryProblem[] } {
  const { having } = written;
  const columns = new Map(
    [...tables].map(([name, table]) => [name, tableColumns(table, stream.key.fields)] as const),
  );
  const checked = compileRows(written, stream, columns);
  const usesTables = checked.program !== null && checked.program.tables.length > 0;
  const rows = usesTables ? compileRows(written, stream, ofAnyKind(columns)) : checked;
  const inHaving = compileHaving({ having, ...query }, stream, checked.kinds);
  const results = usesTables ? compileHaving({ having, ...query }, stream, rows.kinds) : inHaving;
  const problems =
    inHaving?.ok === false
      ? [...checked.problems, { path: ["having"], problem: inHaving.problem }]
      : checked.problems;
  const programs = { rows: rows.program, results: results?.ok ? results.value : null };
  return { expressions: { ...written, kinds: checked.kinds, ...programs }, problems };
}

function ofAnyKind(tables: ReadonlyMap<string, TableColumns>): ReadonlyMap<string, TableColumns> {
  return new Map([...tables].map(([name, { on }]) => [name, { on, columns: null }]));
}
