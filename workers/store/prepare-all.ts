import type { Statement } from "better-sqlite3";
import type { Connection } from "./database.ts";

/** Statements by their names, each prepared once. */
export function prepareAll<Name extends string>(
  db: Connection,
  texts: Readonly<Record<Name, string>>,
): Readonly<Record<Name, Statement<unknown[]>>> {
  const entries = Object.entries<string>(texts).map(([name, text]) => [name, db.prepare(text)] as const);
  return Object.fromEntries(entries) as Record<Name, Statement<unknown[]>>;
}
