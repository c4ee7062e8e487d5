import type { BatchHandle } from "../core/codec.ts";
import { keyJson } from "../core/group-key.ts";
import { MillraceError } from "../errors.ts";
import type { QueryPlan, ResultRow } from "../messages.ts";
import { type Closing, clockOf } from "./corrected-query.ts";
import type { KeySpan } from "./partial-groups.ts";
import type { Recomputation, WantedKey } from "./recomputation.ts";
import { type AffectedWindow, type Owner, type Redo, type ResultStore, windowId } from "./redo.ts";
import { joinRanges, type TimeRange } from "./time-range.ts";

interface NotedSpan {
  readonly firstUs: number;
  readonly lastUs: number;
  readonly owner: Owner;
}

interface NotedKey {
  readonly key: Uint8Array;
  readonly text: string;
  readonly clockUs: number;
  readonly spans: NotedSpan[];
  ranges: TimeRange[];
}

/**
 * Sessions: what a late event makes of them is known only once all events up to a gap without any are there on both sides.
 * So the stretch that is looked at grows, by twice its sessions' length at a time, until it holds whole sessions.
 *
 * Sessions that are stored and lie within such a session are retracted: the live windows had it in pieces. One that is
 * open, or has an open piece, waits: live windows will still give results of it.
 */
export class SessionRedo implements Redo {
  readonly #store: ResultStore;
  readonly #closing: Closing;
  readonly #plan: QueryPlan;
  readonly #gapUs: number;
  readonly #engine: Recomputation;
  readonly #keys = new Map<string, NotedKey>();
  readonly waiting = new Set<Owner>();
  #isSettled = false;
  #affected: readonly AffectedWindow[] = [];

  constructor(store: ResultStore, plan: QueryPlan, closing: Closing, engine: Recomputation) {
    if (plan.window.kind !== "session") throw new MillraceError("E_WINDOW_KIND", "these are no sessions");
    this.#gapUs = plan.window.gapUs;
    this.#store = store;
    this.#plan = plan;
    this.#closing = closing;
    this.#engine = engine;
  }

  /** An open session is waited for whoever asks: whether it has the event, its own results do not tell. */
  note(batch: BatchHandle, owner: Owner): TimeRange[] {
    const noted: TimeRange[] = [];
    for (const span of this.#engine.spans(batch)) {
      const { firstUs, lastUs } = span;
      const key = this.#keyOf(span);
      const near = { fromUs: firstUs - this.#gapUs + 1, toUs: lastUs + this.#gapUs };
      key.spans.push({ firstUs, lastUs, owner });
      key.ranges = joinRanges([...key.ranges, near]);
      noted.push(near);
    }
    return joinRanges(noted);
  }

  wanted(): readonly WantedKey[] {
    return this.#isSettled ? [] : [...this.#keys.values()];
  }

  begin(): void {
    this.#engine.begin();
  }

  merge(batch: BatchHandle, fromUs: number, toUs: number): void {
    this.#engine.merge(batch, this.wanted(), fromUs, toUs);
  }

  settle(): boolean {
    const byKey = Map.groupBy(this.#engine.fire(), ({ key }) => key);
    let isWhole = true;
    for (const key of this.#keys.values()) {
      const sessions = (byKey.get(key.text) ?? []).filter((row) => this.#isAsked(key, row));
      for (const { startUs, endUs } of sessions) {
        const isHeld = ({ fromUs, toUs }: TimeRange): boolean =>
          fromUs <= startUs - this.#gapUs + 1 && toUs >= endUs;
        if (key.ranges.some(isHeld)) continue;
        const moreUs = endUs - startUs;
        key.ranges = joinRanges([
          ...key.ranges,
          { fromUs: startUs - this.#gapUs + 1 - moreUs, toUs: endUs + moreUs },
        ]);
        isWhole = false;
      }
    }
    if (!isWhole) return false;
    this.#isSettled = true;
    this.#affected = [...this.#keys.values()].flatMap((key) =>
      this.#compare(
        key,
        (byKey.get(key.text) ?? []).filter((row) => this.#isAsked(key, row)),
      ),
    );
    return true;
  }

  affected(): readonly AffectedWindow[] {
    return this.#affected;
  }

  dispose(): void {
    this.#engine.dispose();
  }

  /** Whether a session has a noted event, or would have had one that is no more. */
  #isAsked({ spans }: NotedKey, row: ResultRow): boolean {
    return spans.some((span) => this.#isNear(span, row));
  }

  #isNear({ firstUs, lastUs }: NotedSpan, { startUs, endUs }: ResultRow): boolean {
    return startUs < lastUs + this.#gapUs && endUs > firstUs;
  }

  /** The sessions of a key beside those that are stored. */
  #compare(key: NotedKey, sessions: readonly ResultRow[]): AffectedWindow[] {
    const { stored, past } = this.#storedNear(key, sessions);
    const isClosed = ({ endUs }: ResultRow): boolean => endUs + this.#plan.latenessUs <= key.clockUs;
    const ownersOf = (row: ResultRow): Set<Owner> =>
      new Set(key.spans.flatMap((span) => (this.#isNear(span, row) ? [span.owner] : [])));
    const whole = sessions.filter(({ startUs }) => startUs >= (this.#closing.sinceUs ?? startUs));
    const open = whole.filter(
      (row) => !isClosed(row) || stored.some((old) => !isClosed(old) && overlap(old, row)),
    );
    for (const row of open) for (const owner of ownersOf(row)) this.waiting.add(owner);
    const closed = whole.filter((row) => !open.includes(row));
    const shown = new Set(this.#engine.shown(closed).map(windowId));
    const affected: AffectedWindow[] = closed.map((row) => ({
      owners: ownersOf(row),
      place: row,
      before: stored.find((old) => windowId(old) === windowId(row)) ?? null,
      after: shown.has(windowId(row)) ? row : null,
    }));
    // Some may have been retracted by a run before, which was cut off or could not correct what is over them.
    for (const old of past) {
      const owners = affectedOwners(affected, old);
      if (owners.length > 0)
        affected.push({ owners: new Set(owners), place: old, before: null, after: null });
    }
    for (const old of stored) {
      if (whole.some((row) => windowId(old) === windowId(row))) continue;
      const owners = new Set([...ownersOf(old), ...affectedOwners(affected, old)]);
      if (isClosed(old) && !open.some((row) => overlap(old, row)))
        affected.push({ owners, place: old, before: old, after: null });
      else for (const owner of owners) this.waiting.add(owner);
    }
    return affected;
  }

  /** The latest results that share time with a session or a noted event of the key: those that stand, and those retracted. */
  #storedNear(
    key: NotedKey,
    sessions: readonly ResultRow[],
  ): { readonly stored: readonly ResultRow[]; readonly past: readonly ResultRow[] } {
    const around = joinRanges([
      ...sessions.map(({ startUs, endUs }) => ({ fromUs: startUs, toUs: endUs })),
      ...key.spans.map(({ firstUs, lastUs }) => ({ fromUs: firstUs, toUs: lastUs + 1 })),
    ]);
    // By revision, the last one last.
    const latest = new Map<string, ResultRow>();
    for (const range of around) {
      const rows = this.#store.results({
        query: this.#plan.name,
        ...range,
        key: key.text,
        kind: null,
        revisions: "all",
        limit: Number.MAX_SAFE_INTEGER,
        after: null,
      });
      for (const row of rows) {
        const isBefore = row.startUs < (this.#closing.sinceUs ?? row.startUs);
        if (row.key === key.text && !isBefore && row.endUs > range.fromUs) latest.set(windowId(row), row);
      }
    }
    const rows = [...latest.values()];
    return {
      stored: rows.filter(({ retracted }) => retracted !== true),
      past: rows.filter(({ retracted }) => retracted === true),
    };
  }

  #keyOf({ id, key }: KeySpan): NotedKey {
    const known = this.#keys.get(id);
    if (known !== undefined) return known;
    const noted = {
      key,
      text: keyJson(key, this.#plan.by),
      clockUs: clockOf(this.#closing, id),
      spans: [],
      ranges: [],
    };
    this.#keys.set(id, noted);
    return noted;
  }
}

function overlap(a: TimeSpan, b: TimeSpan): boolean {
  return a.startUs < b.endUs && b.startUs < a.endUs;
}

type TimeSpan = Pick<ResultRow, "startUs" | "endUs">;

function affectedOwners(affected: readonly AffectedWindow[], old: ResultRow): Owner[] {
  return affected.flatMap(({ owners, after }) => (after !== null && overlap(after, old) ? [...owners] : []));
}
