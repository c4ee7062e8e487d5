import { MillraceError } from "../errors.ts";
import { type CoreModule, copyIn, copyOut, type Pointer } from "./module.ts";

/** `whole`: all of the state; `changes`: what has changed since the capture before, or all where that cannot be told. */
export type CaptureKind = "whole" | "changes";

/** How much is done in one `next`. */
export interface CaptureLimits {
  /** A piece ends with the record that reaches it. */
  readonly pieceBytes: number;
  readonly lookRecords: number;
}

/** About 3 ms each. */
const LIMITS: CaptureLimits = { pieceBytes: 256 * 1024, lookRecords: 32_768 };

/**
 * The state of a query's windows in pieces, as it was when the capture began, while the windows go on: see
 * assembly/state/capture.ts. Between `begin` and `end`, anything may be done with the windows, but for `restore`.
 */
export interface StateCapture {
  /** Freezes the state. @returns the capture's head; cost: a look at every open window, not at its groups. */
  begin(kind: CaptureKind, limits?: CaptureLimits): Uint8Array<ArrayBuffer>;
  /** The next piece; "looking" when there was none among so many records; null when all is told. */
  next(): Uint8Array<ArrayBuffer> | "looking" | null;
  /** Bytes of what was about to change and was saved before, and waits for its turn. */
  savedBytes(): number;
  /** Ends it, also before all is told. When it is not kept, the next one is whole. */
  end(outcome: "kept" | "dropped"): void;
}

/**
 * Puts captures in the place of the state: `begin` with the head of the newest; from the oldest that counts on, which is
 * whole, `head` and then `piece` for each of its pieces; then `end`.
 * @throws E_CHECKPOINT_VERSION when one is of another release or query, or damaged; in `begin` with the state as it was
 */
export interface StateAdoption {
  isWhole(head: Uint8Array): boolean;
  begin(head: Uint8Array): void;
  head(head: Uint8Array): void;
  piece(records: Uint8Array): void;
  end(): void;
}

/** What each kind of windows exports, under its own prefix. */
interface CaptureExports {
  captureBegin(windows: number, isWhole: number): void;
  output(windows: number): number;
  outputLength(windows: number): number;
  captureNext(windows: number): number;
  capture(windows: number): number;
  adoptBegin(windows: number): number;
  adoptHead(windows: number): number;
  adoptIsWhole(windows: number): number;
  adoptRecords(windows: number): number;
  adoptEnd(windows: number): void;
  input(windows: number, length: number): number;
}

interface SharedExports {
  capturePiece(capture: number): number;
  capturePieceLength(capture: number): number;
  captureLimit(capture: number, pieceBytes: number, lookRecords: number): void;
  captureSaved(capture: number): number;
  captureEnd(capture: number, isKept: number): void;
}

/** The numbers of `Step` in assembly/state/capture.ts. */
const DONE = 0;
const PIECE = 1;

/** `supply`: makes sure that the calendar covers the times of the head in the input. */
export function createCapture(
  core: CoreModule,
  prefix: "windows" | "keyed",
  windows: Pointer,
  query: string,
  supply: () => void,
): { readonly capture: StateCapture; readonly adoption: StateAdoption } {
  const shared = core.exports as unknown as SharedExports;
  const own = core.exports as unknown as Record<string, (...args: number[]) => number>;
  const call = <Name extends keyof CaptureExports>(name: Name): CaptureExports[Name] =>
    own[`${prefix}${name.charAt(0).toUpperCase()}${name.slice(1)}`] as CaptureExports[Name];
  const [captureNext, input] = [call("captureNext"), call("input")];
  const put = (bytes: Uint8Array): void => copyIn(core, input(windows, bytes.length), bytes);
  const check = (isTaken: number): void => {
    if (isTaken !== 0) return;
    throw new MillraceError(
      "E_CHECKPOINT_VERSION",
      `the saved windows of ${query} are damaged, or of another release or definition`,
    );
  };
  const capture: StateCapture = {
    begin: (kind, { pieceBytes, lookRecords } = LIMITS) => {
      shared.captureLimit(call("capture")(windows), pieceBytes, lookRecords);
      call("captureBegin")(windows, kind === "whole" ? 1 : 0);
      return copyOut(core, call("output")(windows), call("outputLength")(windows));
    },
    next: () => {
      const step = captureNext(windows);
      if (step === DONE) return null;
      if (step !== PIECE) return "looking";
      const made = call("capture")(windows);
      return copyOut(core, shared.capturePiece(made), shared.capturePieceLength(made));
    },
    savedBytes: () => shared.captureSaved(call("capture")(windows)),
    end: (outcome) => shared.captureEnd(call("capture")(windows), outcome === "kept" ? 1 : 0),
  };
  const adoption: StateAdoption = {
    isWhole: (head) => {
      put(head);
      return call("adoptIsWhole")(windows) !== 0;
    },
    begin: (head) => {
      put(head);
      supply();
      check(call("adoptBegin")(windows));
    },
    head: (head) => {
      put(head);
      check(call("adoptHead")(windows));
    },
    piece: (records) => {
      put(records);
      check(call("adoptRecords")(windows));
    },
    end: () => call("adoptEnd")(windows),
  };
  return { capture, adoption };
}
