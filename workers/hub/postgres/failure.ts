import { MillraceError } from "../../errors.ts";

/** What an error of PostgreSQL, or of the way to it, means for who asked. */

const UNAVAILABLE = "E_STORE_UNAVAILABLE";
const CONNECTION =
  /^(08|57P0|53300$|CONNECTION_|CONNECT_TIMEOUT$|ECONN|EPIPE$|ETIMEDOUT$|EHOSTUNREACH$|ENETUNREACH$|ENOTFOUND$|EAI_AGAIN$|ERR_STREAM_)/;
/** Serialization failure, deadlock, a lock or statement that took too long. */
const CONTENTION = /^(40001|40P01|55P03|57014)$/;
/** A value that a column cannot hold: it would be the same again. */
const DATA = /^22/;

export function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

/** Whether the same may succeed in a moment. */
export function isPassing(cause: unknown): boolean {
  return isLost(cause) || CONTENTION.test(codeOf(cause));
}

/** Whether the connection is gone, or of no use any more. A TypeError is `postgres` itself, at a socket that it has no more. */
export function isLost(cause: unknown): boolean {
  const code = codeOf(cause);
  return CONNECTION.test(code) || code === UNAVAILABLE || (cause instanceof TypeError && code === "");
}

export function isOfData(cause: unknown): boolean {
  return DATA.test(codeOf(cause));
}

/**
 * Codes: E_STORE_UNAVAILABLE, E_STORE_BUSY, E_DISK_FULL, E_STORE_ACCESS; E_STORE for anything else. `where` is the server
 * without its password.
 */
export function explainPostgres(cause: unknown, where: string): MillraceError {
  if (cause instanceof MillraceError) return cause;
  const code = codeOf(cause);
  const text = cause instanceof Error ? cause.message : String(cause);
  const detail = code === "" ? text : `${text}, ${code}`;
  const [name, message] = isLost(cause) ? unreachable(where, detail) : classify(code, where, detail);
  return new MillraceError(name, message, { cause });
}

function classify(code: string, where: string, detail: string): readonly [string, string] {
  if (CONTENTION.test(code))
    return ["E_STORE_BUSY", `PostgreSQL at ${where} is busy (${detail}); nothing was stored in part`];
  if (code === "53100")
    return ["E_DISK_FULL", `no space left for PostgreSQL at ${where} (${detail}); free space on its disk`];
  if (/^(28|3D000|42501)/.test(code))
    return [
      "E_STORE_ACCESS",
      `PostgreSQL at ${where} does not let the hub in (${detail}); it needs a database in which it may create a schema`,
    ];
  return ["E_STORE", `PostgreSQL at ${where} failed: ${detail}`];
}

function unreachable(where: string, detail: string): readonly [string, string] {
  return [UNAVAILABLE, `PostgreSQL at ${where} cannot be reached (${detail}); nothing was stored in part`];
}
