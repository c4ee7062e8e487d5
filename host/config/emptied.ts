import { parseDocument } from "yaml";
import type { Config } from "./config.ts";
import type { Problem } from "./problems.ts";
import { veil } from "./veil.ts";

/** What a set of the log, or a configuration, has that an empty document would take away. */
export interface Declared {
  readonly streams: Iterable<unknown>;
  readonly queries: Iterable<unknown>;
  readonly alerts?: Iterable<unknown>;
  readonly tables?: Iterable<unknown>;
}

/** Said in place of what would have been done. */
export const EMPTIED = {
  message: "it is empty, and would take away every stream, query, alert and table that there is",
  fix: "write what is to hold; where that is nothing at all, write {}",
} as const;

/**
 * Whether a document says nothing: no text, or comments alone. A file is found like that between the two steps in which most
 * programs write one (cut off, then filled), and for good where the power failed in between.
 */
export function isEmptyDocument(text: string): boolean {
  const { contents, errors } = parseDocument(veil(text));
  return contents === null && errors.length === 0;
}

export function declaresAnything({ streams, queries, alerts = [], tables = [] }: Declared): boolean {
  return [streams, queries, alerts, tables].some((each) => [...each].length > 0);
}

/** Why a document cannot take the place of the configuration in force; null: it is not empty, or nothing would be lost. */
export function emptiedProblem(text: string, file: string, current: Config): Problem | null {
  const { streams, queries, alerts, tables = new Map() } = current;
  if (!declaresAnything({ streams, queries, alerts, tables }) || !isEmptyDocument(text)) return null;
  return { file, line: 1, column: 1, path: "", ...EMPTIED };
}
