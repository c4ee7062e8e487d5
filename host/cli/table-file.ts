import { writeSync } from "node:fs";
import { CommandError } from "./client.ts";
import { EXIT } from "./output.ts";

/** Takes rows of values in the order of the columns; null is no value. */
export interface TableFile {
  /** A promise is to be waited for before the next. */
  add(values: readonly unknown[]): void | Promise<void>;
  /** All rows are there, and durable. */
  end(): void | Promise<void>;
}

/** A file may take less at once than it is given. */
export function writeAll(file: number, text: string | Uint8Array): void {
  const bytes = typeof text === "string" ? Buffer.from(text) : text;
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}

const OF_WRITING: ReadonlySet<string> = new Set(["open", "write", "fsync", "close", "rename"]);

/** What the disk says of the file that a command writes, for a person; anything else as it is. */
export function explainWriting(cause: unknown, output: string): unknown {
  if (!(cause instanceof Error) || !("syscall" in cause) || !("code" in cause)) return cause;
  if (!OF_WRITING.has(String(cause.syscall))) return cause;
  // Whoever reads our output may stop, as `head` does: then there is nothing left to say.
  if (output === "-" && cause.code === "EPIPE") process.exit(EXIT.ok);
  const message = `${output} cannot be written (${String(cause.code)}); name a file in a folder that is there and has room`;
  return new CommandError(EXIT.failed, message, { cause });
}
