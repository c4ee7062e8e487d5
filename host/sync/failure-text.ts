import type { Delivery } from "./sink.ts";

/** What an error says, with its code where it has one. */
export function failureText(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const inner = cause instanceof AggregateError ? cause.errors.map(failureText).join("; ") : "";
  const message = cause.message || inner || cause.name;
  const code = "code" in cause && cause.code !== undefined ? String(cause.code) : "";
  return (code === "" || message.includes(code) ? message : `${code}: ${message}`).slice(0, MAX_CHARACTERS);
}

export function unreachable(cause: unknown): Delivery {
  return { kind: "unreachable", reason: failureText(cause), retryAfterMs: 0 };
}

export function rejected(cause: unknown): Delivery {
  return { kind: "rejected", reason: failureText(cause) };
}

const MAX_CHARACTERS = 500;
