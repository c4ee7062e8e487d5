import { KeyedWindows } from "../window/keyed/windows";
import { Windows } from "../window/windows";
import { Capture, Step } from "./capture";
import {
  adoptKeyedHead,
  adoptKeyedRecords,
  beginKeyedAdopting,
  beginKeyedCapture,
  endKeyedAdopting,
  isWholeKeyedHead,
  nextKeyedPiece,
} from "./keyed-capture";
import { adoptHead, adoptRecords, beginAdopting, endAdopting, isWholeHead, missingInHead } from "./pane-adopt";
import { beginCapture, nextPiece } from "./pane-capture";

/** Freezes the state for a capture; its head is in the output. `isWhole`: else what has changed since the last one. */
export function windowsCaptureBegin(windows: Windows, isWhole: bool): void {
  beginCapture(windows, isWhole);
}

export function windowsOutput(windows: Windows): usize {
  return windows.out.data;
}

export function windowsCaptureNext(windows: Windows): Step {
  return nextPiece(windows);
}

export function windowsCapture(windows: Windows): Capture {
  return windows.capture;
}

/** A time in the head in the input that the calendar must cover before `windowsAdoptBegin`, or the least i64. */
export function windowsMissingInHead(windows: Windows, isFirst: bool): i64 {
  return missingInHead(windows, isFirst);
}

export function windowsAdoptBegin(windows: Windows): bool {
  return beginAdopting(windows);
}

export function windowsAdoptHead(windows: Windows): bool {
  return adoptHead(windows);
}

export function windowsAdoptIsWhole(windows: Windows): bool {
  return isWholeHead(windows);
}

export function windowsAdoptRecords(windows: Windows): bool {
  return adoptRecords(windows);
}

export function windowsAdoptEnd(windows: Windows): void {
  endAdopting(windows);
}

export function keyedCaptureBegin(windows: KeyedWindows, isWhole: bool): void {
  beginKeyedCapture(windows, isWhole);
}

export function keyedOutput(windows: KeyedWindows): usize {
  return windows.out.data;
}

export function keyedCaptureNext(windows: KeyedWindows): Step {
  return nextKeyedPiece(windows);
}

export function keyedCapture(windows: KeyedWindows): Capture {
  return windows.capture;
}

export function keyedAdoptBegin(windows: KeyedWindows): bool {
  return beginKeyedAdopting(windows);
}

export function keyedAdoptHead(windows: KeyedWindows): bool {
  return adoptKeyedHead(windows);
}

export function keyedAdoptIsWhole(windows: KeyedWindows): bool {
  return isWholeKeyedHead(windows);
}

export function keyedAdoptRecords(windows: KeyedWindows): bool {
  return adoptKeyedRecords(windows);
}

export function keyedAdoptEnd(windows: KeyedWindows): void {
  endKeyedAdopting(windows);
}

/** Bytes of records that wait to be handed out. */
export function captureSaved(capture: Capture): u32 {
  return capture.saved.length;
}

/** To be called before a capture begins. */
export function captureLimit(capture: Capture, pieceBytes: u32, lookRecords: u32): void {
  capture.pieceBytes = pieceBytes;
  capture.lookRecords = max<u32>(lookRecords, 1);
}

/** The piece that `…CaptureNext` has just made. */
export function capturePiece(capture: Capture): usize {
  return capture.pieceAt;
}

export function capturePieceLength(capture: Capture): u32 {
  return capture.pieceLength;
}

/** Ends a capture; when not all of it was kept, the next one is whole. */
export function captureEnd(capture: Capture, isKept: bool): void {
  capture.end(isKept);
}
