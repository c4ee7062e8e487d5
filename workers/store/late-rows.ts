/**
 * Which events of a block were set aside: how many rows the block has, then the distances between the rows that were
 * (LEB128 each, the first one from -1). Two sets of a block can be compared, whoever found them.
 */

/** `mask`: a byte a row of the block, 0 where it was not set aside. */
export function packLateRows(mask: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes: number[] = [];
  putVarint(bytes, mask.length);
  for (let row = 0, last = -1; row < mask.length; row++) {
    if (mask[row] === 0) continue;
    putVarint(bytes, row - last);
    last = row;
  }
  return Uint8Array.from(bytes);
}

/** Takes out of a mask what others have set aside already. Sets of a block with another number of rows say nothing of it. */
export function withoutRows(mask: Uint8Array, others: readonly Uint8Array[]): Uint8Array {
  const left = mask.slice();
  for (const packed of others) {
    const { blockRows, rows } = unpack(packed);
    if (blockRows === mask.length) for (const row of rows) left[row] = 0;
  }
  return left;
}

/** Whether all events of a set are in others. */
export function coversRows(others: readonly Uint8Array[], packed: Uint8Array): boolean {
  const { blockRows, rows } = unpack(packed);
  const mask = new Uint8Array(blockRows);
  for (const row of rows) mask[row] = 1;
  return !withoutRows(mask, others).includes(1);
}

function unpack(packed: Uint8Array): { readonly blockRows: number; readonly rows: readonly number[] } {
  const numbers: number[] = [];
  for (let at = 0; at < packed.length; ) {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = packed[at++] ?? 0;
      value += (byte & 127) * factor;
      if (byte < 128) break;
    }
    numbers.push(value);
  }
  const [blockRows = 0, ...distances] = numbers;
  let row = -1;
  return { blockRows, rows: distances.map((distance) => (row += distance)) };
}

function putVarint(bytes: number[], value: number): void {
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128);
  bytes.push(rest);
}
