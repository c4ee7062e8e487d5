import { buildBatch } from "../../workers/core/batch-builder.ts";
import type { BatchHandle } from "../../workers/core/codec.ts";
import type { CoreModule } from "../../workers/core/module.ts";
import type { ClockEvent } from "./clock-oracle.ts";

/** A batch of events with their source in the text column `k`. Makes it, uses it, and frees it. */
export function withEvents<T>(
  core: CoreModule,
  events: readonly ClockEvent[],
  use: (batch: BatchHandle) => T,
): T {
  const builder = buildBatch(core);
  const key = builder.addColumn("k", "string");
  for (const { source, timeUs, isSkewed } of events) {
    builder.setText(key, builder.addRow(BigInt(timeUs), isSkewed ? 1 : 0), source);
  }
  const wasm = core.exports as unknown as {
    codecSeal(batch: number): number;
    batchDispose(batch: number): void;
  };
  wasm.codecSeal(builder.batch);
  try {
    return use(builder.batch);
  } finally {
    wasm.batchDispose(builder.batch);
  }
}
