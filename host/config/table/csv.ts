/** A record of a CSV text, and the line where it begins, 1-based. */
export interface CsvRecord {
  readonly line: number;
  readonly cells: readonly CsvCell[];
}

export interface CsvCell {
  readonly text: string;
  readonly isQuoted: boolean;
}

export class CsvError extends Error {
  readonly line: number;

  constructor(line: number, message: string) {
    super(message);
    this.line = line;
  }
}

const CELL = /"((?:[^"]|"")*)"(?=[,\r\n]|$)|([^",\r\n]*)(?=[,\r\n]|$)/uy;

/**
 * Reads CSV as RFC 4180 has it: commas, double quotes, line ends CR LF, LF or CR. Empty lines are left out.
 * @throws CsvError
 */
export function readCsv(text: string): CsvRecord[] {
  const records: CsvRecord[] = [];
  let at = text.startsWith("\u{FEFF}") ? 1 : 0;
  let line = 1;
  while (at < text.length) {
    const cells: CsvCell[] = [];
    const first = line;
    while (true) {
      CELL.lastIndex = at;
      const match = CELL.exec(text);
      if (match === null) throw new CsvError(line, "a double quote stands where none may, or is not closed");
      const [whole, quoted, plain] = match;
      cells.push({ text: quoted?.replaceAll('""', '"') ?? plain ?? "", isQuoted: quoted !== undefined });
      line += countLines(whole);
      at += whole.length;
      if (text[at] !== ",") break;
      at++;
    }
    if (at < text.length) {
      at += text.startsWith("\r\n", at) ? 2 : 1;
      line++;
    }
    const isEmpty = cells.length === 1 && cells[0]?.text === "" && !cells[0].isQuoted;
    if (!isEmpty) records.push({ line: first, cells });
  }
  return records;
}

function countLines(text: string): number {
  return text.match(/\r\n|\n|\r/g)?.length ?? 0;
}
