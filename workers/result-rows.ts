import type { ResultRow } from "./messages.ts";

/** Ends the head of rows that are retracted. */
const RETRACTED = "retracted";
const TAB = 9;
/** Of a head, but for the last; in the lines of earlier releases, which had all of a row, key and values followed. */
const HEAD_MEMBERS = 5;

/** Rows that follow each other and differ in key and values alone. */
export interface ResultGroup extends Omit<ResultRow, "key" | "values"> {
  /** A row a line: its key and its values, with a tab between. */
  readonly lines: string;
}

/**
 * Result rows as one text: a text crosses threads in one copy, ten thousand objects do not. A line that begins with a tab is the head of
 * the rows behind it: query, start, end, revision, kind, and whether they are retracted, between tabs. Then a row a line: key and values.
 * Both are JSON, which has no raw tabs or line feeds; a query's name has neither.
 */
export function packResults(rows: readonly ResultRow[]): string {
  let text = "";
  let before: ResultRow | null = null;
  for (const row of rows) {
    if (before === null || !isOfOneGroup(before, row)) text += `${before === null ? "" : "\n"}${headOf(row)}`;
    text += `\n${row.key}\t${row.values}`;
    before = row;
  }
  return text;
}

function isOfOneGroup(a: ResultRow, b: ResultRow): boolean {
  return (
    a.startUs === b.startUs &&
    a.endUs === b.endUs &&
    a.revision === b.revision &&
    a.kind === b.kind &&
    a.query === b.query &&
    a.retracted === b.retracted
  );
}

function headOf({
  query,
  startUs,
  endUs,
  revision,
  kind,
  retracted,
}: Omit<ResultRow, "key" | "values">): string {
  const head = `\t${query}\t${startUs}\t${endUs}\t${revision}\t${kind}`;
  return retracted ? `${head}\t${RETRACTED}` : head;
}

/** The groups of a packed text, in its order. */
export function groupsOf(text: string): ResultGroup[] {
  const groups: ResultGroup[] = [];
  for (let from = 0; from < text.length; ) {
    const next = text.indexOf("\n\t", from);
    const end = next < 0 ? text.length : next;
    if (text.charCodeAt(from) === TAB) groups.push(groupOf(text, from, end));
    else for (const line of text.slice(from, end).split("\n")) groups.push(groupOfWhole(line));
    from = end + 1;
  }
  return groups;
}

function groupOf(text: string, from: number, end: number): ResultGroup {
  const headEnd = text.indexOf("\n", from);
  return groupFrom(text.slice(from + 1, headEnd).split("\t"), text.slice(headEnd + 1, end));
}

/** A row as earlier releases packed it, in a checkpoint or for a sink. */
function groupOfWhole(line: string): ResultGroup {
  const members = line.split("\t");
  const [key, values] = members.splice(HEAD_MEMBERS, 2);
  return groupFrom(members, `${key}\t${values}`);
}

function groupFrom(
  [query = "", startUs, endUs, revision, kind, retracted]: readonly string[],
  lines: string,
): ResultGroup {
  const group = {
    query,
    startUs: Number(startUs),
    endUs: Number(endUs),
    revision: Number(revision),
    kind: kind as ResultRow["kind"],
    lines,
  };
  return retracted === RETRACTED ? { ...group, retracted: true } : group;
}

/** The rows of a group. */
export function rowsOf(group: ResultGroup): ResultRow[] {
  const { lines } = group;
  return lines.includes("\n") ? lines.split("\n").map((line) => rowOf(group, line)) : [rowOf(group, lines)];
}

function rowOf({ query, startUs, endUs, revision, kind, retracted }: ResultGroup, line: string): ResultRow {
  const tab = line.indexOf("\t");
  const row = { query, startUs, endUs, key: line.slice(0, tab), values: line.slice(tab + 1), revision, kind };
  return retracted ? { ...row, retracted } : row;
}

export function unpackResults(text: string): ResultRow[] {
  return groupsOf(text).flatMap(rowsOf);
}

/** How many rows a packed text has. */
export function countResults(text: string): number {
  let lines = text === "" ? 0 : 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  if (text.charCodeAt(0) === TAB) lines--;
  for (let at = text.indexOf("\n\t"); at >= 0; at = text.indexOf("\n\t", at + 1)) lines--;
  return lines;
}

/** The rows of a packed text as several, each of about `chars` characters and with a head of its own. */
export function splitResults(text: string, chars: number): string[] {
  const parts: string[] = [];
  let head = "";
  for (let from = 0; from < text.length; ) {
    let to = lineEnd(text, from + chars);
    // A head is not parted from its first row.
    const lastLine = Math.max(from, text.lastIndexOf("\n", to - 1) + 1);
    if (text.charCodeAt(lastLine) === TAB) to = lineEnd(text, to + 1);
    const part = text.slice(from, to);
    const begins = text.charCodeAt(from) === TAB;
    parts.push(begins || head === "" ? part : `${head}\n${part}`);
    const headAt = part.lastIndexOf("\n\t") + 1;
    if (begins || headAt > 0) head = part.slice(headAt, lineEnd(part, headAt));
    from = to + 1;
  }
  return parts;
}

/** The end of the line that a place is in. */
function lineEnd(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}
