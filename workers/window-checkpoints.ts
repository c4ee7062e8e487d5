import { CheckpointAdoption } from "./checkpoint-adoption.ts";
import type { Frame } from "./checkpoint-frames.ts";
import { CheckpointPieces, type CheckpointStep } from "./checkpoint-pieces.ts";
import type { CaptureKind, StateCapture } from "./core/capture.ts";
import type { Windows } from "./core/window.ts";
import type { QueryPlan } from "./messages.ts";
import { packHead, type SnapshotPart, unpackHead, unpackSnapshot } from "./snapshot.ts";
import type { QueryWindows, StreamWindows } from "./window.ts";

interface FoundState {
  readonly stream: string;
  readonly query: QueryWindows;
  readonly state: Uint8Array;
}

/** Saves all window state in pieces, and restores it. One checkpoint, or one restore, at a time. */
export class WindowCheckpoints {
  readonly #streams: ReadonlyMap<string, StreamWindows>;
  #pieces: CheckpointPieces | null = null;
  #adoption: CheckpointAdoption | null = null;

  constructor(streams: ReadonlyMap<string, StreamWindows>) {
    this.#streams = streams;
  }

  /** Freezes the state; one that was not told to the end is given up. @returns how long that took. */
  begin(kind: CaptureKind): { readonly heldMs: number } {
    const startedMs = performance.now();
    this.#pieces?.drop();
    const captures = new Map<Uint8Array, StateCapture>();
    const parts = this.#save(({ capture }) => {
      const head = capture.begin(kind);
      captures.set(head, capture);
      return head;
    });
    const captured = parts
      .flatMap(({ queries }) => queries)
      .flatMap(({ state }, part) => {
        const capture = captures.get(state);
        return capture === undefined ? [] : [{ part, capture }];
      });
    this.#pieces = new CheckpointPieces(() => packHead(parts), captured);
    return { heldMs: performance.now() - startedMs };
  }

  next(): CheckpointStep {
    if (this.#pieces === null) throw new Error("no checkpoint has begun");
    const step = this.#pieces.next();
    if (step.isDone) this.#pieces = null;
    return step;
  }

  /** `stateOf`: what is saved of the windows of a query. */
  #save(stateOf: (windows: Windows) => Uint8Array): SnapshotPart[] {
    return [...this.#streams].map(([name, stream]) => ({
      stream: name,
      watermarkUs: stream.watermarkUs,
      maxEventUs: stream.maxEventUs,
      clocks: { key: stream.key, state: stream.clocks.snapshot() },
      queries: [
        ...stream.queries.map(({ plan, sinceUs, windows }) => ({
          name: plan.name,
          signature: signatureOf(plan),
          sinceUs,
          state: stateOf(windows),
        })),
        ...stream.alerts.save(stream.watermarkUs),
      ],
      waiting: stream.results?.rows.snapshot() ?? null,
    }));
  }

  /** A whole checkpoint, as releases before wrote it. @returns the queries whose definitions have changed. */
  restore(state: Uint8Array): readonly string[] {
    const { found, changed } = this.#restoreParts(unpackSnapshot(state));
    for (const { query, state: saved } of found) query.windows.restore(saved);
    return changed;
  }

  beginRestore(heads: readonly Uint8Array[]): readonly string[] {
    const segments = heads.map(unpackHead);
    const { found, changed } = this.#restoreParts(segments.at(-1) ?? []);
    const adopting = found.map(({ stream, query }) => ({
      stream,
      name: query.plan.name,
      signature: signatureOf(query.plan),
      adoption: query.windows.adoption,
    }));
    this.#adoption = new CheckpointAdoption(segments, adopting);
    return changed;
  }

  adopt(segment: number, frames: readonly Frame[]): void {
    this.#adoption?.push(segment, frames);
  }

  endRestore(): void {
    this.#adoption?.end();
    this.#adoption = null;
  }

  /** Restores all but windows. */
  #restoreParts(parts: readonly SnapshotPart[]): { found: FoundState[]; changed: string[] } {
    const found: FoundState[] = [];
    const changed: string[] = [];
    for (const part of parts) {
      const stream = this.#streams.get(part.stream);
      if (stream === undefined) continue;
      stream.watermarkUs = part.watermarkUs;
      stream.maxEventUs = part.maxEventUs;
      const isSameKey = String(part.clocks?.key) === String(stream.key);
      if (part.clocks !== null && isSameKey) stream.clocks.restore(part.clocks.state);
      if (part.waiting !== null) stream.results?.rows.restore(part.waiting);
      stream.alerts.restore(part.queries);
      for (const saved of part.queries) {
        const query = stream.queries.find((candidate) => candidate.plan.name === saved.name);
        if (query === undefined) continue;
        if (signatureOf(query.plan) === saved.signature) {
          found.push({ stream: part.stream, query, state: saved.state });
          query.sinceUs = saved.sinceUs ?? null;
        } else changed.push(saved.name);
      }
    }
    return { found, changed };
  }
}

/** What the state of a query's windows depends on: a clock's bound and limit may change under it. */
function signatureOf(plan: QueryPlan): string {
  const { id: _id, keyClock, ...definition } = plan;
  return JSON.stringify(keyClock === undefined ? definition : { ...definition, hasKeyClock: true });
}
