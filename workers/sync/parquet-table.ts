import { zstdCompressSync } from "node:zlib";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";

/** How a column's values come: times as µs (bigint), ints as bigint, json as text. */
export type ParquetType = "time" | "int" | "float" | "bool" | "string" | "json";

export interface ParquetColumn {
  readonly name: string;
  readonly type: ParquetType;
}

type Element = ConstructorParameters<typeof ParquetWriter>[0]["schema"][number];

/** Rows of a row group. */
const GROUP_ROWS = 50_000;

const ELEMENTS: Readonly<Record<ParquetType, Omit<Element, "name">>> = {
  time: {
    type: "INT64",
    converted_type: "TIMESTAMP_MICROS",
    logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "MICROS" },
  },
  int: { type: "INT64" },
  float: { type: "DOUBLE" },
  bool: { type: "BOOLEAN" },
  string: { type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } },
  // As text, so that numbers in it keep their digits.
  json: { type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } },
};

/** A Parquet file in memory, pages in zstd. `data` has the values of each column; every column may have nulls. */
export async function writeParquet(
  columns: readonly ParquetColumn[],
  data: readonly unknown[][],
): Promise<Uint8Array<ArrayBuffer>> {
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: [
      { name: "root", num_children: columns.length },
      ...columns.map(({ name, type }): Element => ({ name, repetition_type: "OPTIONAL", ...ELEMENTS[type] })),
    ],
    codec: "ZSTD",
    compressors: { ZSTD: (input: Uint8Array) => zstdCompressSync(input) },
    createdBy: "millrace",
  });
  const columnData = columns.map(({ name }, at) => ({ name, data: data[at]! }));
  await parquet.write({ columnData, rowGroupSize: GROUP_ROWS });
  await parquet.finish();
  return new Uint8Array(writer.getBuffer());
}
