/**
 * Values of results that are no numbers, as `assembly/aggregate/box.ts` writes them: a NaN whose upper half names the kind,
 * and whose lower half is the value or where it stands among the boxes.
 */

const PREFIX = 0x7ffc0000;
const KIND = { bool: 1, text: 2, int: 3, top: 4, counts: 5 } as const;
/** Kinds of values in a top list; the numbers are those of `assembly/aggregate/value.ts`. */
const VALUE = { bool: 1, number: 2, int: 3, text: 4 } as const;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The JSON text of a boxed value. `half`: the double's upper and lower 32 bits; `boxes`: where boxes begin in memory. */
export function boxJson(
  memory: ArrayBuffer,
  boxes: number,
  upper: number,
  lower: number,
  bounds: readonly number[],
): string {
  const kind = upper - PREFIX;
  if (kind === KIND.bool) return lower === 0 ? "false" : "true";
  const view = new DataView(memory, boxes);
  switch (kind) {
    case KIND.text:
      return JSON.stringify(textAt(view, lower + 4, view.getUint32(lower, true)));
    case KIND.int:
      return String(view.getBigInt64(lower, true));
    case KIND.top:
      return topJson(view, lower);
    case KIND.counts:
      return countsJson(view, lower, bounds);
    default:
      return "null";
  }
}

function textAt(view: DataView, at: number, length: number): string {
  return decoder.decode(new Uint8Array(view.buffer, view.byteOffset + at, length));
}

/** `[{"value":"ok","count":12}]`, with `"error"` where the count may be that much too great. */
function topJson(view: DataView, start: number): string {
  let at = start + 4;
  const members = Array.from({ length: view.getUint32(start, true) }, () => {
    const kind = view.getUint8(at);
    let value: string;
    if (kind === VALUE.text) {
      const length = view.getUint32(at + 1, true);
      value = JSON.stringify(textAt(view, at + 5, length));
      at += 5 + length;
    } else {
      if (kind === VALUE.number) value = String(view.getFloat64(at + 1, true));
      else if (kind === VALUE.int) value = String(view.getBigInt64(at + 1, true));
      else value = String(view.getUint8(at + 1) !== 0);
      at += 9;
    }
    const count = view.getBigUint64(at, true);
    const error = view.getBigUint64(at + 8, true);
    at += 16;
    return `{"value":${value},"count":${count}${error === 0n ? "" : `,"error":${error}`}}`;
  });
  return `[${members.join(",")}]`;
}

/** `{"bounds":[0,10],"counts":[1,5,2]}`: one count more than there are bounds. */
function countsJson(view: DataView, start: number, bounds: readonly number[]): string {
  const counts = Array.from({ length: view.getUint32(start, true) }, (_, index) =>
    view.getBigUint64(start + 4 + index * 8, true),
  );
  return `{"bounds":[${bounds.join(",")}],"counts":[${counts.join(",")}]}`;
}
