/** An event as the oracle sees it. Times in µs. */
export interface KeyedEvent {
  readonly key: string;
  readonly timeUs: number;
  readonly value: number | null;
  /** It is in no window, but its key's clock moves by it. */
  readonly isDropped?: true;
}

export type KeyedWindow =
  | { readonly kind: "session"; readonly gapUs: number }
  | { readonly kind: "count"; readonly size: number }
  | { readonly kind: "none" }
  | { readonly kind: "tumbling"; readonly sizeUs: number; readonly offsetUs: number }
  | {
      readonly kind: "sliding";
      readonly sizeUs: number;
      readonly everyUs: number;
      readonly offsetUs: number;
    }
  /** All windows that a time is in. */
  | {
      readonly kind: "spans";
      readonly windowsOf: (timeUs: number) => readonly { readonly startUs: number; readonly endUs: number }[];
    };

export interface KeyedSettings {
  readonly window: KeyedWindow;
  readonly latenessUs: number;
  /** Each key's clock is its greatest event time less this; null: keys have no clocks. */
  readonly keyBoundUs: number | null;
  /** Windows that are still filling give results when a key's clock passes a multiple of it; left out: never. */
  readonly earlyUs?: number;
}

/** A row with all its events. */
export interface KeyedRow {
  readonly key: string;
  readonly startUs: number;
  readonly endUs: number;
  readonly revision: number;
  readonly kind: "early" | "on-time" | "late";
  readonly isRetracted: boolean;
  readonly events: readonly KeyedEvent[];
}

interface OpenWindow {
  startUs: number;
  endUs: number;
  events: KeyedEvent[];
  emitted: number;
  isDirty: boolean;
  isLate: boolean;
  /** All its rows so far were early ones. */
  isEarly: boolean;
  /** Rows of windows that this one has taken the place of. */
  outgrown: { startUs: number; endUs: number; revision: number; kind: "early" | "late" }[];
}

interface KeyState {
  clockUs: number;
  /** The key's own clock when its rows were asked for last. */
  firedUs: number;
  windows: OpenWindow[];
  waiting: KeyedEvent[];
  filling: KeyedEvent[];
  /** count: the window that is filling has changed since its last row. */
  isFillingDirty: boolean;
  /** count: the early row that stands. */
  shownEarly: { readonly startUs: number; readonly endUs: number } | null;
  /** none: times that are remembered. */
  times: number[];
}

/**
 * Windows that belong to their key, by keeping every event and looking at all of them each time: slow and plain. A block is
 * a set of events that arrive together.
 */
export class KeyedOracle {
  readonly #settings: KeyedSettings;
  readonly #keys = new Map<string, KeyState>();
  #ready: KeyedRow[] = [];
  #repeats = 0;
  #firedUs = -Infinity;

  constructor(settings: KeyedSettings) {
    this.#settings = settings;
  }

  /** Takes a block in; returns the events that are too late. */
  merge(block: readonly KeyedEvent[], watermarkUs: number): KeyedEvent[] {
    const late: KeyedEvent[] = [];
    for (const [key, events] of Map.groupBy(block, (event) => event.key)) {
      const state = this.#stateOf(key);
      const clockUs = Math.max(watermarkUs, state.clockUs);
      const inOrder = events.toSorted((a, b) => a.timeUs - b.timeUs);
      const counted = inOrder.filter(({ isDropped }) => isDropped !== true);
      late.push(...this.#take(state, counted, clockUs));
      const { keyBoundUs } = this.#settings;
      if (keyBoundUs !== null) state.clockUs = Math.max(state.clockUs, inOrder.at(-1)!.timeUs - keyBoundUs);
    }
    return late;
  }

  /** The rows that the clocks let go. */
  fire(watermarkUs: number): KeyedRow[] {
    const rows = this.#ready;
    this.#ready = [];
    for (const [key, state] of this.#keys) {
      const clockUs = Math.max(watermarkUs, state.clockUs);
      state.times = state.times.filter((timeUs) => timeUs >= clockUs);
      if (this.#settings.window.kind === "count") rows.push(...this.#fill(key, state, clockUs));
      else rows.push(...this.#close(key, state, clockUs));
      state.firedUs = state.clockUs;
    }
    this.#firedUs = Math.max(this.#firedUs, watermarkUs);
    return rows;
  }

  /** Windows whose rows stand, and not early ones only, but will be retracted. */
  get outgrown(): { readonly key: string; readonly startUs: number; readonly endUs: number }[] {
    return [...this.#keys].flatMap(([key, { windows }]) =>
      windows.flatMap(({ outgrown }) =>
        outgrown.flatMap(({ startUs, endUs, kind }) => (kind === "early" ? [] : { key, startUs, endUs })),
      ),
    );
  }

  /** Windows that are open; of count windows those that have an event. */
  get openWindows(): number {
    return [...this.#keys.values()].reduce(
      (sum, { windows, filling }) => sum + windows.length + (filling.length > 0 ? 1 : 0),
      0,
    );
  }

  #stateOf(key: string): KeyState {
    const known = this.#keys.get(key);
    if (known !== undefined) return known;
    const state = {
      clockUs: -Infinity,
      firedUs: -Infinity,
      windows: [],
      waiting: [],
      filling: [],
      isFillingDirty: false,
      shownEarly: null,
      times: [],
    };
    this.#keys.set(key, state);
    return state;
  }

  #take(state: KeyState, events: readonly KeyedEvent[], clockUs: number): KeyedEvent[] {
    const { window } = this.#settings;
    switch (window.kind) {
      case "session":
        return fragments(events, window.gapUs).flatMap((fragment) =>
          this.#joinSessions(state, fragment, window.gapUs, clockUs) ? [] : fragment,
        );
      case "count":
        state.waiting.push(...events.filter(({ timeUs }) => timeUs >= clockUs));
        return events.filter(({ timeUs }) => timeUs < clockUs);
      case "none":
        for (const event of events) this.#show(state, event, clockUs);
        return [];
      default:
        return events.filter((event) => !this.#addToWindows(state, event, clockUs));
    }
  }

  #joinSessions(state: KeyState, fragment: readonly KeyedEvent[], gapUs: number, clockUs: number): boolean {
    const first = fragment[0]!.timeUs;
    const last = fragment.at(-1)!.timeUs;
    const isNear = ({ startUs, endUs }: OpenWindow): boolean =>
      startUs - last < gapUs && first - (endUs - gapUs) < gapUs && !this.#isClosed(endUs, clockUs);
    const near = state.windows.filter(isNear);
    if (near.length === 0 && this.#isClosed(last + gapUs, clockUs)) return false;
    const startUs = Math.min(first, ...near.map((session) => session.startUs));
    const endUs = Math.max(last + gapUs, ...near.map((session) => session.endUs));
    const same = near.find((session) => session.startUs === startUs && session.endUs === endUs);
    state.windows = state.windows.filter((session) => !near.includes(session));
    state.windows.push({
      startUs,
      endUs,
      events: [...near.flatMap(({ events }) => events), ...fragment],
      emitted: same?.emitted ?? 0,
      isDirty: true,
      isLate: endUs <= clockUs,
      isEarly: same?.isEarly ?? false,
      outgrown: near.flatMap((session) => [
        ...session.outgrown,
        ...(session === same || session.emitted === 0
          ? []
          : [
              {
                startUs: session.startUs,
                endUs: session.endUs,
                revision: session.emitted,
                kind: session.isEarly ? "early" : "late",
              } as const,
            ]),
      ]),
    });
    return true;
  }

  /** False when all its windows are closed. */
  #addToWindows(state: KeyState, event: KeyedEvent, clockUs: number): boolean {
    let isTaken = false;
    for (const { startUs, endUs } of this.#windowsOf(event.timeUs)) {
      if (this.#isClosed(endUs, clockUs)) continue;
      isTaken = true;
      let open = state.windows.find((candidate) => candidate.startUs === startUs);
      if (open === undefined) {
        open = {
          startUs,
          endUs,
          events: [],
          emitted: 0,
          isDirty: true,
          isLate: false,
          isEarly: false,
          outgrown: [],
        };
        state.windows.push(open);
      }
      open.events.push(event);
      open.isDirty = true;
      open.isLate = endUs <= clockUs;
    }
    return isTaken;
  }

  #windowsOf(timeUs: number): readonly { readonly startUs: number; readonly endUs: number }[] {
    const { window } = this.#settings;
    if (window.kind === "spans") return window.windowsOf(timeUs);
    if (window.kind !== "tumbling" && window.kind !== "sliding") throw new Error("no aligned windows");
    const everyUs = window.kind === "tumbling" ? window.sizeUs : window.everyUs;
    const found: { startUs: number; endUs: number }[] = [];
    const last = Math.floor((timeUs - window.offsetUs) / everyUs) * everyUs + window.offsetUs;
    for (let startUs = last; startUs + window.sizeUs > timeUs; startUs -= everyUs)
      found.push({ startUs, endUs: startUs + window.sizeUs });
    return found;
  }

  #isClosed(endUs: number, clockUs: number): boolean {
    return endUs + this.#settings.latenessUs <= clockUs;
  }

  #show(state: KeyState, event: KeyedEvent, clockUs: number): void {
    const isLate = event.timeUs < clockUs;
    const isFirst = !isLate && !state.times.includes(event.timeUs);
    if (isFirst) state.times.push(event.timeUs);
    this.#ready.push({
      key: event.key,
      startUs: event.timeUs,
      endUs: event.timeUs,
      revision: isFirst ? 0 : ++this.#repeats,
      kind: isLate ? "late" : "on-time",
      isRetracted: false,
      events: [event],
    });
  }

  #fill(key: string, state: KeyState, clockUs: number): KeyedRow[] {
    const { window } = this.#settings;
    if (window.kind !== "count") throw new Error("no count windows");
    const rows: KeyedRow[] = [];
    const passed = state.waiting.filter(({ timeUs }) => timeUs < clockUs);
    state.waiting = state.waiting.filter(({ timeUs }) => timeUs >= clockUs);
    const show = (kind: "early" | "on-time"): void => {
      const events = [...state.filling];
      const [startUs, endUs] = [events[0]!.timeUs, events.at(-1)!.timeUs];
      if (state.shownEarly !== null)
        rows.push({ key, ...state.shownEarly, revision: 1, kind: "early", isRetracted: true, events: [] });
      const revision = rows.filter((row) => row.startUs === startUs && row.endUs === endUs).length;
      rows.push({ key, startUs, endUs, revision, kind, isRetracted: false, events });
      state.shownEarly = kind === "early" ? { startUs, endUs } : null;
      state.isFillingDirty = false;
    };
    for (const event of passed.toSorted((a, b) => a.timeUs - b.timeUs || compareValues(a.value, b.value))) {
      state.filling.push(event);
      state.isFillingDirty = true;
      if (state.filling.length < window.size) continue;
      show("on-time");
      state.filling = [];
    }
    // A full window of the same instant would be taken for one that was revised.
    const filling = new Set(state.filling.map(({ timeUs }) => timeUs));
    if (filling.size === 1 && rows.some(({ startUs, endUs }) => startUs === endUs && filling.has(startUs)))
      state.isFillingDirty = false;
    if (state.isFillingDirty && this.#isEarlyDue(state, clockUs)) show("early");
    return rows;
  }

  #isEarlyDue(state: KeyState, clockUs: number): boolean {
    const { earlyUs } = this.#settings;
    const beforeUs = Math.max(this.#firedUs, state.firedUs);
    return earlyUs !== undefined && Math.floor(clockUs / earlyUs) > Math.floor(beforeUs / earlyUs);
  }

  #close(key: string, state: KeyState, clockUs: number): KeyedRow[] {
    const isEarlyDue = this.#isEarlyDue(state, clockUs);
    const rows: KeyedRow[] = [];
    for (const window of state.windows) {
      const { startUs, endUs, isLate, outgrown, events } = window;
      const isFilling = endUs > clockUs;
      if (isFilling ? !isEarlyDue || !window.isDirty : !window.isDirty && !window.isEarly) continue;
      for (const old of outgrown) rows.push({ key, ...old, isRetracted: true, events: [] });
      const kind = isFilling ? "early" : isLate ? "late" : "on-time";
      window.isEarly = isFilling;
      rows.push({
        key,
        startUs,
        endUs,
        revision: window.emitted,
        kind,
        isRetracted: false,
        events: [...events],
      });
      window.emitted++;
      window.isDirty = false;
      window.outgrown = [];
    }
    state.windows = state.windows.filter(({ endUs }) => !this.#isClosed(endUs, clockUs));
    return rows;
  }
}

/** Events in the order of time, cut where they are a gap or more apart. */
function fragments(events: readonly KeyedEvent[], gapUs: number): KeyedEvent[][] {
  const cut: KeyedEvent[][] = [];
  for (const event of events) {
    const last = cut.at(-1);
    if (last !== undefined && event.timeUs - last.at(-1)!.timeUs < gapUs) last.push(event);
    else cut.push([event]);
  }
  return cut;
}

/** Events of one time go by their values as they are written: none first, then by the bytes of the float. */
function compareValues(a: number | null, b: number | null): number {
  const bytes = (value: number | null): Uint8Array =>
    value === null
      ? Uint8Array.of(0)
      : Buffer.concat([Uint8Array.of(1), Buffer.from(Float64Array.of(value + 0).buffer)]);
  return Buffer.compare(bytes(a), bytes(b));
}
