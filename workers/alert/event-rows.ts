import { keyJson } from "../core/group-key.ts";
import type { AlertPlan } from "../messages.ts";

export const EVENT_ROWS_VERSION = 1;
export const PARTIAL_HEAD_BYTES = 8;
/** Bytes of an entry before its key; see `assembly/alert/decisive.ts`. */
const ENTRY_HEAD_BYTES = 24;

/** As `Verdict` there. */
const VERDICTS = { true: 1, clear: 2 } as const;

/** An event that may change where an alert stands. */
export interface EventRow {
  /** Its place in the block. */
  readonly row: number;
  readonly timeUs: number;
  readonly isTrue: boolean;
  readonly isClear: boolean;
  /** Key bytes, a character each. */
  readonly key: string;
  /** JSON text of the fields that `when` and `clear` read. */
  readonly value: () => string;
}

/** The fields whose values are told: those that the expressions read. */
export function valueSlots({ when, clear }: AlertPlan): readonly (readonly string[])[] {
  return [...new Set([...when.inputs, ...(clear?.inputs ?? [])])].map((name) => [name]);
}

/** The partial's id of an alert; those of queries are not below 0. */
export function partialIdOf({ id }: Pick<AlertPlan, "id">): number {
  return -1 - id;
}

/** Adds the entries of a run of bytes. */
export function readEventRows(
  bytes: Uint8Array<ArrayBuffer>,
  values: readonly (readonly string[])[],
  rows: EventRow[],
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const end = at + view.getUint32(at, true);
    const verdict = view.getUint32(at + 8, true);
    const valuesAt = at + ENTRY_HEAD_BYTES + view.getUint32(at + 12, true);
    rows.push({
      row: view.getUint32(at + 4, true),
      timeUs: Number(view.getBigInt64(at + 16, true)),
      isTrue: verdict === VERDICTS.true,
      isClear: verdict === VERDICTS.clear,
      key: Buffer.from(
        bytes.buffer,
        bytes.byteOffset + at + ENTRY_HEAD_BYTES,
        valuesAt - at - ENTRY_HEAD_BYTES,
      ).toString("latin1"),
      value: () => keyJson(bytes.subarray(valuesAt, end), values),
    });
    at = end;
  }
}
