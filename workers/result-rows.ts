import type { ResultRow } from "./messages.ts";

/** Ends the line of a row that is retracted. */
const RETRACTED = "retracted";

/**
 * Result rows as one text, a row a line and its members between tabs: a text crosses threads in one copy, ten thousand
 * objects do not. Keys and values are JSON, which has no raw tabs or line feeds; a query's name has neither.
 */
export function packResults(rows: readonly ResultRow[]): string {
  return rows
    .map((row) => {
      const members = [row.query, row.startUs, row.endUs, row.revision, row.kind, row.key, row.values];
      return row.retracted ? `${members.join("\t")}\t${RETRACTED}` : members.join("\t");
    })
    .join("\n");
}

export function unpackResults(text: string): ResultRow[] {
  if (text === "") return [];
  return text.split("\n").map((line) => {
    const [query = "", startUs, endUs, revision, kind, key = "", values = "", retracted] = line.split("\t");
    return {
      query,
      startUs: Number(startUs),
      endUs: Number(endUs),
      revision: Number(revision),
      kind: kind as ResultRow["kind"],
      key,
      values,
      ...(retracted === RETRACTED ? { retracted: true } : {}),
    };
  });
}

/** The rows of a packed text as several, each of about `chars` characters. */
export function splitResults(text: string, chars: number): string[] {
  const parts: string[] = [];
  for (let from = 0; from < text.length; ) {
    const lineEnd = text.indexOf("\n", from + chars);
    const to = lineEnd < 0 ? text.length : lineEnd;
    parts.push(text.slice(from, to));
    from = to + 1;
  }
  return parts;
}
