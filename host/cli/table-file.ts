import { writeSync } from "node:fs";

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
