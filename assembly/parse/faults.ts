import { ByteBuffer } from "../memory/bytes";
import { faultyMember } from "./commit";
import { path } from "./object";
import { Problem, problem, problemAt, problemDetail } from "./problem";
import { memberAt } from "./staging";

/** As MAX_BAD_LINES in workers/messages.ts; further ones are only counted. */
const MAX_FAULTS: u32 = 1000;

/** A bad line, as `workers/core/parse.ts` reads it. */
@unmanaged
export class Fault {
  problem: Problem;
  /** From 1: a line, or an element of an array. */
  line: u32;
  /** Of what is wrong, from the begin of the line, in bytes. */
  offset: u32;
  detail: u32;
  /** Within `paths`. */
  path: u32;
  pathLength: u32;
  /** The bad text, in the body's memory. */
  text: usize;
  textLength: u32;
}

/** Of one body. */
export let faults: ByteBuffer = changetype<ByteBuffer>(0);
export let paths: ByteBuffer = changetype<ByteBuffer>(0);
export let accepted: u32 = 0;
export let bad: u32 = 0;

export function clearFaults(): void {
  if (changetype<usize>(faults) == 0) {
    faults = ByteBuffer.create(1024);
    paths = ByteBuffer.create(1024);
  }
  faults.reset();
  paths.reset();
  accepted = 0;
  bad = 0;
}

@inline
export function countAccepted(rows: u32 = 1): void {
  accepted += rows;
}

/** Sets the text from `start` to `end` aside, for the problem met last while its members were read. */
export function addReadFault(line: u32, start: usize, end: usize): void {
  addFault(line, start, end, path.data, path.length);
}

/** The same for a problem met when its members were committed. */
export function addCommitFault(line: u32, start: usize, end: usize): void {
  if (faultyMember < 0) return addFault(line, start, end, 0, 0);
  const member = memberAt(faultyMember);
  addFault(line, start, end, member.path, member.pathLength);
}

/** The same with a path of its own. */
export function addFault(line: u32, start: usize, end: usize, pathAt: usize, pathLength: u32): void {
  if (bad++ >= MAX_FAULTS) return;
  const at = faults.reserve(offsetof<Fault>());
  faults.length += offsetof<Fault>();
  const fault = changetype<Fault>(at);
  fault.problem = problem;
  fault.line = line;
  fault.offset = problemAt >= start && problemAt <= end ? <u32>(problemAt - start) : 0;
  fault.detail = problemDetail;
  fault.path = paths.append(pathAt, min<u32>(pathLength, MAX_FAULT_PATH));
  fault.pathLength = min<u32>(pathLength, MAX_FAULT_PATH);
  fault.text = start;
  fault.textLength = <u32>(end - start);
}
const MAX_FAULT_PATH: u32 = 256;
