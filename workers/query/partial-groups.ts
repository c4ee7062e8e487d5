/** Events of one key that stand together in a partial. Times in µs. */
export interface KeySpan {
  /** The key's bytes as text, a byte a character: to tell keys apart. */
  readonly id: string;
  readonly key: Uint8Array<ArrayBuffer>;
  readonly firstUs: number;
  readonly lastUs: number;
}

const VERSION_BYTES = 4;
/** Of a dictionary's identity, the number of keys and their bytes. */
const KEYS_HEAD_BYTES = 16;
/** Bytes of a window's head and of a group's entry, see `assembly/window/partial.ts`. */
const PANE_HEAD_BYTES = 20;
const PANE_GROUP_BYTES = 8;
/** Where each group is one row, an entry is its key alone. */
const PANE_ROW_BYTES = 4;
/** Bytes of a group's head and of a fragment's, see `assembly/window/keyed/partial.ts`. */
const KEYED_GROUP_BYTES = 16;
const FRAGMENT_BYTES = 24;

type Key = Pick<KeySpan, "id" | "key">;

/** Of a partial of panes: each group of each slice. Both times are the start of its slice. */
export function readPaneGroups(partial: Uint8Array<ArrayBuffer>): KeySpan[] {
  const view = viewOf(partial);
  let at = 8;
  for (let fields = view.getUint32(4, true); fields > 0; fields--) at += 8 + view.getUint32(at + 4, true);
  const { keys, end } = readKnownKeys(partial, view, at);
  const spans: KeySpan[] = [];
  at = end + 4;
  for (let slices = view.getUint32(end, true); slices > 0; slices--) {
    const startUs = Number(view.getBigInt64(at, true));
    const groups = view.getUint32(at + 8, true);
    const stateBytes = view.getUint32(at + 12, true);
    const entryBytes = view.getUint32(at + 16, true) === 0 ? PANE_GROUP_BYTES : PANE_ROW_BYTES;
    at += PANE_HEAD_BYTES;
    for (let group = 0; group < groups; group++, at += entryBytes)
      spans.push({ ...keys[view.getUint32(at, true)]!, firstUs: startUs, lastUs: startUs });
    at += stateBytes;
  }
  return spans;
}

/** Of a partial of keyed windows: each fragment of each key; each event where rows were passed on as they came. */
export function readKeyedGroups(partial: Uint8Array<ArrayBuffer>): KeySpan[] {
  const view = viewOf(partial);
  const { keys, isByRow, at: groupsAt } = readKeyedHead(partial, view);
  if (isByRow)
    return readRows(view, groupsAt).map(({ key, timeUs }) => ({
      ...keys[key]!,
      firstUs: timeUs,
      lastUs: timeUs,
    }));
  const groups = view.getUint32(groupsAt, true);
  const spans: KeySpan[] = [];
  let at = groupsAt + 4 + groups * KEYED_GROUP_BYTES;
  for (let group = 0; group < groups; group++) {
    const head = groupsAt + 4 + group * KEYED_GROUP_BYTES;
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

/** Of a partial of windows whose keys have clocks, which is never by row: each key with its greatest event time. */
export function readKeyHeads(
  partial: Uint8Array<ArrayBuffer>,
): { readonly id: string; readonly key: Uint8Array<ArrayBuffer>; readonly greatestUs: number }[] {
  const view = viewOf(partial);
  const { keys, at } = readKeyedHead(partial, view);
  return Array.from({ length: view.getUint32(at, true) }, (_, group) => {
    const head = at + 4 + group * KEYED_GROUP_BYTES;
    const greatestUs = Number(view.getBigInt64(head + 8, true));
    return { ...keys[view.getUint32(head, true)]!, greatestUs };
  });
}

/** What a partial of keyed windows begins with; `at`: its groups or rows. */
function readKeyedHead(
  partial: Uint8Array<ArrayBuffer>,
  view: DataView,
): { readonly keys: readonly Key[]; readonly isByRow: boolean; readonly at: number } {
  const { keys, end } = readKnownKeys(partial, view, VERSION_BYTES);
  return { keys, isByRow: view.getUint32(end, true) !== 0, at: end + 4 };
}

/** Events of a partial by row, by the numbers of their keys. */
function readRows(view: DataView, at: number): { readonly key: number; readonly timeUs: number }[] {
  const count = view.getUint32(at, true);
  const keysAt = at + 4;
  const timesAt = keysAt + count * 4;
  return Array.from({ length: count }, (_, row) => ({
    key: view.getUint32(keysAt + row * 4, true),
    timeUs: Number(view.getBigInt64(timesAt + row * 8, true)),
  }));
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength);
}

/** The keys of either kind of partial, and what is behind them. */
function readKnownKeys(
  partial: Uint8Array<ArrayBuffer>,
  view: DataView,
  from: number,
): { readonly keys: readonly Key[]; readonly end: number } {
  const count = view.getUint32(from + 8, true);
  const textBytes = view.getBigUint64(from, true) === 0n ? 0 : count * 4;
  const keys: Key[] = [];
  let at = from + KEYS_HEAD_BYTES + textBytes;
  for (let left = count; left > 0; left--) {
    const end = at + 4 + view.getUint32(at, true);
    const key = partial.slice(at + 4, end);
    keys.push({ key, id: Buffer.from(key).toString("latin1") });
    at = end;
  }
  return { keys, end: at };
}
