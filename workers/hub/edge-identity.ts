import type { BatchHeader } from "../sync/batch.ts";

/** What became of a data directory, as its batches tell. */
export type IdentityCase =
  /** An old copy of it was put back: it has gone another way from some start on. */
  | "replayed"
  /** Two nodes run on copies of it, at the same time. */
  | "cloned"
  /** The edge has another one than before. */
  | "re-imaged"
  /** Two nodes send under one name, each from a data directory of its own, at the same time. */
  | "name-shared";

/** A start, or a data directory, that was heard of last, and when its first batch was made by the edge's clock, µs. */
interface Current {
  readonly id: string;
  readonly sinceUs: number;
}

/** What is known of the data directory that a batch is of. */
export interface KnownIncarnation {
  /** The greatest number of a start. */
  readonly startNumber: number;
  /** The start that began last. */
  readonly current: Current;
  /** Whether two ways were ever noticed: starts of one number, or blocks of one place that differ. */
  readonly isForked: boolean;
}

/** What is known of the start that a batch is of. */
export interface KnownStart {
  /** It was never heard of. */
  readonly isNew: boolean;
  /** Another start has its number. */
  readonly isNumberTaken: boolean;
}

/** What is known of the edge. */
export interface KnownEdge {
  /** The data directory that was new last, or that came back since; null: there was none before. */
  readonly current: Current | null;
  /** Whether one that was there before came back since. */
  readonly hasReturned: boolean;
}

/** What is to be written; null: it stays. */
export interface IdentityVerdict {
  readonly noticed: IdentityCase | null;
  readonly isCopy: boolean;
  readonly setStart: boolean;
  readonly setCurrentStart: boolean;
  /** Of the edge. */
  readonly setCurrent: boolean;
  readonly hasReturned: boolean;
}

/**
 * Tells by numbers and names of starts, and by who speaks after whom, what has happened to a data directory. Each start has a
 * name by chance, so a number that two of them have means that there were two copies; that both are heard of in turn means
 * that both run. What came late by relays or queues is told from that by when it was made: of an earlier start the first
 * batch may come after those of later ones, as when the hub that had it in hand was killed. The clocks are the edges' own, so
 * who sets them back may be misnamed, or be noticed only once a number is taken.
 *
 * @param known null: the data directory is new
 */
export function judgeIdentity(
  { start, createdUs, incarnation }: Pick<BatchHeader, "start" | "createdUs" | "incarnation">,
  known: KnownIncarnation | null,
  edge: KnownEdge,
  { isNew, isNumberTaken }: KnownStart,
): IdentityVerdict {
  const same = {
    noticed: null,
    isCopy: false,
    setStart: false,
    setCurrentStart: false,
    setCurrent: false,
    hasReturned: edge.hasReturned,
  };
  if (known === null) {
    const noticed = edge.current === null ? null : "re-imaged";
    return { ...same, noticed, setCurrentStart: true, setCurrent: true, hasReturned: false };
  }
  // One that another has taken the place of: once may be what was under way, again is a node that runs.
  const isReturn =
    edge.current !== null && edge.current.id !== incarnation && createdUs > edge.current.sinceUs;
  const ofEdge = { setCurrent: isReturn, hasReturned: edge.hasReturned || isReturn };
  const shared = isReturn && edge.hasReturned ? ("name-shared" as const) : null;
  if (isNew) {
    const isEarlier = start.number <= known.startNumber;
    if (isEarlier && !isNumberTaken && createdUs <= known.current.sinceUs)
      return { ...same, ...ofEdge, noticed: shared };
    const noticed = isEarlier ? "replayed" : shared;
    return { ...ofEdge, noticed, isCopy: isEarlier, setStart: !isEarlier, setCurrentStart: true };
  }
  const isBack = start.id !== known.current.id && createdUs > known.current.sinceUs && known.isForked;
  return { ...same, ...ofEdge, noticed: isBack ? "cloned" : shared, setCurrentStart: isBack };
}
