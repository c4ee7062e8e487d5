import { resultKindOf } from "../aggregates.ts";
import type { SelectItem } from "../config.ts";
import { nearest } from "../suggest.ts";
import type { Graph } from "./graph.ts";
import type { Kind } from "./kinds.ts";
import type { Resolution, Scope } from "./scope.ts";

const WINDOW_NAMES: readonly string[] = ["window.start", "window.end"];

/** The names that `having` may use: the selected values, the fields of the key, and the window's bounds in µs. */
export class ResultScope implements Scope {
  readonly #select: readonly SelectItem[];
  readonly #keys: ReadonlyMap<string, Kind>;

  readonly #kindOfField: (field: string) => Kind;

  /** `kindOfField`: what is known of the values that events have. */
  constructor(
    select: readonly SelectItem[],
    keys: ReadonlyMap<string, Kind>,
    kindOfField: (field: string) => Kind,
  ) {
    this.#select = select;
    this.#keys = keys;
    this.#kindOfField = kindOfField;
  }

  resolve(name: string, graph: Graph): Resolution {
    const selected = this.#select.find((item) => item.name === name);
    if (selected !== undefined) {
      const kind = resultKindOf(selected.fn);
      if (kind === "structure")
        return {
          ok: false,
          message: `${name} is a ${selected.fn}(), not one value`,
          fix: "select a value such as count()",
        };
      const known = kind === "as-field" ? this.#kindOfField(selected.field ?? "") : kind;
      return { ok: true, value: graph.column(name, known) };
    }
    if (WINDOW_NAMES.includes(name)) return { ok: true, value: graph.column(name, "number") };
    const key = this.#keys.get(name);
    if (key !== undefined) return { ok: true, value: graph.column(name, key) };
    const known = [...this.#select.map((item) => item.name), ...this.#keys.keys(), ...WINDOW_NAMES];
    const hint = nearest(name, known);
    const fix = hint === null ? `there are ${known.join(", ")}` : `did you mean \`${hint}\`?`;
    return { ok: false, message: `the query gives no ${name}`, fix };
  }

  eventTime(): null {
    return null;
  }
}
