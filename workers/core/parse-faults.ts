/** A bad line as the core reports it. */
export interface Fault {
  /** The number of a `Problem` in the core. */
  readonly problem: number;
  /** In bytes, from the begin of `bytes`. */
  readonly offset: number;
  readonly detail: number;
  readonly path: string;
  readonly bytes: Uint8Array;
}

interface Description {
  readonly code: string;
  readonly message: (fault: Fault) => string;
}

/** The `Problem` of a batch that has no room for more. */
export const BATCH_TOO_LARGE = 21;

const LINE_FEED = 0x0a;
const OPEN_BRACKET = 0x5b;
/** How gzip begins (RFC 1952, 2.3.1). */
const GZIP = [0x1f, 0x8b];

const TYPE_NAMES = ["null", "a bool", "an integer", "a number", "a string", "an array or object"];

/** By the numbers of `Problem` in the core. */
const DESCRIPTIONS: readonly Description[] = [
  { code: "E_JSON", message: (fault) => `not valid JSON ${place(fault)}` },
  { code: "E_JSON", message: describeSyntax },
  {
    code: "E_JSON",
    message: (fault) => `a number ${place(fault)} has a leading zero; write it without, or as a string`,
  },
  { code: "E_JSON", message: describeControl },
  {
    code: "E_JSON",
    message: (fault) =>
      `an escape ${place(fault)} is none of JSON's; allowed are \\" \\\\ \\/ \\b \\f \\n \\r \\t and \\u with four hexadecimal digits`,
  },
  {
    code: "E_UTF8",
    message: (fault) => `the text is not UTF-8 ${place(fault)} (${byteAt(fault)}); send UTF-8`,
  },
  {
    code: "E_SURROGATE",
    message: (fault) =>
      `a \\u escape ${place(fault)} is half of a surrogate pair; write both halves, or the character itself`,
  },
  {
    code: "E_DEPTH",
    message: (fault) => `objects and arrays are nested more than 64 deep ${place(fault)}; flatten the event`,
  },
  {
    code: "E_NUMBER",
    message: (fault) =>
      `a number ${place(fault)} is beyond ±1.8e308, what a 64-bit float holds; send it as a string`,
  },
  {
    code: "E_NOT_OBJECT",
    message: ({ bytes }) =>
      `an event must be a JSON object such as {"device":"m1","temp":21.5}${bytes[0] === OPEN_BRACKET ? "; send an array of them as application/json" : ""}`,
  },
  {
    code: "E_LINE_TOO_LONG",
    message: ({ bytes }) => `an event may take 1 MiB, this one takes ${bytes.length} bytes; split it`,
  },
  {
    code: "E_TYPE",
    message: ({ path, detail }) =>
      `${path} is declared as ${TYPE_NAMES[detail & 0xff]}, but this is ${TYPE_NAMES[detail >> 8]}; correct the event or the stream's fields`,
  },
  {
    code: "E_NO_TIME",
    message: () => "the event has no time, and the stream declares one; add the time field",
  },
  {
    code: "E_TIME",
    message: ({ path }) =>
      `${path} is no time; give ISO 8601 such as 2026-01-31T08:00:00Z, or a number in the stream's unit, within the years 1 to 9999`,
  },
  {
    code: "E_NO_KEY",
    message: () => "the event lacks the stream's key, or it is null; add the key field",
  },
  {
    code: "E_KEY",
    message: ({ path }) => `the key ${path} must be a string, number or bool, not an array or object`,
  },
  {
    code: "E_EXTRA",
    message: ({ path }) =>
      `${path} is not a field of the stream, which rejects extra ones; declare it, or set extra: keep`,
  },
  {
    code: "E_EXTRA",
    message: ({ path }) =>
      `${path} is an array, and the stream rejects what has no column; set extra: keep or drop`,
  },
  {
    code: "E_CSV_CELLS",
    message: ({ detail }) =>
      `the record has ${detail & 0xffff} cells, the header ${detail >> 16}; put a cell that holds a comma into quotes`,
  },
  {
    code: "E_CSV_QUOTE",
    message: (fault) =>
      `a quote ${place(fault)} is not paired; put the whole cell into quotes and double those within`,
  },
  {
    code: "E_CSV_HEADER",
    message: (fault) =>
      `the header names a field twice, or one of more than 512 bytes, ${place(fault)}; the first line must name each column once`,
  },
  {
    code: "E_BATCH_TOO_LARGE",
    message: () => "the body needs more memory than one batch may take; send it in smaller parts",
  },
  {
    code: "E_JSON",
    message: (fault) =>
      isOfSeveralLines(fault)
        ? `something follows the value ${place(fault)}: ${byteAt(fault)}; send lines as application/x-ndjson, or put the events into an array`
        : `something follows the value ${place(fault)}: ${byteAt(fault)}; put one event on a line (curl keeps lines with --data-binary)`,
  },
  {
    code: "E_CSV_HEADER",
    message: (fault) =>
      `the header has no comma, but ${byteAt(fault)} ${place(fault)}; part cells with commas, or put a single name into quotes`,
  },
];

/** The stable code, and what, where and what to do for a person. */
export function describeFault(fault: Fault): { code: string; message: string } {
  const description = DESCRIPTIONS[fault.problem] ?? DESCRIPTIONS[0]!;
  return { code: description.code, message: description.message(fault) };
}

/** The place of the fault; in text of several lines, with the line within it. */
function place({ offset, bytes }: Fault): string {
  const before = bytes.subarray(0, offset);
  const feeds = before.reduce((count, byte) => count + Number(byte === LINE_FEED), 0);
  if (feeds === 0) return `at byte ${offset + 1}`;
  return `at line ${feeds + 1}, byte ${offset - before.lastIndexOf(LINE_FEED)} of the text`;
}

function byteAt({ offset, bytes }: Fault): string {
  const byte = bytes[offset];
  if (byte === undefined) return "its end";
  return byte > 0x20 && byte < 0x7f
    ? `"${String.fromCharCode(byte)}"`
    : `byte 0x${byte.toString(16).padStart(2, "0")}`;
}

/** Only application/json is: of the other forms a fault has its line alone. */
function isOfSeveralLines({ offset, bytes }: Fault): boolean {
  return bytes.subarray(0, offset).includes(LINE_FEED);
}

function describeSyntax(fault: Fault): string {
  if (fault.offset === 0 && GZIP.every((byte, at) => fault.bytes[at] === byte))
    return "not valid JSON: this is gzip; say so with Content-Encoding: gzip, or unpack it";
  if (fault.offset >= fault.bytes.length) return `not valid JSON: it ends too early, ${place(fault)}`;
  return `not valid JSON: ${byteAt(fault)} ${place(fault)} cannot stand there`;
}

function describeControl(fault: Fault): string {
  if (fault.offset >= fault.bytes.length) return `not valid JSON: a string is not closed, ${place(fault)}`;
  return `not valid JSON: a raw control character (${byteAt(fault)}) in a string ${place(fault)}; write it as an escape`;
}
