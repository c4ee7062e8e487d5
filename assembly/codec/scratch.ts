/** Working memory of the codec, by purpose, so that no two uses meet. Kept between blocks. */
export const enum Scratch {
  /** u32: the rows a mask selects */
  Rows,
  /** u8: validity or flags of the selected rows */
  Valid,
  /** u64: the selected rows' values without nulls */
  Dense,
  /** i64 or i32: integers divided by their common factor */
  Scaled,
  /** i32: distances of one page's integers from the first */
  Narrow,
  /** i64 or i32: differences of one page */
  Differences,
  /** u16: symbols of one page's differences */
  Symbols,
  /** u8: widths of a page's groups */
  Widths,
  /** i64: least members of a page's groups */
  Bases,
  /** i64: floats as decimals, or as ordered integers */
  Decimals,
  /** i64: distance in last places of a float from its decimal */
  Corrections,
  /** i64: rows of floats that are no decimals */
  ExceptionRows,
  /** u64: those floats */
  ExceptionValues,
  /** i64: ids of texts, row by row */
  Ids,
  /** u32: from a batch's dictionary id to the block's id, or back */
  IdMap,
  /** u32: dictionary ids in use */
  UsedIds,
  /** i64: numbers within texts, one run of entries a slot */
  Slots,
  /** i64: one slot's numbers, row by row */
  SlotRows,
  /** i64: lengths of texts */
  Lengths,
  /** u8: booleans */
  Bools,
  /** u8: which predicted ids hold */
  Hits,
  /** i64: the ids that were not as predicted */
  Missed,
  /** u32: by id, the id that followed it last */
  Followers,
  /** u32: each row's key */
  Keys,
  /** u32: each value's key, when there are nulls */
  ValueKeys,
  /** i64: the first number of each key */
  Firsts,
  /** i64: differences from the number before of the same key */
  Steps,
  /** i64: by key, its last number */
  Last,
  /** u8: by key, whether it was met */
  Seen,
  /** Section: where a block's sections stand */
  Sections,
  /** i64: distances between the rarer bits of a bitmap */
  Gaps,
  /** bytes of a text in the making */
  Text,
  /** u64: what rows are put in order by */
  Words,
  /** u32: rows half sorted */
  OtherRows,
  /** u64: what texts are put in order by */
  TextWords,
  /** u32: texts in their order */
  TextOrder,
  Count,
}

@unmanaged
class Room {
  data: usize;
  capacity: usize;
}

const ROOMS = memory.data(<i32>Scratch.Count * 8, 8);
/** Vector loads and stores may run over the end by less than this. */
const SLACK: usize = 64;
const MAX_SPARE: usize = 1 << 20;

/** At least `size` bytes for that purpose. What stood there is lost when it grows. */
export function scratch(purpose: Scratch, size: usize): usize {
  const room = changetype<Room>(ROOMS + <usize>purpose * offsetof<Room>());
  if (room.capacity < size + SLACK) {
    if (room.data != 0) heap.free(room.data);
    room.capacity = size + min<usize>(size >> 1, MAX_SPARE) + SLACK + 1024;
    room.data = heap.alloc(room.capacity);
  }
  return room.data;
}
