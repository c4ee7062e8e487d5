import type { Graph, Value } from "./graph.ts";
import type { Kind } from "./kinds.ts";

/** What a name stands for, or why it stands for nothing. */
export type Resolution =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly message: string; readonly fix: string };

/** The names that an expression may use. */
export interface Scope {
  resolve(name: string, graph: Graph): Resolution;
  /** The event time, or null where there are no events. */
  eventTime(graph: Graph): Value | null;
}

/** A table as expressions see it. */
export interface TableColumns {
  /** Candidates for the field whose value is looked up. */
  readonly on: readonly string[];
  /** null: not known yet, for there are no rows; then any may be named. */
  readonly columns: readonly { readonly name: string; readonly kind: Kind }[] | null;
}
