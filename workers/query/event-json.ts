import type { BatchReader, CellValue } from "../core/codec.ts";
import { formatTime } from "../time-format.ts";

/** Columns as they nest: `a.b` stands in object `a` as `b`. */
interface Branch {
  readonly name: string;
  readonly column: number | null;
  readonly children: Branch[];
}

/**
 * A writer of a batch's rows as JSON objects: members in column order with the time first under its field's name,
 * nested ones in their objects, undeclared ones last. Nulls are left out.
 */
export function eventWriter(batch: BatchReader, timeField: string): (row: number) => string {
  const root: Branch = { name: "", column: null, children: [] };
  batch.columns.forEach(({ name }, index) => place(root, name.split("."), index));
  const time = `${JSON.stringify(timeField)}:"`;
  return (row) => {
    const members = `${time}${formatTime(Number(batch.times[row]))}"${membersOf(root, batch, row)}`;
    const extra = batch.extraAt(row);
    return `{${members}${extra === null || extra === "{}" ? "" : `,${extra.slice(1, -1)}`}}`;
  };
}

/** A cell as JSON: integers digit by digit, floats in their shortest form. */
export function cellJson(value: CellValue): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "number" && Object.is(value, -0)) return "-0.0";
  return JSON.stringify(value);
}

function place(branch: Branch, path: readonly string[], column: number): void {
  const [name = "", ...rest] = path;
  if (rest.length === 0) {
    branch.children.push({ name, column, children: [] });
    return;
  }
  let child = branch.children.find((candidate) => candidate.name === name && candidate.column === null);
  if (child === undefined) {
    child = { name, column: null, children: [] };
    branch.children.push(child);
  }
  place(child, rest, column);
}

/** Every member with a comma in front, since the time stands before them. */
function membersOf(branch: Branch, batch: BatchReader, row: number): string {
  let text = "";
  for (const child of branch.children) {
    if (child.column === null) {
      const inner = membersOf(child, batch, row);
      if (inner !== "") text += `,${JSON.stringify(child.name)}:{${inner.slice(1)}}`;
      continue;
    }
    const value = batch.columns[child.column]?.valueAt(row) ?? null;
    if (value !== null) text += `,${JSON.stringify(child.name)}:${cellJson(value)}`;
  }
  return text;
}
