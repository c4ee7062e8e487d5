import { buildAlert } from "../alert.ts";
import { checkFields, type Report } from "../build.ts";
import type { Config, QueryConfig, TableConfig } from "../config.ts";
import { type Problem, splitFix } from "../problems.ts";
import { compileExpressions } from "../query-expressions.ts";
import { explainOtherKey } from "./load.ts";
import { rowCount } from "./stored.ts";

export type ReplaceResult =
  | { readonly ok: true; readonly config: Config }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** The configuration with these tables in the place of those of their names; refused when an expression does not fit them. */
export function replaceTables(config: Config, changed: readonly TableConfig[]): ReplaceResult {
  const tables = new Map(config.tables ?? []);
  for (const table of changed) tables.set(table.name, table);
  const problems: Problem[] = [];
  const report: Report = (path, { message, fix }, at) => {
    const place = at === undefined ? "" : ` (character ${at + 1} of the expression)`;
    const where = path.map(String).join(".");
    problems.push({ file: "", line: 1, column: 1, path: where, message: `${message}${place}`, fix });
  };
  const queries = new Map(
    [...config.queries].map(([name, query]) => [name, recompile(query, config, tables, report)] as const),
  );
  const alerts = new Map(config.alerts);
  for (const [name, alert] of config.alerts) {
    const { from, webhooks, clear, ...rest } = alert;
    const source = from.kind === "query" ? queries.get(from.name) : undefined;
    if (source !== undefined && (source.isOnQuery || source.expressions === undefined)) continue;
    const notify = webhooks.map((webhook) => ({ webhook }));
    const input = { ...rest, from: from.name, notify, ...(clear === null ? {} : { clear }) };
    const { streams } = config;
    const sourceOf = (query: QueryConfig): ReturnType<typeof streams.get> => streams.get(query.from);
    const built = buildAlert(name, input, { streams, queries, tables, report, sourceOf });
    if (built !== null) alerts.set(name, built);
  }
  return problems.length > 0
    ? { ok: false, problems }
    : { ok: true, config: { ...config, tables, queries, alerts } };
}

function recompile(
  query: QueryConfig,
  config: Config,
  tables: ReadonlyMap<string, TableConfig>,
  report: Report,
): QueryConfig {
  const stream = config.streams.get(query.from);
  const usesTables = (query.expressions?.rows?.tables.length ?? 0) > 0;
  if (query.expressions === undefined || !usesTables || query.isOnQuery || stream === undefined) return query;
  const { expressions, problems } = compileExpressions(query.expressions, query, stream, tables);
  for (const { path, problem } of problems)
    report(["queries", query.name, ...path], { message: problem.message, fix: problem.fix }, problem.at);
  const next = { ...query, expressions };
  if (problems.length === 0) checkFields(next, stream, (path, text) => report(path, splitFix(text)));
  return next;
}

/** The configuration with the rows that were put, where its tables have no files. */
export function withPutRows(config: Config, known: ReadonlyMap<string, TableConfig>): ReplaceResult {
  const put = [...(config.tables?.values() ?? [])].flatMap((table) => {
    const before = known.get(table.name);
    return table.file === null && before !== undefined && rowCount(before.data) > 0
      ? [{ table, before }]
      : [];
  });
  const problems = put.flatMap(({ table, before }) => explainOtherKey(before, table.key) ?? []);
  if (problems.length > 0) return { ok: false, problems };
  if (put.length === 0) return { ok: true, config };
  return replaceTables(
    config,
    put.map(({ table, before }) => ({ ...table, data: before.data })),
  );
}
