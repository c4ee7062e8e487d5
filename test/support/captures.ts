import assert from "node:assert/strict";
import type { Windows } from "../../workers/core/window.ts";
import type { Random } from "./random.ts";

interface Segment {
  readonly head: Uint8Array;
  readonly pieces: Uint8Array[];
}

/** Windows that are captured again and again while they change, as a checkpoint does it, piece by piece. */
export class Captures {
  readonly #windows: Windows;
  readonly #make: () => Windows;
  readonly #random: Random;
  #chain: Segment[] = [];
  #current: (Segment & { readonly truth: Uint8Array }) | null = null;
  /** Captures that were told to the end. */
  finished = 0;

  /** `make`: other windows of the same plan. */
  constructor(windows: Windows, make: () => Windows, random: Random) {
    this.#windows = windows;
    this.#make = make;
    this.#random = random;
  }

  /** To be called between changes: begins a capture, goes on with it by a few pieces, or gives it up. */
  turn(): void {
    if (this.#current === null) {
      if (this.#random.chance(0.6)) this.#begin();
      return;
    }
    if (this.#random.chance(0.05)) {
      this.#windows.capture.end("dropped");
      this.#current = null;
      return;
    }
    for (let n = this.#random.integer(0, 4); n > 0 && this.#current !== null; n--) this.#next();
  }

  /** The windows as they are now, from captures alone. The old ones are disposed of. */
  replace(): Windows {
    while (this.#current !== null) this.#next();
    this.#begin();
    while (this.#current !== null) this.#next();
    const restored = this.#restore();
    assert.deepEqual(restored.snapshot(), this.#windows.snapshot());
    this.#windows.dispose();
    return restored;
  }

  #begin(): void {
    const kind = this.#chain.length === 0 || this.#random.chance(0.2) ? "whole" : "changes";
    const limits = { pieceBytes: this.#random.integer(0, 200), lookRecords: this.#random.integer(1, 4) };
    const head = this.#windows.capture.begin(kind, limits);
    this.#current = { head, pieces: [], truth: this.#windows.snapshot() };
  }

  #next(): void {
    const current = this.#current!;
    const piece = this.#windows.capture.next();
    if (piece === "looking") return;
    if (piece !== null) {
      current.pieces.push(piece);
      return;
    }
    this.#windows.capture.end("kept");
    this.#current = null;
    if (this.#windows.adoption.isWhole(current.head)) this.#chain = [];
    this.#chain.push(current);
    this.finished++;
    const restored = this.#restore();
    assert.deepEqual(restored.snapshot(), current.truth);
    restored.dispose();
  }

  #restore(): Windows {
    const windows = this.#make();
    const { adoption } = windows;
    adoption.begin(this.#chain.at(-1)!.head);
    for (const { head, pieces } of this.#chain) {
      adoption.head(head);
      for (const piece of pieces) adoption.piece(piece);
    }
    adoption.end();
    return windows;
  }
}
