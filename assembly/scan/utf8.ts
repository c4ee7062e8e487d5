/**
 * Whether bytes are well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
 * Source: The Unicode Standard, table 3-7.
 */
export function isUtf8(at: usize, length: u32): bool {
  const end = at + length;
  while (at < end) {
    const c = load<u8>(at++);
    if (c < 0x80) continue;
    if (c < 0xc2 || c > 0xf4) return false;
    const more: usize = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    if (at + more > end) return false;
    const second = load<u8>(at);
    let least: u8 = 0x80;
    let most: u8 = 0xbf;
    if (c == 0xe0) least = 0xa0;
    else if (c == 0xed) most = 0x9f;
    else if (c == 0xf0) least = 0x90;
    else if (c == 0xf4) most = 0x8f;
    if (second < least || second > most) return false;
    for (let i: usize = 1; i < more; i++) if ((load<u8>(at + i) & 0xc0) != 0x80) return false;
    at += more;
  }
  return true;
}
