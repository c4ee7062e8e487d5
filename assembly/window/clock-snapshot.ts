import { ByteBuffer } from "../memory/bytes";
import { checksum } from "../state/checksum";
import { SOURCE_SIZE, Source, SourceClocks } from "./source-clocks";

/**
 * The clocks as bytes, for checkpoints. Active sources stand first, then the others, both in the order of their numbers.
 * (Earlier releases wrote active ones by when they were seen last; they are read in any order.) Little-endian:
 *
 *   version u32, checksum u64 of the rest
 *   log time i64, greatest event time i64, untracked events u64, skewed events u64, sources u32, active ones u32
 *   sources, each: key length u32, key, greatest event time i64, last seen i64, events u64, skewed u64,
 *     earlier median f64, sketch (see offset-sketch.ts)
 */
const CLOCKS_VERSION: u32 = 1;
const HEAD_BYTES: u32 = 12;
const FIXED_BYTES: u32 = 40;
const SOURCE_FIXED_BYTES: u32 = 40;

export function writeClocks(clocks: SourceClocks, out: ByteBuffer): void {
  const count = clocks.keys.count;
  out.reset();
  out.u32(CLOCKS_VERSION);
  out.u64(0);
  out.u64(clocks.logTime);
  out.u64(clocks.maxTime);
  out.u64(clocks.untrackedEvents);
  out.u64(clocks.skewedEvents);
  out.u32(count);
  out.u32(clocks.activeCount);
  for (let s: u32 = 0; s < count; s++) if (clocks.source(s).isActive) writeSource(clocks, s, out);
  for (let s: u32 = 0; s < count; s++) if (!clocks.source(s).isActive) writeSource(clocks, s, out);
  store<u64>(out.data, checksum(out.data + HEAD_BYTES, out.length - HEAD_BYTES), 4);
}

function writeSource(clocks: SourceClocks, number: u32, out: ByteBuffer): void {
  const source: Source = clocks.source(number);
  const keyLength = clocks.keys.length(number);
  out.u32(keyLength);
  out.append(clocks.keys.pointer(number), keyLength);
  out.u64(source.maxTime);
  out.u64(source.lastSeen);
  out.u64(source.events);
  out.u64(source.skewed);
  out.f64(source.earlierMedian);
  const sketch = source.sketch;
  const bytes = sketch.writtenBytes;
  sketch.write(out.reserve(bytes));
  out.length += bytes;
}

/**
 * Puts the clocks of the snapshot in `input` in place of those there are. False, with nothing changed, when it is damaged
 * or of another version.
 */
export function readClocks(clocks: SourceClocks): bool {
  const input = clocks.input;
  if (input.length < HEAD_BYTES + FIXED_BYTES || load<u32>(input.data) != CLOCKS_VERSION) return false;
  if (load<u64>(input.data, 4) != checksum(input.data + HEAD_BYTES, input.length - HEAD_BYTES)) return false;
  let at = input.data + HEAD_BYTES;
  clocks.clear();
  clocks.logTime = load<i64>(at);
  clocks.maxTime = load<i64>(at, 8);
  clocks.untrackedEvents = load<u64>(at, 16);
  clocks.skewedEvents = load<u64>(at, 24);
  const count = load<u32>(at, 32);
  const active = load<u32>(at, 36);
  at += FIXED_BYTES;
  clocks.sources.reserve(count * SOURCE_SIZE);
  for (let i: u32 = 0; i < count; i++) {
    const keyLength = load<u32>(at);
    const number = clocks.keys.intern(at + 4, keyLength);
    at += 4 + keyLength;
    const source = clocks.addSource();
    source.maxTime = load<i64>(at);
    source.lastSeen = load<i64>(at, 8);
    source.events = load<u64>(at, 16);
    source.skewed = load<u64>(at, 24);
    source.earlierMedian = load<f64>(at, 32);
    at = source.sketch.mergeFrom(at + SOURCE_FIXED_BYTES);
    if (i < active) clocks.activate(number);
    if (source.skewed != 0) clocks.name(number);
  }
  return true;
}
