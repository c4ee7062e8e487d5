import { createHash } from "node:crypto";
import type { FieldType, TableColumn, TableData, TableValue } from "../../../workers/messages.ts";
import type { StoredTable } from "../../../workers/store/table-store.ts";

/** A column as it is stored: integers as texts, for JSON's numbers are exact up to 2^53 only. */
interface StoredColumn {
  readonly name: string;
  readonly type: FieldType;
  readonly values: readonly (null | boolean | number | string)[];
}

const digests = new WeakMap<TableData, string>();

/** A table without rows. */
export function emptyTable(name: string, key: string): TableData {
  return { name, columns: [{ name: key, type: "string", values: [] }] };
}

export function rowCount({ columns }: TableData): number {
  return columns[0]?.values.length ?? 0;
}

/** The table as the store keeps it. */
export function toStored(data: TableData): StoredTable {
  const columns = data.columns.map(
    ({ name, type, values }): StoredColumn => ({
      name,
      type,
      values: values.map((value) => (typeof value === "bigint" ? String(value) : value)),
    }),
  );
  const body = JSON.stringify({ name: data.name, columns });
  const digest = createHash("sha256").update(body).digest("hex");
  digests.set(data, digest);
  return { digest, body };
}

/** Names the rows: the same table has the same one. */
export function digestOf(data: TableData): string {
  return digests.get(data) ?? toStored(data).digest;
}

export function fromStored({ body, digest }: StoredTable): TableData {
  const { name, columns } = JSON.parse(body) as { name: string; columns: StoredColumn[] };
  const data = { name, columns: columns.map(readColumn) };
  digests.set(data, digest);
  return data;
}

function readColumn({ name, type, values }: StoredColumn): TableColumn {
  // A column of floats may hold integers, which were texts as well.
  const isNumber = type === "int" || type === "float";
  const read = (value: StoredColumn["values"][number]): TableValue =>
    isNumber && typeof value === "string" ? BigInt(value) : value;
  return { name, type, values: values.map(read) };
}

/** The rows as lines of JSON, in the order in which they were given; every integer with all its digits. */
export function* tableLines({ columns }: TableData): Generator<string> {
  const count = columns[0]?.values.length ?? 0;
  for (let row = 0; row < count; row++) {
    const members = columns.map(({ name, values }) => {
      const value = values[row] ?? null;
      return `${JSON.stringify(name)}:${typeof value === "bigint" ? value : JSON.stringify(value)}`;
    });
    yield `{${members.join(",")}}`;
  }
}
