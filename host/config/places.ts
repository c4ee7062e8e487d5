import { type Document, isAlias, isMap, isNode, isScalar, isSeq, type LineCounter, type Node } from "yaml";

export type Path = readonly PropertyKey[];

/** 1-based. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Finds the parts of a YAML document in its text. A part that is not there is looked for one level up, and so on. */
export class Places {
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(document: Document, lines: LineCounter) {
    this.#document = document;
    this.#lines = lines;
  }

  /** Where the setting's name stands. */
  ofKey(path: Path): Place {
    return this.ofOffset(this.#find(path).keyOffset);
  }

  /** Where the setting's value stands. `column` is 0-based within a text that is written in one line. */
  ofValue(path: Path, column = 0): Place {
    const { keyOffset, value, isWhole } = this.#find(path);
    if (!isWhole || value === null) return this.ofOffset(keyOffset);
    const [start = keyOffset, end = start] = value.range ?? [];
    // A text over several lines has lost their indentation.
    if (this.ofOffset(start).line !== this.ofOffset(end).line) return this.ofOffset(start);
    const quote = isScalar(value) && (value.type === "QUOTE_DOUBLE" || value.type === "QUOTE_SINGLE") ? 1 : 0;
    return this.ofOffset(start + (column > 0 ? column + quote : 0));
  }

  ofOffset(offset: number): Place {
    const { line, col } = this.#lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  }

  #find(path: Path): { keyOffset: number; value: Node | null; isWhole: boolean } {
    let value: Node | null = this.#document.contents;
    let keyOffset = value?.range?.[0] ?? 0;
    for (const part of path) {
      const container: unknown = isAlias(value) ? value.resolve(this.#document) : value;
      if (isMap(container)) {
        const pair = container.items.find(({ key }) => isScalar(key) && String(key.value) === String(part));
        if (pair === undefined) return { keyOffset, value, isWhole: false };
        keyOffset = isNode(pair.key) ? (pair.key.range?.[0] ?? keyOffset) : keyOffset;
        value = isNode(pair.value) ? pair.value : null;
      } else if (isSeq(container)) {
        const item: unknown = container.items[Number(part)];
        if (!isNode(item)) return { keyOffset, value, isWhole: false };
        keyOffset = item.range?.[0] ?? keyOffset;
        value = item;
      } else {
        return { keyOffset, value, isWhole: false };
      }
    }
    return { keyOffset, value, isWhole: true };
  }
}
