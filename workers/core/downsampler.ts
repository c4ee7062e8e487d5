import type { BatchHandle } from "./codec.ts";
import { encodeNames } from "./decode-columns.ts";
import { type CoreModule, type Pointer, withBytes } from "./module.ts";

interface DownsamplerExports {
  downsamplerCreate(names: number, length: number, count: number, spanUs: number): number;
  downsamplerAdd(downsampler: number, batch: number): void;
  downsamplerIsFull(downsampler: number): number;
  downsamplerWrite(downsampler: number): number;
  downsamplerDispose(downsampler: number): void;
}

/** A `Downsampler` in the module's memory (`assembly/downsample/downsampler.ts`). */
export type DownsamplerHandle = Pointer;

function exportsOf(core: CoreModule): DownsamplerExports {
  return core.exports as unknown as DownsamplerExports;
}

/** @param resolutionUs length of the aggregates' time: whole, above 0 and below 2³² */
export function createDownsampler(
  core: CoreModule,
  keyFields: readonly string[],
  resolutionUs: number,
): DownsamplerHandle {
  const names = encodeNames(keyFields);
  const { downsamplerCreate } = exportsOf(core);
  return withBytes(
    core,
    names,
    (at) => downsamplerCreate(at, names.length, keyFields.length, resolutionUs) >>> 0,
  );
}

/**
 * Takes in the rows of a batch: of its columns, those of the key and those of numbers.
 * @returns whether it has taken as much as it should: many fields of many keys take 64 bytes for each
 */
export function addToDownsampler(
  core: CoreModule,
  downsampler: DownsamplerHandle,
  batch: BatchHandle,
): boolean {
  const { downsamplerAdd, downsamplerIsFull } = exportsOf(core);
  downsamplerAdd(downsampler, batch);
  return downsamplerIsFull(downsampler) !== 0;
}

/** A new batch with a row for each span of time and key, ordered by them; for `disposeBatch`. */
export function writeAggregates(core: CoreModule, downsampler: DownsamplerHandle): BatchHandle {
  return exportsOf(core).downsamplerWrite(downsampler) >>> 0;
}

export function disposeDownsampler(core: CoreModule, downsampler: DownsamplerHandle): void {
  exportsOf(core).downsamplerDispose(downsampler);
}
