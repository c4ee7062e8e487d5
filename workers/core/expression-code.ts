/** The form of compiled expressions, as `assembly/expression/program.ts` reads it. */
export const PROGRAM_VERSION = 1;

/** What a step does; the numbers are those of `assembly/expression/opcode.ts`. */
export const OPERATIONS = {
  add: 1,
  subtract: 2,
  multiply: 3,
  divide: 4,
  remainder: 5,
  equal: 8,
  notEqual: 9,
  less: 10,
  lessOrEqual: 11,
  greater: 12,
  greaterOrEqual: 13,
  and: 16,
  or: 17,
  not: 18,
  isNull: 19,
  if: 20,
  coalesce: 21,
  in: 22,
  startsWith: 24,
  endsWith: 25,
  contains: 26,
  like: 27,
  lower: 28,
  upper: 29,
  length: 30,
  concat: 31,
  toText: 32,
  abs: 40,
  minimum: 41,
  maximum: 42,
  floor: 43,
  ceil: 44,
  round: 45,
  sqrt: 46,
  exp: 47,
  ln: 48,
  log10: 49,
  power: 50,
  sign: 51,
  eventTime: 56,
  year: 57,
  month: 58,
  day: 59,
  hour: 60,
  minute: 61,
  second: 62,
  weekday: 63,
  tableRow: 72,
  tableCell: 73,
} as const;
export type Operation = keyof typeof OPERATIONS;

/** What operands must be where an operation takes any; the numbers are those of `Kind` there. */
export const OPERAND_KINDS = { any: 0, number: 1, bool: 2, string: 3 } as const;

/** What an operand refers to, in its upper two bits. */
export const PLACES = { buffer: 0, constant: 1, column: 2 } as const;
export const PLACE_SHIFT = 30;
export const NO_OPERAND = 0xffffffff;

/** Types of constants; the numbers are those of `ColumnType` in `assembly/batch/batch.ts`. */
export const CONSTANT_TYPES = { null: 0, bool: 1, int: 2, float: 3, string: 4 } as const;
