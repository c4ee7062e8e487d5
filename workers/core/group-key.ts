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
