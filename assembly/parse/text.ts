import { failAt, Problem } from "./problem";

const QUOTE: u32 = 0x22;
const BACKSLASH: u32 = 0x5c;
/** No escape writes more than the 6 bytes it takes; a pair of \u takes 12 and makes 4. */
const REPLACEMENT: u32 = 0xfffd;

/** Whether the string that `readString` read last has escapes, so that `unescape` must make its text. */
export let hasEscapes: bool = false;

/** One bit for each of 16 bytes that ends plain ASCII text: a quote, a backslash, a control character, or a byte ≥ 0x80. */
@inline
export function markSpecial(block: v128): i32 {
  return i8x16.bitmask(
    v128.or(
      v128.or(i8x16.eq(block, i8x16.splat(0x22)), i8x16.eq(block, i8x16.splat(0x5c))),
      // Signed, so bytes from 0x80 are less too.
      i8x16.lt_s(block, i8x16.splat(0x20)),
    ),
  );
}

/**
 * Checks a string of JSON whose first character is at `at` (after the quote). Gives where its closing quote stands, or 0.
 * Stops at any control character, so it never leaves zero-padded memory.
 */
export function readString(at: usize, allowsLoneSurrogates: bool): usize {
  hasEscapes = false;
  while (true) {
    const special = markSpecial(v128.load(at));
    if (special == 0) {
      at += 16;
      continue;
    }
    at += ctz<i32>(special);
    const byte = <u32>load<u8>(at);
    if (byte == QUOTE) return at;
    if (byte == BACKSLASH) {
      hasEscapes = true;
      at = readEscape(at, allowsLoneSurrogates);
    } else if (byte < 0x20) {
      return failAt(Problem.ControlCharacter, at);
    } else {
      at = readMultiByte(at);
    }
    if (at == 0) return 0;
  }
}

/** Checks one UTF-8 sequence of two to four bytes: Unicode 16, table 3-7. Gives where it ends, or 0. */
export function readMultiByte(at: usize): usize {
  const first = <u32>load<u8>(at);
  const second = <u32>load<u8>(at, 1);
  if (first >= 0xc2 && first <= 0xdf) {
    return isContinuation(second) ? at + 2 : failAt(Problem.Utf8, at);
  }
  if ((first & 0xf0) == 0xe0) {
    const isInRange = first == 0xe0 ? second >= 0xa0 : first == 0xed ? second <= 0x9f : true;
    const isGood = isInRange && isContinuation(second) && isContinuation(load<u8>(at, 2));
    return isGood ? at + 3 : failAt(Problem.Utf8, at);
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const isInRange = first == 0xf0 ? second >= 0x90 : first == 0xf4 ? second <= 0x8f : true;
    const isGood =
      isInRange && isContinuation(second) && isContinuation(load<u8>(at, 2)) && isContinuation(load<u8>(at, 3));
    return isGood ? at + 4 : failAt(Problem.Utf8, at);
  }
  return failAt(Problem.Utf8, at);
}

@inline
function isContinuation(byte: u32): bool {
  return (byte & 0xc0) == 0x80;
}

/** Checks the escape at `at`. A surrogate must come with its other half in the next escape. */
function readEscape(at: usize, allowsLoneSurrogates: bool): usize {
  const kind = load<u8>(at, 1);
  if (kind != 0x75) return simpleEscape(kind) != 0 ? at + 2 : failAt(Problem.Escape, at);
  const unit = hexadecimal(at + 2);
  if (unit > 0xffff) return failAt(Problem.Escape, at);
  if ((unit & 0xf800) != 0xd800 || allowsLoneSurrogates) return at + 6;
  const isPair = unit < 0xdc00 && load<u16>(at, 6) == 0x755c && isLowSurrogate(hexadecimal(at + 8));
  return isPair ? at + 12 : failAt(Problem.LoneSurrogate, at);
}

@inline
function isLowSurrogate(unit: u32): bool {
  return (unit & 0xfffffc00) == 0xdc00;
}

/** What a one-letter escape stands for, or 0. */
@inline
function simpleEscape(letter: u8): u8 {
  if (letter == 0x22 || letter == 0x5c || letter == 0x2f) return letter;
  if (letter == 0x6e) return 10;
  if (letter == 0x74) return 9;
  if (letter == 0x72) return 13;
  if (letter == 0x62) return 8;
  if (letter == 0x66) return 12;
  return 0;
}

/** Four hexadecimal digits, or more than 0xffff when they are none. */
function hexadecimal(at: usize): u32 {
  let value: u32 = 0;
  for (let i: usize = 0; i < 4; i++) {
    const byte = <u32>load<u8>(at + i);
    let digit = byte - 48;
    if (digit > 9) {
      digit = (byte | 0x20) - 0x61;
      if (digit > 5) return 0xffffffff;
      digit += 10;
    }
    value = (value << 4) | digit;
  }
  return value;
}

/** Writes the text of a checked string; gives its length, which is never more than that of the source. */
export function unescape(at: usize, end: usize, target: usize): u32 {
  const start = target;
  while (at < end) {
    const byte = load<u8>(at);
    if (byte != BACKSLASH) {
      store<u8>(target++, byte);
      at++;
      continue;
    }
    const kind = load<u8>(at, 1);
    if (kind != 0x75) {
      store<u8>(target++, simpleEscape(kind));
      at += 2;
      continue;
    }
    let code = hexadecimal(at + 2);
    at += 6;
    if ((code & 0xf800) == 0xd800) {
      const low = hexadecimal(at + 2);
      if (code < 0xdc00 && at < end && load<u16>(at) == 0x755c && isLowSurrogate(low)) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        at += 6;
      } else {
        code = REPLACEMENT;
      }
    }
    target = writeUtf8(code, target);
  }
  return <u32>(target - start);
}

function writeUtf8(code: u32, target: usize): usize {
  if (code < 0x80) {
    store<u8>(target, <u8>code);
    return target + 1;
  }
  if (code < 0x800) {
    store<u8>(target, <u8>(0xc0 | (code >> 6)));
    store<u8>(target, <u8>(0x80 | (code & 0x3f)), 1);
    return target + 2;
  }
  if (code < 0x10000) {
    store<u8>(target, <u8>(0xe0 | (code >> 12)));
    store<u8>(target, <u8>(0x80 | ((code >> 6) & 0x3f)), 1);
    store<u8>(target, <u8>(0x80 | (code & 0x3f)), 2);
    return target + 3;
  }
  store<u8>(target, <u8>(0xf0 | (code >> 18)));
  store<u8>(target, <u8>(0x80 | ((code >> 12) & 0x3f)), 1);
  store<u8>(target, <u8>(0x80 | ((code >> 6) & 0x3f)), 2);
  store<u8>(target, <u8>(0x80 | (code & 0x3f)), 3);
  return target + 4;
}

/** Writes text as the inside of a JSON string; the target must have room for 6 bytes a byte. Gives its length. */
export function escape(at: usize, length: u32, target: usize): u32 {
  const start = target;
  for (const end = at + length; at < end; at++) {
    const byte = load<u8>(at);
    if (byte == QUOTE || byte == BACKSLASH) {
      store<u8>(target, BACKSLASH);
      store<u8>(target, byte, 1);
      target += 2;
    } else if (byte < 0x20) {
      store<u32>(target, 0x3030755c); // \u00
      store<u8>(target, 48 + (byte >> 4), 4);
      store<u8>(target, (byte & 15) + ((byte & 15) < 10 ? 48 : 87), 5);
      target += 6;
    } else {
      store<u8>(target++, byte);
    }
  }
  return <u32>(target - start);
}
