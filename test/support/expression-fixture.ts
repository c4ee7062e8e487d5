import assert from "node:assert/strict";
import type { QueryExpressions, StreamConfig } from "../../host/config/config.ts";
import { compileRows } from "../../host/config/expression/compile.ts";
import { type Expression, parseExpression } from "../../host/config/expression/parse.ts";
import type { TableColumns } from "../../host/config/expression/scope.ts";
import { automaticStream } from "../../host/config/plans.ts";
import { buildBatch } from "../../workers/core/batch-builder.ts";
import { type BatchHandle, readColumns } from "../../workers/core/codec.ts";
import { createRowProgram, type RowProgram } from "../../workers/core/expression.ts";
import type { CoreModule } from "../../workers/core/module.ts";
import type { ExpressionProgram, FieldType } from "../../workers/messages.ts";
import type { ColumnType, Row, Value } from "./expression-interpreter.ts";

/** Columns by name, each with its type and a value a row. */
export type Columns = Readonly<
  Record<string, { readonly type: FieldType; readonly values: readonly Value[] }>
>;

export function parsed(text: string): Expression {
  const attempt = parseExpression(text);
  assert.ok(attempt.ok, attempt.ok ? "" : `${text}: ${attempt.problem.message}; ${attempt.problem.fix}`);
  return attempt.value;
}

/** A stream with declared fields, or with inferred ones. */
export function streamOf(fields: Readonly<Record<string, FieldType>> | null): StreamConfig {
  const declared = fields === null ? null : Object.entries(fields).map(([name, type]) => ({ name, type }));
  return {
    ...automaticStream("s"),
    time: { fields: ["ts"], isDeclared: true, unit: "us" },
    fields: declared,
  };
}

/** Compiles `derive` and `where`; fails the test with the problems. */
export function compiled(
  texts: { readonly where?: string; readonly derive?: Readonly<Record<string, string>> },
  stream: StreamConfig,
  tables: ReadonlyMap<string, TableColumns> = new Map(),
): ExpressionProgram {
  const expressions: Pick<QueryExpressions, "where" | "derive"> = {
    where: texts.where === undefined ? null : parsed(texts.where),
    derive: Object.entries(texts.derive ?? {}).map(([name, text]) => ({ name, expression: parsed(text) })),
  };
  const { program, problems } = compileRows(expressions, stream, tables);
  assert.deepEqual(problems, [], JSON.stringify(texts));
  assert.ok(program);
  return program;
}

export function batchOf(core: CoreModule, times: readonly bigint[], columns: Columns): BatchHandle {
  const builder = buildBatch(core);
  const entries = Object.entries(columns).map(([name, column]) => ({
    ...column,
    index: builder.addColumn(name, column.type),
  }));
  times.forEach((timeUs, at) => {
    const row = builder.addRow(timeUs, 0);
    for (const { index, type, values } of entries) {
      const value = values[at] ?? null;
      if (value === null) continue;
      if (type === "bool") builder.setBool(index, row, value === true);
      else if (type === "int") builder.setInt(index, row, BigInt(value));
      else if (type === "float") builder.setFloat(index, row, Number(value));
      else builder.setText(index, row, String(value));
    }
  });
  (core.exports as unknown as { codecSeal(batch: number): number }).codecSeal(builder.batch);
  return builder.batch;
}

export function disposeBatch(core: CoreModule, batch: BatchHandle): void {
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch);
}

/** The columns of a batch as the query sees it, by name, and which rows it drops. */
export function viewWithin(
  core: CoreModule,
  program: RowProgram,
  batch: BatchHandle,
): { columns: ReadonlyMap<string, Value[]>; isDropped: boolean[] } {
  return program.within(batch, () => {
    const reader = readColumns(core, batch);
    const rows = [...reader.times.keys()];
    const columns = reader.columns.map(({ name, type, valueAt }) => {
      const values = rows.map((row) => {
        const value = valueAt(row);
        return type === "int" && typeof value === "number" ? BigInt(value) : value;
      });
      return [name, values] as const;
    });
    return { columns: new Map(columns), isDropped: [...reader.flags].map((flags) => flags !== 0) };
  });
}

/** Evaluates one expression over rows. */
export function evaluate(
  core: CoreModule,
  text: string,
  stream: StreamConfig,
  times: readonly bigint[],
  columns: Columns,
): Value[] {
  const program = createRowProgram(core, compiled({ derive: { result: text } }, stream));
  const batch = batchOf(core, times, columns);
  const { columns: seen } = viewWithin(core, program, batch);
  disposeBatch(core, batch);
  program.dispose();
  return seen.get("result") ?? [];
}

/** Rows as the interpreter takes them. */
export function rowsOf(times: readonly bigint[], columns: Columns): Row[] {
  const entries = Object.entries(columns);
  const types = new Map(
    entries.map(([name, { type, values }]): [string, ColumnType] => [
      name,
      values.every((value) => value === null) ? "null" : type,
    ]),
  );
  return times.map((timeUs, at) => ({
    timeUs,
    types,
    values: new Map(entries.map(([name, { values }]) => [name, values[at] ?? null])),
  }));
}
