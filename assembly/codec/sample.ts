/**
 * The index of sample `number` when one is taken from every `step` values: anywhere in its step, since devices that
 * report in turns would otherwise show only a few of themselves. The same on every run.
 */
@inline
export function sampleIndex(number: u32, step: u32): u32 {
  return number * step + <u32>((<u64>(number * 0x9e3779b1) * step) >> 32);
}
