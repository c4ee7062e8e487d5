/** Odd multipliers of splitmix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014). */
const MIX_A: u64 = 0xbf58476d1ce4e5b9;
const MIX_B: u64 = 0x94d049bb133111eb;

/** A 64-bit checksum against accidents, the same on every machine. Eight bytes a step. */
export function checksum(at: usize, length: u32): u64 {
  let sum: u64 = length;
  const end = at + length;
  for (; at + 8 <= end; at += 8) sum = mix(sum ^ load<u64>(at));
  for (; at < end; at++) sum = mix(sum ^ load<u8>(at));
  return sum;
}

@inline
function mix(value: u64): u64 {
  value = (value ^ (value >> 30)) * MIX_A;
  value = (value ^ (value >> 27)) * MIX_B;
  return value ^ (value >> 31);
}
