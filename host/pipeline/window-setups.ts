import type { ResultsSetup, WindowSetup } from "../../workers/messages.ts";
import { resultsSetup } from "../config/plans.ts";
import type { RunningStream } from "./stream-registry.ts";

/** What the window thread must know of a stream, and then of its queries' results, which other queries are from. */
export function windowSetups(
  stream: RunningStream,
  maxSources: number,
  results?: ResultsSetup,
): WindowSetup[] {
  const { name, key, watermark } = stream.config;
  const { boundUs, idleUs, per } = watermark;
  const queries = stream.queries.map((query) => query.plan);
  const setup = {
    stream: name,
    boundUs,
    idleUs,
    per,
    key: key.fields,
    maxSources,
    queries,
    alerts: stream.alerts,
  };
  const above = stream.queries.flatMap(({ plan: below, asStream }) =>
    asStream === null ? [] : windowSetups(asStream, maxSources, resultsSetup(below)),
  );
  return [results === undefined ? setup : { ...setup, results }, ...above];
}
