import type { BatchHandle } from "../core/codec.ts";
import { createRowProgram } from "../core/expression.ts";
import { type CoreModule, copyIn, type Pointer } from "../core/module.ts";
import type { Tables } from "../core/tables.ts";
import { encodePlan } from "../core/window-plan.ts";
import type { AlertPlan } from "../messages.ts";
import { EVENT_ROWS_VERSION, PARTIAL_HEAD_BYTES, valueSlots } from "./event-rows.ts";

interface FilterExports {
  allocate(length: number): number;
  release(pointer: number): void;
  decisiveCreate(keyPlan: number, valuePlan: number, runRows: number, byTime: number): number;
  decisiveScan(decisive: number, batch: number, when: number, clear: number): void;
  decisiveMain(decisive: number): number;
  decisiveMainLength(decisive: number): number;
  decisiveLeading(decisive: number): number;
  decisiveLeadingLength(decisive: number): number;
  decisiveDispose(decisive: number): void;
}

/** The local stage of an alert over events: a batch in, the rows that can change where the alert stands out. */
export interface EventFilter {
  scan(batch: BatchHandle): Uint8Array<ArrayBuffer>;
  dispose(): void;
}

export function createEventFilter(core: CoreModule, plan: AlertPlan, tables: Tables): EventFilter {
  const exports = core.exports as unknown as FilterExports;
  const programs = [plan.when, ...(plan.clear === null ? [] : [plan.clear])].map((program) => {
    const created = createRowProgram(core, program);
    tables.bind(created);
    return created;
  });
  const [when, clear] = programs;
  const decisive = createDecisive(core, plan);
  return {
    scan: (batch) => {
      const whenAt = when!.maskAt(batch);
      exports.decisiveScan(decisive, batch, whenAt, clear?.maskAt(batch) ?? 0);
      return packed(
        core,
        [exports.decisiveMain(decisive), exports.decisiveMainLength(decisive)],
        [exports.decisiveLeading(decisive), exports.decisiveLeadingLength(decisive)],
      );
    },
    dispose: () => {
      exports.decisiveDispose(decisive);
      for (const program of programs) {
        tables.unbind(program);
        program.dispose();
      }
    },
  };
}

function createDecisive(core: CoreModule, plan: AlertPlan): Pointer {
  const { allocate, release, decisiveCreate } = core.exports as unknown as FilterExports;
  const [keyPlan, valuePlan] = [plan.by, valueSlots(plan)].map((by) => {
    // Only the slots count: there are no windows.
    const window = { kind: "tumbling", sizeUs: 1, offsetUs: 0 } as const;
    const bytes = encodePlan({ id: 0, name: "", stream: "", window, latenessUs: 0, by, select: [] });
    const at = allocate(bytes.length + 16) >>> 0;
    copyIn(core, at, bytes);
    return at;
  }) as [number, number];
  const isByTime = plan.for.kind === "duration";
  const runRows = plan.for.kind === "duration" ? 0 : plan.for.count;
  const decisive = decisiveCreate(keyPlan, valuePlan, runRows, Number(isByTime)) >>> 0;
  release(keyPlan);
  release(valuePlan);
  return decisive;
}

/** Version and length of the main entries, u32 each; then those, then the leading ones. */
function packed(
  core: CoreModule,
  [main, mainLength]: readonly [number, number],
  [leading, leadingLength]: readonly [number, number],
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(PARTIAL_HEAD_BYTES + mainLength + leadingLength);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, EVENT_ROWS_VERSION, true);
  view.setUint32(4, mainLength, true);
  const memory = core.memory.buffer;
  bytes.set(new Uint8Array(memory, main >>> 0, mainLength), PARTIAL_HEAD_BYTES);
  bytes.set(new Uint8Array(memory, leading >>> 0, leadingLength), PARTIAL_HEAD_BYTES + mainLength);
  return bytes;
}
