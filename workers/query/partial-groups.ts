/** Events of one key that stand together in a partial. Times in µs. */
export interface KeySpan {
  /** The key's bytes as text, a byte a character: to tell keys apart. */
  readonly id: string;
  readonly key: Uint8Array<ArrayBuffer>;
  readonly firstUs: number;
  readonly lastUs: number;
}

/** Bytes of a window's head and of a group's entry, see `assembly/window/partial.ts`. */
const PANE_HEAD_BYTES = 20;
const PANE_GROUP_BYTES = 8;
/** Bytes of a group's head and of a fragment's, see `assembly/window/keyed/partial.ts`. */
const KEYED_GROUP_BYTES = 16;
const FRAGMENT_BYTES = 24;

type Key = Pick<KeySpan, "id" | "key">;

/** Of a partial of panes: each group of each slice. Both times are the start of its slice. */
export function readPaneGroups(partial: Uint8Array<ArrayBuffer>): KeySpan[] {
  const view = viewOf(partial);
  let at = 8;
  for (let fields = view.getUint32(4, true); fields > 0; fields--) at += 8 + view.getUint32(at + 4, true);
  const count = view.getUint32(at + 8, true);
  const textBytes = view.getBigUint64(at, true) === 0n ? 0 : count * 4;
  const { keys, end } = readKeys(partial, view, count, at + 16 + textBytes);
  const spans: KeySpan[] = [];
  at = end + 4;
  for (let slices = view.getUint32(end, true); slices > 0; slices--) {
    const startUs = Number(view.getBigInt64(at, true));
    const groups = view.getUint32(at + 8, true);
    const stateBytes = view.getUint32(at + 12, true);
    at += PANE_HEAD_BYTES;
    for (let group = 0; group < groups; group++, at += PANE_GROUP_BYTES)
      spans.push({ ...keys[view.getUint32(at, true)]!, firstUs: startUs, lastUs: startUs });
    at += stateBytes;
  }
  return spans;
}

/** Of a partial of keyed windows: each fragment of each key. */
export function readKeyedGroups(partial: Uint8Array<ArrayBuffer>): KeySpan[] {
  const view = viewOf(partial);
  const { keys, end } = readKeys(partial, view, view.getUint32(4, true), 8);
  const groups = view.getUint32(end, true);
  const spans: KeySpan[] = [];
  let at = end + 4 + groups * KEYED_GROUP_BYTES;
  for (let group = 0; group < groups; group++) {
    const head = end + 4 + group * KEYED_GROUP_BYTES;
    const key = keys[view.getUint32(head, true)]!;
    for (let fragments = view.getUint32(head + 4, true); fragments > 0; fragments--) {
      const firstUs = Number(view.getBigInt64(at, true));
      const lastUs = Number(view.getBigInt64(at + 8, true));
      spans.push({ ...key, firstUs, lastUs });
      at += FRAGMENT_BYTES + view.getUint32(at + 20, true);
    }
  }
  return spans;
}

/** Of a partial of keyed windows: each key with its greatest event time. */
export function readKeyHeads(
  partial: Uint8Array<ArrayBuffer>,
): { readonly id: string; readonly key: Uint8Array<ArrayBuffer>; readonly greatestUs: number }[] {
  const view = viewOf(partial);
  const { keys, end } = readKeys(partial, view, view.getUint32(4, true), 8);
  return Array.from({ length: view.getUint32(end, true) }, (_, group) => {
    const head = end + 4 + group * KEYED_GROUP_BYTES;
    const greatestUs = Number(view.getBigInt64(head + 8, true));
    return { ...keys[view.getUint32(head, true)]!, greatestUs };
  });
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

function readKeys(
  partial: Uint8Array<ArrayBuffer>,
  view: DataView,
  count: number,
  from: number,
): { readonly keys: readonly Key[]; readonly end: number } {
  const keys: Key[] = [];
  let at = from;
  for (let left = count; left > 0; left--) {
    const end = at + 4 + view.getUint32(at, true);
    const key = partial.slice(at + 4, end);
    keys.push({ key, id: Buffer.from(key).toString("latin1") });
    at = end;
  }
  return { keys, end: at };
}
