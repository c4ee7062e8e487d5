const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;
const MAX_NAMES: u32 = 32;
/** Of each name seen: address and length. */
const NAMES = memory.data(32 * 8, 4);

/**
 * Whether the text of a JSON object may stand behind other members as it is: no white space outside strings, and its
 * names are plain (no escape, no dot), each once and none among `roots`. Where in doubt, it may not.
 */
export function isPlainObject(text: usize, length: u32, roots: usize, rootCount: u32): bool {
  const end = text + length;
  if (length < 2 || load<u8>(text) != 0x7b || load<u8>(end - 1) != 0x7d) return false;
  if (length == 2) return true;
  let at = text + 1;
  for (let names: u32 = 0; names < MAX_NAMES; names++) {
    if (at >= end || load<u8>(at) != QUOTE) return false;
    const name = at + 1;
    at = name;
    while (at < end && load<u8>(at) != QUOTE) {
      const byte = load<u8>(at);
      if (byte == BACKSLASH || byte == 0x2e || byte < 0x20) return false;
      at++;
    }
    const nameLength = <u32>(at - name);
    if (at + 1 >= end || load<u8>(at + 1) != 0x3a) return false;
    if (isRoot(name, nameLength, roots, rootCount) || isSeen(name, nameLength, names)) return false;
    store<u32>(NAMES + (<usize>names << 3), <u32>name);
    store<u32>(NAMES + (<usize>names << 3), nameLength, 4);
    at += 2;
    const valueEnd = skipValue(at, end);
    if (valueEnd == 0 || valueEnd == at) return false;
    at = valueEnd;
    if (load<u8>(at) == 0x7d) return at + 1 == end;
    at++;
  }
  return false;
}

/** Where the value ends, at a comma or the closing brace; 0 where there is white space or no end. */
function skipValue(at: usize, end: usize): usize {
  let depth: u32 = 0;
  while (at < end) {
    const byte = load<u8>(at);
    if (byte == QUOTE) {
      at = stringEnd(at, end);
      if (at == 0) return 0;
      continue;
    }
    if (byte <= 0x20) return 0;
    const isClosing = byte == 0x7d || byte == 0x5d;
    if (depth == 0 && (byte == 0x2c || isClosing)) return byte == 0x5d ? 0 : at;
    if (byte == 0x7b || byte == 0x5b) depth++;
    else if (isClosing) depth--;
    at++;
  }
  return 0;
}

function stringEnd(at: usize, end: usize): usize {
  for (at++; at < end; at++) {
    const byte = load<u8>(at);
    if (byte == BACKSLASH) at++;
    else if (byte == QUOTE) return at + 1;
  }
  return 0;
}

function isRoot(name: usize, length: u32, roots: usize, count: u32): bool {
  for (let i: u32 = 0; i < count; i++) {
    const rootLength = load<u32>(roots);
    if (rootLength == length && memory.compare(roots + 4, name, length) == 0) return true;
    roots += 4 + rootLength;
  }
  return false;
}

function isSeen(name: usize, length: u32, names: u32): bool {
  for (let i: u32 = 0; i < names; i++) {
    const at = NAMES + (<usize>i << 3);
    if (load<u32>(at, 4) == length && memory.compare(load<u32>(at), name, length) == 0) return true;
  }
  return false;
}
