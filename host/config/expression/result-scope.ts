import type { SelectItem } from "../config.ts";
import { nearest } from "../suggest.ts";
import type { Graph } from "./graph.ts";
import type { Kind } from "./kinds.ts";
import type { Resolution, Scope } from "./scope.ts";

/** Aggregates whose result is a list or a map: nothing to compute with. */
const STRUCTURED: ReadonlySet<string> = new Set(["topk", "histogram"]);
/** Aggregates whose result is one of the field's values. */
const OF_FIELD: ReadonlySet<string> = new Set(["first", "last", "min", "max", "mode"]);
const BOOLS: ReadonlySet<string> = new Set(["any", "all"]);
const WINDOW_NAMES: readonly string[] = ["window.start", "window.end"];

/** The names that `having` may use: the selected values, the fields of the key, and the window's bounds in µs. */
export class ResultScope implements Scope {
  readonly #select: readonly SelectItem[];
  readonly #keys: ReadonlyMap<string, Kind>;

  readonly #fieldKind: (field: string) => Kind;

  /** `keys`: the fields of the key. `fieldKind`: what is known of a field of events, or a derived one. */
  constructor(select: readonly SelectItem[], keys: readonly string[], fieldKind: (field: string) => Kind) {
    this.#select = select;
    this.#keys = new Map(keys.map((field) => [field, fieldKind(field)]));
    this.#fieldKind = fieldKind;
  }

  resolve(name: string, graph: Graph): Resolution {
    const selected = this.#select.find((item) => item.name === name);
    if (selected !== undefined) {
      if (STRUCTURED.has(selected.fn))
        return {
          ok: false,
          message: `${name} is a ${selected.fn}(), not one value`,
          fix: "select a value such as count()",
        };
      return { ok: true, value: graph.column(name, this.#kindOf(selected)) };
    }
    if (WINDOW_NAMES.includes(name)) return { ok: true, value: graph.column(name, "number") };
    const key = this.#keys.get(name);
    if (key !== undefined) return { ok: true, value: graph.column(name, key) };
    const known = [...this.#select.map((item) => item.name), ...this.#keys.keys(), ...WINDOW_NAMES];
    const hint = nearest(name, known);
    const fix = hint === null ? `there are ${known.join(", ")}` : `did you mean \`${hint}\`?`;
    return { ok: false, message: `the query gives no ${name}`, fix };
  }

  #kindOf({ fn, field }: SelectItem): Kind {
    if (BOOLS.has(fn)) return "bool";
    return OF_FIELD.has(fn) && field !== null ? this.#fieldKind(field) : "number";
  }

  eventTime(): null {
    return null;
  }
}
