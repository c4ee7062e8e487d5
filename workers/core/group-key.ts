/** Tags of `assembly/window/group-key.ts`. */
const TAG = { null: 0, false: 1, true: 2, int: 3, float: 4, text: 5 } as const;
const NO_CANDIDATE = 255;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * A group's key bytes as the JSON text of an object. A slot of several candidates (the default key) names the one
 * that was present, and is left out when none was.
 */
export function keyJson(bytes: Uint8Array<ArrayBuffer>, slots: readonly (readonly string[])[]): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const members: string[] = [];
  let at = 0;
  for (const candidates of slots) {
    const candidate = view.getUint8(at);
    const tag = view.getUint8(at + 1);
    at += 2;
    let value = "null";
    if (tag === TAG.false || tag === TAG.true) value = String(tag === TAG.true);
    else if (tag === TAG.int || tag === TAG.float) {
      value =
        tag === TAG.int ? String(view.getBigInt64(at, true)) : JSON.stringify(view.getFloat64(at, true));
      at += 8;
    } else if (tag === TAG.text) {
      const length = view.getUint32(at, true);
      value = JSON.stringify(decoder.decode(bytes.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
    }
    if (candidate === NO_CANDIDATE && candidates.length > 1) continue;
    const name = candidates[candidate === NO_CANDIDATE ? 0 : candidate] ?? "";
    members.push(`${JSON.stringify(name)}:${value}`);
  }
  return `{${members.join(",")}}`;
}

/**
 * The key bytes of such a text. Numbers without a fraction are taken for ints, as devices' names are: the text does not tell
 * them from floats.
 */
export function keyBytes(text: string, slots: readonly (readonly string[])[]): Uint8Array<ArrayBuffer> {
  const members = JSON.parse(text, exactInt) as Readonly<
    Record<string, string | number | bigint | boolean | null>
  >;
  return new Uint8Array(Buffer.concat(slots.map((candidates) => slotBytes(members, candidates))));
}

function slotBytes(
  members: Readonly<Record<string, string | number | bigint | boolean | null>>,
  candidates: readonly string[],
): Buffer {
  const candidate = candidates.findIndex((name) => (members[name] ?? null) !== null);
  const value = members[candidates[candidate] ?? ""] ?? null;
  if (value === null) return Buffer.from([NO_CANDIDATE, TAG.null]);
  if (typeof value === "boolean") return Buffer.from([candidate, value ? TAG.true : TAG.false]);
  const isText = typeof value === "string";
  const payload = isText ? Buffer.from(value) : Buffer.alloc(8);
  const head = Buffer.alloc(isText ? 6 : 2);
  head.set([candidate, isText ? TAG.text : typeof value === "bigint" ? TAG.int : TAG.float]);
  if (isText) head.writeUInt32LE(payload.length, 2);
  else if (typeof value === "bigint") payload.writeBigInt64LE(value);
  else payload.writeDoubleLE(value);
  return Buffer.concat([head, payload]);
}

/** Of whole numbers all digits. */
function exactInt(_name: string, value: unknown, context?: { readonly source?: string }): unknown {
  const source = context?.source;
  return typeof value === "number" && source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
}
