/**
 * How hard the encoder looks for the smallest form. Blocks at ingest are decided by samples; what is written once to be kept, or
 * to go over a slow line, has each decision looked at by what entropy coding would make of it. Readers know no difference.
 */
export let isThorough: bool = false;

export function setThorough(value: bool): void {
  isThorough = value;
}
