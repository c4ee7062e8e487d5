const utf8 = new TextEncoder();

/** Lines as NDJSON bytes in a buffer of their own. */
export function encodeLines(lines: readonly string[]): Uint8Array<ArrayBuffer> {
  return utf8.encode(lines.length === 0 ? "" : `${lines.join("\n")}\n`);
}
