import { readFrom } from "../../state/cursor";
import { Axis } from "../axis";
import { Calendar } from "../calendar";

/** What makes a window of a key; the numbers are those of `workers/core/keyed-plan.ts`. */
export const enum KeyedKind {
  Session = 0,
  Count = 1,
  /** No window: a row for each event. */
  Each = 2,
  /** Tumbling and sliding windows that close by their key's own clock. */
  Aligned = 3,
  /** The same by a calendar. */
  Calendar = 4,
}

/** What the keyed windows know of their query beyond its `Plan`. */
@unmanaged
export class KeyedSettings {
  kind: KeyedKind;
  /** 1: every key has a clock of its own, its greatest event time less `boundUs`. */
  hasClocks: u32;
  boundUs: i64;
  /** Session: events nearer than this are of one session. At least 1. */
  gapUs: i64;
  /** Count: events of a window. At least 1. */
  size: u64;
  /** Aligned: windows of this length, one every `everyUs`, cut into panes of `paneUs`, which divides both. Calendar: in units. */
  sizeUs: i64;
  everyUs: i64;
  paneUs: i64;
  offsetUs: i64;
  /** Calendar: how it cuts time. Else null. */
  axis: Axis;
  /** Keys without an open window whose clocks are remembered. */
  maxIdleKeys: u32;
  /** 1: windows that were shown are named when they close. */
  namesClosed: u32;

  /** The start of the latest window that has the time in it, or of its pane. Rounded down, before the epoch too. */
  @inline alignedStart(timeUs: i64, stepUs: i64): i64 {
    let rest = (timeUs - this.offsetUs) % stepUs;
    if (rest < 0) rest += stepUs;
    return timeUs - rest;
  }

  /** Null for windows that follow none. */
  get calendar(): Calendar {
    return this.kind == KeyedKind.Calendar ? this.axis.calendar : changetype<Calendar>(0);
  }

  dispose(): void {
    if (this.kind == KeyedKind.Calendar) {
      this.axis.calendar.dispose();
      heap.free(changetype<usize>(this.axis));
    }
    heap.free(changetype<usize>(this));
  }
}

/** Reads settings as `workers/core/keyed-plan.ts` writes them. */
export function readSettings(at: usize): KeyedSettings {
  const cursor = readFrom(at);
  const self = changetype<KeyedSettings>(heap.alloc(offsetof<KeyedSettings>()));
  self.kind = <KeyedKind>cursor.u32();
  self.hasClocks = cursor.u32();
  self.boundUs = cursor.i64();
  self.gapUs = max<i64>(cursor.i64(), 1);
  self.size = <u64>max<i64>(cursor.i64(), 1);
  // A division by zero would trap.
  self.sizeUs = max<i64>(cursor.i64(), 1);
  self.everyUs = max<i64>(cursor.i64(), 1);
  self.offsetUs = cursor.i64();
  self.maxIdleKeys = cursor.u32();
  self.namesClosed = cursor.u32();
  self.paneUs = greatestDivisor(self.sizeUs, self.everyUs);
  self.axis = changetype<Axis>(0);
  if (self.kind == KeyedKind.Calendar) {
    self.axis = changetype<Axis>(heap.alloc(offsetof<Axis>()));
    self.axis.place(self.sizeUs, self.everyUs, 0, Calendar.create());
  }
  return self;
}

/** Of both (Euclid). */
function greatestDivisor(a: i64, b: i64): i64 {
  while (b != 0) {
    const rest = a % b;
    a = b;
    b = rest;
  }
  return a;
}

/** a + b, or the end of time where that is beyond it. `b` is not negative. */
@inline
export function addTime(a: i64, b: i64): i64 {
  const sum = a + b;
  return sum < a ? i64.MAX_VALUE : sum;
}
