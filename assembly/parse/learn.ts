import { Key } from "./key";
import { Parser } from "./parser";
import { ByteBuffer } from "../memory/bytes";
import { hasEscapes, readString } from "./text";
import { MAX_DEPTH, skipSpace, skipValue } from "./value";

let path: ByteBuffer = changetype<ByteBuffer>(0);

/** When so many objects had keys that found no room, the keys known are those of another time. */
const MAX_UNLEARNED: u32 = 4096;

/** Makes the keys of an accepted object known, so that the row reader can read the next one like it. */
export function learnKeys(parser: Parser, start: usize): void {
  if (changetype<usize>(path) == 0) path = ByteBuffer.create(256);
  path.reset();
  if (parser.keys.isFull && ++parser.unlearned > MAX_UNLEARNED) {
    parser.unlearned = 0;
    parser.keys.clear();
  }
  learnObject(parser, changetype<usize>(parser.keys.root), start, 1);
}

/** Gives where the object ends. */
function learnObject(parser: Parser, parent: usize, start: usize, depth: u32): usize {
  const prefix = path.length;
  let guess = parent + offsetof<Key>("first");
  let at = skipSpace(start + 1);
  if (load<u8>(at) == 0x7d) return at + 1;
  while (true) {
    const keyAt = at + 1;
    const keyEnd = readString(keyAt, false);
    if (keyEnd == 0) return start;
    const isPlain = !hasEscapes;
    if (depth > 1) path.u8(0x2e);
    path.append(keyAt, <u32>(keyEnd - keyAt));
    const key = isPlain ? keyOf(parser, parent, keyAt, <u32>(keyEnd - keyAt)) : 0;
    if (key != 0) {
      store<usize>(guess, key);
      guess = key + offsetof<Key>("next");
    }
    at = skipSpace(skipSpace(keyEnd + 1) + 1);
    const isObject = key != 0 && load<u8>(at) == 0x7b && changetype<Key>(key).isBranch && depth < MAX_DEPTH;
    at = isObject ? learnObject(parser, key, at, depth + 1) : skipValue(at, depth, MAX_DEPTH);
    path.length = prefix;
    at = skipSpace(at);
    if (load<u8>(at) != 0x2c) return at + 1;
    at = skipSpace(at + 1);
  }
}

function keyOf(parser: Parser, parent: usize, at: usize, length: u32): usize {
  const known = parser.keys.findText(parent, at, length);
  if (known != 0) return known;
  const key = parser.keys.add(parent, path.data, path.length, length);
  if (key != 0) parser.refreshKey(changetype<Key>(key));
  return key;
}
