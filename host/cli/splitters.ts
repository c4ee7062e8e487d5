import { CommandError } from "./client.ts";
import { EXIT } from "./output.ts";

export type SendFormat = "ndjson" | "json" | "csv";

/** A piece of a source that can be sent by itself, in bytes of what is sent. */
export interface SourceRecord {
  readonly bytes: Uint8Array;
  /** Where it starts in the source: a 1-based line, or an element's number in JSON. */
  readonly line: number;
}

/** Cuts a source into records. Bytes come in pieces of any size; the cuts never depend on that. */
export interface Splitter {
  /** What every body begins with; complete before the first record comes out. */
  readonly prefix: Uint8Array;
  push(bytes: Uint8Array): SourceRecord[];
  /** The last record, when the source ends without a line end. */
  end(): SourceRecord[];
}

/** More than a node takes in one body by default. */
const MAX_RECORD_BYTES = 16 * 1024 * 1024;
const NOTHING = new Uint8Array(0);
const BOM = [0xef, 0xbb, 0xbf];
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;

export function createSplitter(format: SendFormat): Splitter {
  if (format === "csv") return new CsvSplitter();
  return format === "json" ? new JsonSplitter() : new LineSplitter();
}

/** Guesses a format from a source's first bytes. */
export function sniffFormat(head: Uint8Array, name: string): SendFormat {
  const extension = /\.(\w+)$/.exec(name)?.[1]?.toLowerCase();
  if (extension === "csv") return "csv";
  if (extension === "ndjson" || extension === "jsonl") return "ndjson";
  const text = Buffer.from(withoutBom(head)).toString("latin1").trimStart();
  if (text.startsWith("[")) return "json";
  if (text.startsWith("{")) return isObject(text.split("\n", 1)[0] ?? "") ? "ndjson" : "json";
  if (extension === "json") return "json";
  return text.split("\n", 1)[0]?.includes(",") ? "csv" : "ndjson";
}

function isObject(line: string): boolean {
  try {
    JSON.parse(line);
    return true;
  } catch {
    // One object over several lines, or a bad line at the top of many: only the first ends with a bracket or a comma.
    return !/[{[,]\s*$/.test(line);
  }
}

/** Common to all: what has come in and is not cut yet. */
abstract class Buffered implements Splitter {
  prefix: Uint8Array = NOTHING;
  protected pending: Buffer = Buffer.alloc(0);
  protected line = 1;
  #isStarted = false;

  push(bytes: Uint8Array): SourceRecord[] {
    this.pending = this.pending.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.pending, bytes]);
    // A byte order mark may come in pieces.
    if (!this.#isStarted && this.pending.length < BOM.length) return [];
    this.#start();
    const records = this.cut();
    if (this.pending.length > MAX_RECORD_BYTES) {
      const message = `line ${this.line} is longer than 16 MiB; a record must fit into a request`;
      throw new CommandError(EXIT.failed, message);
    }
    return records;
  }

  end(): SourceRecord[] {
    this.#start();
    const records = this.cut();
    const rest = this.pending;
    this.pending = Buffer.alloc(0);
    return isBlank(rest) ? records : [...records, ...this.last(rest)];
  }

  /** Takes complete records off `pending`. */
  protected abstract cut(): SourceRecord[];

  protected last(rest: Buffer): SourceRecord[] {
    return [{ bytes: Buffer.concat([rest, Buffer.of(LF)]), line: this.line }];
  }

  #start(): void {
    if (!this.#isStarted) this.pending = withoutBom(this.pending);
    this.#isStarted = true;
  }
}

class LineSplitter extends Buffered {
  protected cut(): SourceRecord[] {
    const records: SourceRecord[] = [];
    let start = 0;
    for (let end = this.pending.indexOf(LF); end >= 0; end = this.pending.indexOf(LF, start)) {
      const bytes = this.pending.subarray(start, end + 1);
      if (!isBlank(bytes)) records.push({ bytes, line: this.line });
      this.line++;
      start = end + 1;
    }
    this.pending = this.pending.subarray(start);
    return records;
  }
}

/** RFC 4180: a line end within quotes does not end the record. The header line is repeated in every body. */
class CsvSplitter extends Buffered {
  protected cut(): SourceRecord[] {
    const records: SourceRecord[] = [];
    let start = 0;
    for (let end = endOfRow(this.pending, 0); end >= 0; end = endOfRow(this.pending, start)) {
      this.#take(this.pending.subarray(start, end), records);
      start = end;
    }
    this.pending = this.pending.subarray(start);
    return records;
  }

  protected override last(rest: Buffer): SourceRecord[] {
    const records: SourceRecord[] = [];
    this.#take(Buffer.concat([rest, Buffer.of(LF)]), records);
    return records;
  }

  #take(bytes: Buffer, records: SourceRecord[]): void {
    const { line } = this;
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) this.line++;
    if (isBlank(bytes)) return;
    if (this.prefix.length === 0) this.prefix = Uint8Array.from(bytes);
    else records.push({ bytes, line });
  }
}

/** Just after the row's line end; -1 when it is not complete. A quote counts only where a field starts. */
function endOfRow(bytes: Buffer, from: number): number {
  let isFieldStart = true;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === LF) return at + 1;
    if (byte === QUOTE && isFieldStart) {
      at = endOfQuoted(bytes, at + 1);
      if (at < 0) return -1;
    }
    isFieldStart = byte === COMMA;
  }
  return -1;
}

/** The closing quote; -1 when there is none yet. */
function endOfQuoted(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(QUOTE, from); at >= 0; at = bytes.indexOf(QUOTE, at + 2)) {
    if (bytes[at + 1] !== QUOTE) return at;
  }
  return -1;
}

/**
 * The elements of an array, or objects one after the other, each put on a line of its own: so a bad one harms no other.
 * Line ends between tokens become spaces; within strings there are none.
 */
class JsonSplitter extends Buffered {
  #isInArray = false;
  #element = 1;

  protected cut(): SourceRecord[] {
    const records: SourceRecord[] = [];
    let at = this.#skip(0);
    while (at < this.pending.length) {
      const end = endOfValue(this.pending, at);
      if (end < 0) break;
      records.push(this.#record(this.pending.subarray(at, end)));
      at = this.#skip(end);
    }
    this.pending = this.pending.subarray(at);
    return records;
  }

  protected override last(rest: Buffer): SourceRecord[] {
    return [this.#record(rest)];
  }

  #record(value: Uint8Array): SourceRecord {
    const bytes = new Uint8Array(value.length + 1);
    bytes.set(value);
    for (let at = 0; at < value.length; at++) if (bytes[at] === LF || bytes[at] === CR) bytes[at] = SPACE;
    bytes[value.length] = LF;
    return { bytes, line: this.#element++ };
  }

  /** Past white space, commas, and the brackets of the array around everything. */
  #skip(from: number): number {
    let at = from;
    for (; at < this.pending.length; at++) {
      const byte = this.pending[at]!;
      if (byte === BRACKET_OPEN && !this.#isInArray) this.#isInArray = true;
      else if (byte === BRACKET_CLOSE && this.#isInArray) this.#isInArray = false;
      else if (byte > SPACE && byte !== COMMA) break;
    }
    return at;
  }
}

const BRACKET_OPEN = 0x5b;
const BRACKET_CLOSE = 0x5d;
const BRACE_OPEN = 0x7b;
const BRACE_CLOSE = 0x7d;
const BACKSLASH = 0x5c;

/** Just after the JSON value that starts at `from`; -1 when it is not complete. */
function endOfValue(bytes: Buffer, from: number): number {
  let depth = 0;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at]!;
    if (byte === QUOTE) {
      at = endOfString(bytes, at + 1);
      if (at < 0) return -1;
      if (depth === 0) return at + 1;
    } else if (byte === BRACE_OPEN || byte === BRACKET_OPEN) {
      depth++;
    } else if (byte === BRACE_CLOSE || byte === BRACKET_CLOSE) {
      if (depth === 0) return at > from ? at : at + 1;
      if (--depth === 0) return at + 1;
    } else if (depth === 0 && (byte <= SPACE || byte === COMMA)) {
      return at;
    }
  }
  return -1;
}

/** The closing quote; -1 when there is none yet. */
function endOfString(bytes: Buffer, from: number): number {
  for (let at = from; at < bytes.length; at++) {
    if (bytes[at] === BACKSLASH) at++;
    else if (bytes[at] === QUOTE) return at;
  }
  return -1;
}

function withoutBom(bytes: Uint8Array): Buffer {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return BOM.every((byte, index) => buffer[index] === byte) ? buffer.subarray(BOM.length) : buffer;
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte <= SPACE);
}
