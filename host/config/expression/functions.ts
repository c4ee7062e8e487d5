import type { Operation } from "../../../workers/core/expression-code.ts";
import type { Kind } from "./kinds.ts";

/** A function as it is called. Arguments beyond `parameters` are of the last one's kind, where `isVariadic`. */
export interface Signature {
  readonly parameters: readonly Kind[];
  /** How many may be left out, from the end. */
  readonly optional?: number;
  readonly isVariadic?: boolean;
  readonly result: Kind;
  /** For messages. */
  readonly example: string;
  /** One operation does it; those without are made of several, see `lower-call.ts`. */
  readonly operation?: Operation;
}

const TEXT_TEST = { parameters: ["string", "string"], result: "bool" } as const;
const NUMBER = { parameters: ["number"], result: "number" } as const;
const TIME_PART = { parameters: ["number"], optional: 1, result: "number" } as const;

/** Every function, by name. */
export const FUNCTIONS: Readonly<Record<string, Signature>> = {
  starts_with: { ...TEXT_TEST, operation: "startsWith", example: 'starts_with(device, "press-")' },
  ends_with: { ...TEXT_TEST, operation: "endsWith", example: 'ends_with(device, "-a")' },
  contains: { ...TEXT_TEST, operation: "contains", example: 'contains(message, "error")' },
  lower: { parameters: ["string"], result: "string", operation: "lower", example: "lower(state)" },
  upper: { parameters: ["string"], result: "string", operation: "upper", example: "upper(state)" },
  length: { parameters: ["string"], result: "number", operation: "length", example: "length(message)" },
  concat: {
    parameters: ["any", "any"],
    isVariadic: true,
    result: "string",
    example: 'concat(site, "/", device)',
  },
  string: { parameters: ["any"], result: "string", operation: "toText", example: "string(rpm)" },
  abs: { ...NUMBER, operation: "abs", example: "abs(temp)" },
  floor: { ...NUMBER, operation: "floor", example: "floor(temp)" },
  ceil: { ...NUMBER, operation: "ceil", example: "ceil(temp)" },
  round: { ...NUMBER, operation: "round", example: "round(temp)" },
  sqrt: { ...NUMBER, operation: "sqrt", example: "sqrt(x)" },
  exp: { ...NUMBER, operation: "exp", example: "exp(x)" },
  ln: { ...NUMBER, operation: "ln", example: "ln(x)" },
  log10: { ...NUMBER, operation: "log10", example: "log10(x)" },
  sign: { ...NUMBER, operation: "sign", example: "sign(x)" },
  pow: { parameters: ["number", "number"], result: "number", operation: "power", example: "pow(x, 2)" },
  min: { parameters: ["number", "number"], isVariadic: true, result: "number", example: "min(a, b)" },
  max: { parameters: ["number", "number"], isVariadic: true, result: "number", example: "max(a, b)" },
  clamp: { parameters: ["number", "number", "number"], result: "number", example: "clamp(temp, 0, 100)" },
  year: { ...TIME_PART, operation: "year", example: "year()" },
  month: { ...TIME_PART, operation: "month", example: "month()" },
  day: { ...TIME_PART, operation: "day", example: "day()" },
  hour: { ...TIME_PART, operation: "hour", example: "hour()" },
  minute: { ...TIME_PART, operation: "minute", example: "minute()" },
  second: { ...TIME_PART, operation: "second", example: "second()" },
  weekday: { ...TIME_PART, operation: "weekday", example: "weekday()" },
  event_time: { parameters: [], result: "number", example: "event_time()" },
  time: { parameters: ["string"], result: "number", example: 'time("2026-01-01T00:00:00Z")' },
  if: { parameters: ["bool", "any", "any"], result: "any", example: "if(temp > 90, 1, 0)" },
  coalesce: { parameters: ["any", "any"], isVariadic: true, result: "any", example: "coalesce(temp, 0)" },
};
