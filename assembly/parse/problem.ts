/** Why a line is bad. `workers/core/parse.ts` has the codes and messages, by these numbers. */
export const enum Problem {
  None = 0,
  /** A byte that cannot stand here, or the end. */
  Syntax = 1,
  LeadingZero = 2,
  ControlCharacter = 3,
  Escape = 4,
  Utf8 = 5,
  LoneSurrogate = 6,
  Depth = 7,
  NumberTooGreat = 8,
  NotObject = 9,
  LineTooLong = 10,
  /** Detail: the declared type, and in bits 8… the value's. */
  Type = 11,
  NoTime = 12,
  Time = 13,
  NoKey = 14,
  Key = 15,
  Undeclared = 16,
  Array = 17,
  /** Detail: the cells found. */
  CellCount = 18,
  Quote = 19,
  /** The header names a field twice, or cannot be read. */
  Header = 20,
  BatchTooLarge = 21,
  /** Something follows the value. */
  Trailing = 22,
  /** The header is parted by another byte than a comma. */
  Separator = 23,
}

/** The problem met last, and where. */
export let problem: Problem = Problem.None;
export let problemAt: usize = 0;
export let problemDetail: u32 = 0;

/** Notes a problem; always 0, so that readers can return it in place of an end. */
export function failAt(what: Problem, at: usize): usize {
  problem = what;
  problemAt = at;
  problemDetail = 0;
  return 0;
}

export function failWith(what: Problem, at: usize, detail: u32): usize {
  failAt(what, at);
  problemDetail = detail;
  return 0;
}
