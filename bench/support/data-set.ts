import { type ColumnSource, parquetWriteBuffer } from "hyparquet-writer";
import { type BatchBuilder, buildBatch } from "../../workers/core/batch-builder.ts";
import type { BatchHandle } from "../../workers/core/codec.ts";
import type { CoreModule } from "../../workers/core/module.ts";
import { nativeCodec } from "../../workers/zstd.ts";

/** zstd's own default, which NDJSON gets in benches too. */
export const PARQUET_LEVEL = 3;

/** `undeclared`: the members that no column has, as the text of a JSON object. */
export type FieldKind = "string" | "float" | "int" | "bool" | "undeclared";
export type Value = string | number | boolean | null;

/** Events as columns; `text` gives an event's NDJSON line. */
export interface DataSet {
  readonly name: string;
  readonly timesMs: readonly number[];
  readonly fields: readonly {
    readonly name: string;
    readonly kind: FieldKind;
    readonly values: readonly Value[];
  }[];
  text(row: number): string;
}

const zstd = nativeCodec();

export function dispose(core: CoreModule, batch: BatchHandle): void {
  (core.exports as unknown as { batchDispose(batch: number): void }).batchDispose(batch);
}

/** A batch of the events from `start` to before `end`. */
export function fill(core: CoreModule, data: DataSet, start: number, end: number): BatchHandle {
  const builder = buildBatch(core);
  const indexes = data.fields.map(({ name, kind }) =>
    kind === "undeclared" ? -1 : builder.addColumn(name, kind),
  );
  for (let event = start; event < end; event++) {
    const row = builder.addRow(BigInt(data.timesMs[event]!) * 1000n, 0);
    for (const [field, { kind, values }] of data.fields.entries()) {
      const value = values[event]!;
      if (value !== null) setValue(builder, indexes[field]!, row, kind, value);
    }
  }
  return builder.batch;
}

function setValue(
  builder: BatchBuilder,
  column: number,
  row: number,
  kind: FieldKind,
  value: NonNullable<Value>,
): void {
  if (kind === "string") builder.setText(column, row, String(value));
  else if (kind === "float") builder.setFloat(column, row, Number(value));
  else if (kind === "int") builder.setInt(column, row, BigInt(value));
  else if (kind === "bool") builder.setBool(column, row, value === true);
  else builder.setExtra(row, String(value));
}

const PARQUET_TYPES = {
  string: "STRING",
  float: "DOUBLE",
  int: "INT64",
  bool: "BOOLEAN",
  undeclared: "STRING",
} as const;

/**
 * Bytes of one Parquet file with a row group a batch, zstd 3: the smaller of its writer's own choice of encodings and
 * DELTA_BINARY_PACKED times and integers.
 */
export function parquetSize(data: DataSet, rowGroupSize: number): number {
  return Math.min(parquetSizeOf(data, rowGroupSize, {}), parquetSizeOf(data, rowGroupSize, PACKED));
}

const PACKED = { encoding: "DELTA_BINARY_PACKED" } as const;

function parquetSizeOf(data: DataSet, rowGroupSize: number, packed: Partial<typeof PACKED>): number {
  const columnData: ColumnSource[] = [
    { name: "ts", data: data.timesMs.map(BigInt), type: "INT64", nullable: false, ...packed },
    ...data.fields.map(({ name, kind, values }) => ({
      name,
      type: PARQUET_TYPES[kind],
      nullable: values.includes(null),
      data: kind === "int" ? values.map((value) => (value === null ? null : BigInt(value))) : [...values],
      ...(kind === "int" ? packed : {}),
    })),
  ];
  const file = parquetWriteBuffer({
    columnData,
    codec: "ZSTD",
    compressors: { ZSTD: (bytes) => zstd.compress(bytes, PARQUET_LEVEL) },
    statistics: false,
    rowGroupSize,
  });
  return file.byteLength;
}
