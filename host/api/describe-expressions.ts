import type { QueryExpressions, TableConfig } from "../config/config.ts";

/** A query's expressions as they are written; what it does not have is left out. */
export interface WrittenExpressions {
  where?: string;
  derive?: Record<string, string>;
  having?: string;
}

export function describeExpressions(expressions: QueryExpressions | undefined): WrittenExpressions {
  if (expressions === undefined) return {};
  const { where, derive, having } = expressions;
  const derived = derive.map(({ name, expression }) => [name, expression.text] as const);
  return {
    ...(where === null ? {} : { where: where.text }),
    ...(derive.length === 0 ? {} : { derive: Object.fromEntries(derived) }),
    ...(having === null ? {} : { having: having.text }),
  };
}

/** Tables as they are declared; nothing when there are none. */
export function describeTables(tables: ReadonlyMap<string, TableConfig> | undefined): object {
  if (tables === undefined) return {};
  const described = [...tables].map(([name, { file, key, on }]) => [
    name,
    { ...(file === null ? {} : { file }), key, ...(on === null ? {} : { on }) },
  ]);
  return { tables: Object.fromEntries(described) };
}
