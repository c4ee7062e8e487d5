import type { QueryConfig, StreamConfig } from "./config.ts";
import { resultStream } from "./plans.ts";
import { nearest } from "./suggest.ts";

/** What queries are from: streams of events, and the results of other queries. */
export class QuerySources {
  readonly #streams: ReadonlyMap<string, StreamConfig>;
  readonly #queries: ReadonlyMap<string, QueryConfig>;

  constructor(streams: ReadonlyMap<string, StreamConfig>, queries: ReadonlyMap<string, QueryConfig>) {
    this.#streams = streams;
    this.#queries = queries;
  }

  /** The query as it is when `from` names another query, whose groups are then its own unless it says otherwise. */
  place(query: QueryConfig): QueryConfig {
    const upstream = this.#upstream(query);
    if (upstream === undefined || this.#cycle(query) !== null) return query;
    return { ...query, isOnQuery: true, by: query.by ?? this.place(upstream).by };
  }

  /** The stream of events or results that the query is from. */
  of(query: QueryConfig): StreamConfig | undefined {
    const stream = this.#streams.get(query.from);
    const upstream = this.#upstream(query);
    if (stream !== undefined || upstream === undefined || this.#cycle(query) !== null) return stream;
    const source = this.of(upstream);
    return source === undefined ? undefined : resultStream(this.place(upstream), source);
  }

  /** Why the query cannot be from there: `what is wrong; what to do`. */
  explain(query: QueryConfig): string | null {
    const { from } = query;
    if (this.#streams.has(from)) return null;
    const upstream = this.#upstream(query);
    if (upstream === undefined) {
      const hint = nearest(from, [...this.#streams.keys(), ...this.#queries.keys()]);
      const fix = hint === null ? "declare it under streams:" : `did you mean \`${hint}\`?`;
      return `there is no stream ${from}; ${fix}`;
    }
    const cycle = this.#cycle(query);
    if (cycle !== null) return `goes round in a circle (${cycle.join(" → ")}); start from a stream`;
    if (upstream.window.kind === "none")
      return `${from} gives a row for each event; start from the stream, with the same where and derive`;
    if (this.of(upstream)?.watermark.per !== "key") return null;
    return `${from} closes its windows by the clocks of their keys, so there is no watermark to follow; use per: stream or source`;
  }

  #upstream({ from }: QueryConfig): QueryConfig | undefined {
    return this.#streams.has(from) ? undefined : this.#queries.get(from);
  }

  /** The queries from this one on, when they come round; else null. */
  #cycle(query: QueryConfig): readonly string[] | null {
    const path = [query.name];
    let at = this.#upstream(query);
    while (at !== undefined) {
      const isRound = path.includes(at.name);
      path.push(at.name);
      if (isRound) return path;
      at = this.#upstream(at);
    }
    return null;
  }
}
