import type { FieldType } from "../messages.ts";
import { type BatchHandle, newBatch } from "./codec.ts";
import { type CoreModule, copyIn } from "./module.ts";

interface BuilderExports {
  allocate(length: number): number;
  release(pointer: number): void;
  codecAddColumn(batch: number, name: number, nameLength: number, type: number): number;
  codecAppendRow(batch: number, timeUs: bigint, flags: number): number;
  codecSetCell(batch: number, column: number, row: number, bits: bigint): void;
  codecSetText(batch: number, column: number, row: number, text: number, length: number): void;
}

const TYPE_NUMBERS: Readonly<Record<FieldType | "null", number>> = {
  null: 0,
  bool: 1,
  int: 2,
  float: 3,
  string: 4,
};
const EXTRA = -1;
const utf8 = new TextEncoder();
const bits = new DataView(new ArrayBuffer(8));

/** Fills a batch value by value, for tools and tests; events go through the parser. Rows are set in ascending order. */
export interface BatchBuilder {
  readonly batch: BatchHandle;
  /** Adds a column and gives its index. */
  addColumn(name: string, type: FieldType | "null"): number;
  /** Adds a row of nulls and gives its number. `timeUs`: µs since the epoch. */
  addRow(timeUs: bigint, flags: number): number;
  setBool(column: number, row: number, value: boolean): void;
  setInt(column: number, row: number, value: bigint): void;
  setFloat(column: number, row: number, value: number): void;
  /** Any bit pattern, of an int or of a float. */
  setBits(column: number, row: number, value: bigint): void;
  setText(column: number, row: number, value: string): void;
  setExtra(row: number, json: string): void;
}

export function buildBatch(core: CoreModule): BatchBuilder {
  const { allocate, release, ...exports } = core.exports as unknown as BuilderExports;
  const batch = newBatch(core);
  const withText = <T>(text: string, use: (at: number, length: number) => T): T => {
    const bytes = utf8.encode(text);
    const at = allocate(bytes.length + 1) >>> 0;
    copyIn(core, at, bytes);
    const result = use(at, bytes.length);
    release(at);
    return result;
  };
  const setBits = (column: number, row: number, value: bigint): void =>
    exports.codecSetCell(batch, column, row, BigInt.asIntN(64, value));
  const setText = (column: number, row: number, value: string): void =>
    withText(value, (at, length) => exports.codecSetText(batch, column, row, at, length));
  return {
    batch,
    addColumn: (name, type) =>
      withText(name, (at, length) => exports.codecAddColumn(batch, at, length, TYPE_NUMBERS[type])),
    addRow: (timeUs, flags) => exports.codecAppendRow(batch, timeUs, flags),
    setBool: (column, row, value) => setBits(column, row, value ? 1n : 0n),
    setInt: setBits,
    setFloat: (column, row, value) => {
      bits.setFloat64(0, value);
      setBits(column, row, bits.getBigInt64(0));
    },
    setBits,
    setText,
    setExtra: (row, json) => setText(EXTRA, row, json),
  };
}
