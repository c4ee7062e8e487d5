import { ByteBuffer } from "../memory/bytes";
import { Dictionary } from "../memory/dictionary";
import { isThorough } from "./effort";
import { decodeIds, encodeIds, estimateIds } from "./ids";
import { decodeIntegers, encodeIntegers } from "./integers";
import { Failure, fail, failure, readBytes, readU8, readVarint } from "./reader";
import { Scratch, scratch } from "./scratch";
import { decodeTemplate, encodeTemplateHead, encodeTemplateSlots, findTemplate, slotBits } from "./template";
import { writeVarint } from "./writer";

/** How a text column is written. */
const enum TextMode {
  /** The distinct texts in order of first use, then each row's id. */
  Dictionary = 0,
  /** The same, the texts as one template and the numbers in it. */
  Templates = 1,
  /** Each row as the numbers in the template: no ids. */
  Rows = 2,
}

/** Fewer distinct texts than this are kept as they are. */
const MIN_TEMPLATE_TEXTS: u32 = 8;
/** A column's distinct texts may not take more than this when decoded. */
const MAX_TEXT_BYTES: u32 = 1 << 29;

/**
 * Appends the texts of `count` rows: cells at `cells`, ids into `dictionary`. `numbered`: what `numberUsed` gave for them when it
 * was last called, with its ids in the memory for these, or 0 when that was for others.
 */
export function encodeTexts(cells: usize, count: u32, dictionary: Dictionary, numbered: u32, out: ByteBuffer): void {
  if (count == 0) return;
  const ids = scratch(Scratch.Ids, (<usize>count) << 3);
  const used = numbered != 0 ? numbered : numberUsed(cells, count, dictionary, ids);
  const usedIds = scratch(Scratch.UsedIds, 0);
  const idBits = estimateIds(ids, count, used);
  if (used < MIN_TEMPLATE_TEXTS || !findTemplate(dictionary, usedIds, used)) {
    out.u8(<u8>TextMode.Dictionary);
    writeVarint(out, used);
    encodeDistinct(dictionary, usedIds, used, out);
    return encodeIds(ids, count, used, out);
  }
  if (isThorough) return encodeSmallerTemplate(ids, count, used, out);
  const bits = slotBits(used);
  // Going without ids makes reading slower, so it must pay by an eighth.
  if (<u64>count * bits * 9 < (<u64>used * bits + idBits) * 8) {
    out.u8(<u8>TextMode.Rows);
    encodeTemplateHead(out);
    encodeTemplateSlots(used, ids, count, out);
  } else {
    out.u8(<u8>TextMode.Templates);
    writeVarint(out, used);
    encodeTemplateHead(out);
    encodeTemplateSlots(used, 0, used, out);
    encodeIds(ids, count, used, out);
  }
}

/** Writes both forms and keeps the smaller one. */
function encodeSmallerTemplate(ids: usize, count: u32, used: u32, out: ByteBuffer): void {
  const start = out.length;
  out.u8(<u8>TextMode.Templates);
  writeVarint(out, used);
  encodeTemplateHead(out);
  encodeTemplateSlots(used, 0, used, out);
  encodeIds(ids, count, used, out);
  const middle = out.length;
  out.u8(<u8>TextMode.Rows);
  encodeTemplateHead(out);
  encodeTemplateSlots(used, ids, count, out);
  const length = out.length - middle;
  if (length < middle - start) memory.copy(out.data + start, out.data + middle, length);
  out.length = start + min(length, middle - start);
}

/**
 * By a dictionary's id, the number of the text in the block plus `firstStamp`; what is below is of a block before, so that nothing
 * is to be cleared.
 */
let stamps: usize = 0;
let stampCapacity: u32 = 0;
let firstStamp: u32 = 1;

function prepareStamps(texts: u32): void {
  const isFull = firstStamp > u32.MAX_VALUE - texts;
  if (texts <= stampCapacity && !isFull) return;
  if (texts > stampCapacity) {
    if (stamps != 0) heap.free(stamps);
    stampCapacity = texts + (texts >> 1) + 1024;
    stamps = heap.alloc(<usize>stampCapacity << 2);
  }
  memory.fill(stamps, 0, <usize>stampCapacity << 2);
  firstStamp = 1;
}

/** Renumbers the texts in use from 0 in order of appearance: writes each row's id, gives how many there are. */
export function numberUsed(cells: usize, count: u32, dictionary: Dictionary, ids: usize): u32 {
  prepareStamps(dictionary.count);
  const usedIds = scratch(Scratch.UsedIds, (<usize>min(count, dictionary.count) + 1) << 2);
  const from = firstStamp;
  const places = stamps;
  let used: u32 = 0;
  // Without branches: whether a text is new cannot be foretold.
  for (let at: usize = 0, end = (<usize>count) << 3; at < end; at += 8) {
    const text = load<u32>(cells + at);
    const place = places + ((<usize>text) << 2);
    const known = load<u32>(place) - from;
    const isNew = known >= used;
    const id = isNew ? used : known;
    store<u32>(place, from + id);
    store<u32>(usedIds + ((<usize>used) << 2), text);
    store<u64>(ids + at, id);
    used += <u32>isNew;
  }
  firstStamp = from + used;
  return used;
}

function encodeDistinct(dictionary: Dictionary, usedIds: usize, used: u32, out: ByteBuffer): void {
  const lengths = scratch(Scratch.Lengths, (<usize>used) << 3);
  let total: u32 = 0;
  for (let i: u32 = 0; i < used; i++) {
    const length = dictionary.length(load<u32>(usedIds + ((<usize>i) << 2)));
    store<u64>(lengths + ((<usize>i) << 3), length);
    total += length;
  }
  encodeIntegers(lengths, used, out);
  out.reserve(total);
  for (let i: u32 = 0; i < used; i++) {
    const id = load<u32>(usedIds + ((<usize>i) << 2));
    out.append(dictionary.pointer(id), dictionary.length(id));
  }
}

/** Reads the texts of `count` rows, interns them into `dictionary`, and writes the rows' ids as u64 to `target`. */
export function decodeTexts(count: u32, dictionary: Dictionary, target: usize): void {
  if (count == 0) return;
  const mode = readU8();
  if (failure != Failure.None) return;
  if (mode == TextMode.Rows) return decodeTemplate(count, dictionary, target, MAX_TEXT_BYTES);
  if (mode > <u32>TextMode.Rows) return fail(Failure.Corrupt);
  const used = readVarint();
  if (used == 0 || used > count) return fail(Failure.Corrupt);
  const map = scratch(Scratch.IdMap, (<usize>used) << 3);
  if (mode == TextMode.Templates) decodeTemplate(<u32>used, dictionary, map, MAX_TEXT_BYTES);
  else decodeDistinct(<u32>used, dictionary, map);
  decodeIds(count, <u32>used, target);
  if (failure != Failure.None) return;
  for (let at = target, end = target + ((<usize>count) << 3); at < end; at += 8) {
    store<u64>(at, load<u64>(map + ((<usize>load<u32>(at)) << 3)));
  }
}

function decodeDistinct(used: u32, dictionary: Dictionary, map: usize): void {
  const lengths = scratch(Scratch.Lengths, (<usize>used) << 3);
  decodeIntegers(used, lengths);
  for (let i: u32 = 0; i < used && failure == Failure.None; i++) {
    const length = load<u64>(lengths + ((<usize>i) << 3));
    if (length > u32.MAX_VALUE || dictionary.bytes.length + <u32>length > MAX_TEXT_BYTES)
      return fail(Failure.TooLarge);
    const at = readBytes(<u32>length);
    if (at != 0) store<u64>(map + ((<usize>i) << 3), dictionary.intern(at, <u32>length));
  }
}
