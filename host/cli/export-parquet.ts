import { closeSync, fsyncSync, openSync } from "node:fs";
import { zstdCompressSync } from "node:zlib";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import type { ColumnType, ExportColumn } from "./export-rows.ts";
import { type TableFile, writeAll } from "./table-file.ts";

/** Rows of a row group: what is in memory at once. */
const GROUP_ROWS = 50_000;

type Element = ConstructorParameters<typeof ParquetWriter>[0]["schema"][number];

const ELEMENTS: Readonly<Record<ColumnType, Omit<Element, "name">>> = {
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

/** A Parquet file, written a row group at a time. Every column may have nulls. */
export class ParquetFile implements TableFile {
  readonly #columns: readonly ExportColumn[];
  readonly #file: number;
  readonly #writer: ByteWriter;
  readonly #parquet: ParquetWriter;
  #data: unknown[][];

  constructor(path: string, columns: readonly ExportColumn[]) {
    this.#columns = columns;
    this.#file = openSync(path, "w");
    this.#writer = new ByteWriter();
    this.#parquet = new ParquetWriter({
      writer: this.#writer,
      schema: [
        { name: "root", num_children: columns.length },
        ...columns.map(
          ({ name, type }): Element => ({ name, repetition_type: "OPTIONAL", ...ELEMENTS[type] }),
        ),
      ],
      codec: "ZSTD",
      compressors: { ZSTD: (input: Uint8Array) => zstdCompressSync(input) },
      createdBy: "millrace",
    });
    this.#data = columns.map(() => []);
  }

  add(values: readonly unknown[]): void | Promise<void> {
    for (const [at, value] of values.entries()) this.#data[at]!.push(value);
    if (this.#data[0]!.length >= GROUP_ROWS) return this.#writeGroup();
  }

  async end(): Promise<void> {
    await this.#writeGroup();
    await this.#parquet.finish();
    this.#flush();
    fsyncSync(this.#file);
    closeSync(this.#file);
  }

  async #writeGroup(): Promise<void> {
    const rows = this.#data[0]?.length ?? 0;
    if (rows === 0) return;
    const columnData = this.#columns.map(({ name }, at) => ({ name, data: this.#data[at]! }));
    await this.#parquet.write({ columnData, rowGroupSize: rows });
    this.#data = this.#columns.map(() => []);
    this.#flush();
  }

  /** What was written so far leaves memory; the writer goes on counting from where it is. */
  #flush(): void {
    writeAll(this.#file, new Uint8Array(this.#writer.buffer, 0, this.#writer.index));
    this.#writer.index = 0;
  }
}
