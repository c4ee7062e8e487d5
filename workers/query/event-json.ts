import type { CellValue, ColumnKind } from "../core/codec.ts";
import { formatTime } from "../time-format.ts";
import { splitObject } from "./json-members.ts";

/** A batch as far as writing its rows goes; `BatchReader` is one. */
export interface EventRows {
  readonly times: { readonly [row: number]: bigint };
  readonly columns: readonly {
    readonly name: string;
    readonly type: ColumnKind;
    valueAt(row: number): CellValue;
  }[];
  extraAt(row: number): string | null;
}

/** The JSON text of a row's value, or null when the row has none. */
type ReadText = (row: number) => string | null;

/** A member of the object to write. A column `a.b` makes a member `b` of a member `a`. */
interface MemberPlan {
  readonly path: string;
  /** Where in `path` the own name begins. */
  readonly nameAt: number;
  readonly label: string;
  read: ReadText | null;
  readonly children: Map<string, MemberPlan>;
}

/**
 * Makes the function that writes a row as JSON: the event time under `timeField` first, then the columns in their
 * order, dot paths nested again, then what the row keeps verbatim. Members without a value are left out.
 * A row that has both `a` and `a.b` gets the second back under its dotted name, so that neither is lost.
 */
export function createEventWriter(rows: EventRows, timeField: string): (row: number) => string {
  const root: MemberPlan = { path: "", nameAt: 0, label: "", read: null, children: new Map() };
  addLeaf(root, timeField, (row) => `"${formatTime(rows.times[row]!)}"`);
  for (const { name, type, valueAt } of rows.columns) {
    if (name === timeField || type === "null") continue;
    addLeaf(root, name, (row) => {
      const value = valueAt(row);
      return value === null ? null : valueJson(value);
    });
  }
  return (row) => {
    const extra = rows.extraAt(row);
    return extra === null ? `{${writeMembers(root.children, row)}}` : writeWithExtra(root, extra, row);
  };
}

/** A value as JSON: integers digit by digit, floats in JavaScript's shortest form, −0 as such, NaN and ±∞ as null. */
export function valueJson(value: NonNullable<CellValue>): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      if (!Number.isFinite(value)) return "null";
      return Object.is(value, -0) ? "-0" : String(value);
    default:
      return String(value);
  }
}

/** A value's text as a person types it to look for it: a string is itself, anything else its JSON. */
export function valueText(value: NonNullable<CellValue>): string {
  return typeof value === "string" ? value : valueJson(value);
}

function addLeaf(root: MemberPlan, path: string, read: ReadText): void {
  let node = root;
  let nameAt = 0;
  for (const name of path.split(".")) {
    const end = nameAt + name.length;
    let child = node.children.get(name);
    if (child === undefined) {
      const label = `${JSON.stringify(name)}:`;
      child = { path: path.slice(0, end), nameAt, label, read: null, children: new Map() };
      node.children.set(name, child);
    }
    node = child;
    nameAt = end + 1;
  }
  node.read ??= read;
}

function writeMembers(members: ReadonlyMap<string, MemberPlan>, row: number): string {
  let text = "";
  for (const member of members.values()) {
    const value = member.read === null ? null : member.read(row);
    if (value !== null) text += text === "" ? member.label + value : `,${member.label}${value}`;
    if (member.children.size === 0) continue;
    const inner = value === null ? writeMembers(member.children, row) : writeDotted(member, row);
    if (inner === "") continue;
    if (text !== "") text += ",";
    text += value === null ? `${member.label}{${inner}}` : inner;
  }
  return text;
}

/** What stands below a member that has a value itself, beside it: `"a":1,"a.b":2`. */
function writeDotted({ children, nameAt }: MemberPlan, row: number): string {
  const parts: string[] = [];
  forEachValue(children, row, (path, value) => parts.push(`${JSON.stringify(path.slice(nameAt))}:${value}`));
  return parts.join(",");
}

function forEachValue(
  members: ReadonlyMap<string, MemberPlan>,
  row: number,
  visit: (path: string, value: string) => void,
): void {
  for (const member of members.values()) {
    const value = member.read === null ? null : member.read(row);
    if (value !== null) visit(member.path, value);
    forEachValue(member.children, row, visit);
  }
}

/** A member of one row that has values of its own beside the columns'. */
interface JsonNode {
  value: string | null;
  readonly children: Map<string, JsonNode>;
}

/** Slower than by the plan alone: the row's own members decide the shape. */
function writeWithExtra(plan: MemberPlan, extra: string, row: number): string {
  const members = splitObject(extra);
  // The parser writes only objects there. Should it be anything else, it is shown rather than dropped.
  if (members === null) return `{${writeMembers(plan.children, row)},"extra":${JSON.stringify(extra)}}`;
  const root: JsonNode = { value: null, children: new Map() };
  forEachValue(plan.children, row, (path, value) => insert(root, path, value));
  for (const { name, value } of members) insert(root, name, value);
  return `{${writeNodes(root, "")}}`;
}

function insert(root: JsonNode, path: string, value: string): void {
  let node = root;
  for (const name of path.split(".")) {
    if (node !== root) openObject(node);
    let child = node.children.get(name);
    if (child === undefined) {
      child = { value: null, children: new Map() };
      node.children.set(name, child);
    }
    node = child;
  }
  node.value ??= value;
  if (node.children.size > 0) openObject(node);
}

/** Where an object kept verbatim meets members of the same path, they become one object. */
function openObject(node: JsonNode): void {
  const members = node.value?.startsWith("{") ? splitObject(node.value) : null;
  if (members === null) return;
  node.value = null;
  for (const { name, value } of members) {
    const child = node.children.get(name);
    if (child === undefined) node.children.set(name, { value, children: new Map() });
    else {
      child.value ??= value;
      openObject(child);
    }
  }
}

function writeNodes(parent: JsonNode, prefix: string): string {
  const parts: string[] = [];
  for (const [name, { value, children }] of parent.children) {
    const label = `${JSON.stringify(prefix + name)}:`;
    if (value !== null) parts.push(label + value);
    if (children.size === 0) continue;
    const isDotted = prefix !== "" || value !== null;
    const inner = writeNodes({ value: null, children }, isDotted ? `${prefix}${name}.` : "");
    if (inner !== "") parts.push(isDotted ? inner : `${label}{${inner}}`);
  }
  return parts.join(",");
}
