/** The tables of the postgres sink, in a schema named as SQL has it: quoted. */
export function schemaStatements(schema: string): readonly string[] {
  return [
    `CREATE SCHEMA IF NOT EXISTS ${schema}`,
    `CREATE TABLE IF NOT EXISTS ${schema}.batches (
      edge text NOT NULL, key text NOT NULL, at timestamptz NOT NULL DEFAULT now(), rows bigint NOT NULL,
      PRIMARY KEY (edge, key))`,
    `CREATE TABLE IF NOT EXISTS ${schema}.events (
      edge text NOT NULL, stream text NOT NULL, ts timestamptz NOT NULL, event jsonb NOT NULL)`,
    `CREATE INDEX IF NOT EXISTS events_by_time ON ${schema}.events (stream, ts)`,
    `CREATE TABLE IF NOT EXISTS ${schema}.downsampled (LIKE ${schema}.events INCLUDING ALL)`,
    `CREATE TABLE IF NOT EXISTS ${schema}.results (
      edge text NOT NULL, query text NOT NULL, window_start timestamptz NOT NULL, window_end timestamptz NOT NULL,
      key jsonb NOT NULL, "values" jsonb NOT NULL, revision bigint NOT NULL, kind text NOT NULL,
      retracted boolean NOT NULL, incarnation text NOT NULL, id bigint NOT NULL,
      PRIMARY KEY (query, window_start, edge, window_end, key, revision))`,
    `CREATE TABLE IF NOT EXISTS ${schema}.cleared (
      edge text NOT NULL, query text NOT NULL, incarnation text NOT NULL, from_time timestamptz NOT NULL,
      id bigint NOT NULL, PRIMARY KEY (edge, query, incarnation, from_time))`,
    `CREATE TABLE IF NOT EXISTS ${schema}.alerts (
      edge text NOT NULL, alert text NOT NULL, since timestamptz NOT NULL, key jsonb NOT NULL, episode text NOT NULL,
      revision bigint NOT NULL, severity text NOT NULL, state text NOT NULL, at timestamptz NOT NULL, value jsonb,
      retracted boolean NOT NULL, PRIMARY KEY (alert, since, key, episode, revision, edge))`,
    `CREATE TABLE IF NOT EXISTS ${schema}.losses (
      edge text NOT NULL, incarnation text NOT NULL, id bigint NOT NULL, stream text, "from" timestamptz NOT NULL,
      "to" timestamptz NOT NULL, count bigint NOT NULL, bytes bigint NOT NULL, reason text NOT NULL,
      at timestamptz NOT NULL, kind text NOT NULL, subject text, PRIMARY KEY (edge, incarnation, id))`,
    `CREATE TABLE IF NOT EXISTS ${schema}.attributes (
      edge text NOT NULL, device text NOT NULL, attribute text NOT NULL, value jsonb, removed boolean NOT NULL,
      at timestamptz NOT NULL, ms bigint NOT NULL, counter bigint NOT NULL, incarnation text COLLATE "C" NOT NULL,
      PRIMARY KEY (edge, device, attribute))`,
  ];
}

/** Several edges may begin at once; of those that make the tables together, one would fail. */
export const SCHEMA_LOCK = 7_235_118;

/** What rows of JSON become; `$1` is a JSON array of them, `$2` the data directory they come from. */
export function rowStatements(
  schema: string,
): Readonly<Record<"results" | "alerts" | "losses" | "attributes", readonly string[]>> {
  return {
    results: [
      `INSERT INTO ${schema}.cleared (edge, query, incarnation, from_time, id)
       SELECT edge, query, $2::text, (cleared->>'from')::timestamptz, max(id)
       FROM jsonb_to_recordset($1::text::jsonb) AS r(edge text, query text, cleared jsonb, id bigint)
       WHERE cleared IS NOT NULL GROUP BY 1, 2, 4
       ON CONFLICT (edge, query, incarnation, from_time) DO UPDATE SET id = greatest(cleared.id, excluded.id)`,
      // What is there already, of a life of the edge before, or made before it was cleared.
      `DELETE FROM ${schema}.results r USING (
         SELECT edge, query, (cleared->>'from')::timestamptz AS from_time, id
         FROM jsonb_to_recordset($1::text::jsonb) AS r(edge text, query text, cleared jsonb, id bigint)
         WHERE cleared IS NOT NULL) c
       WHERE r.edge = c.edge AND r.query = c.query AND r.window_start >= c.from_time
         AND (r.incarnation <> $2::text OR r.id < c.id)`,
      // Results come the newest first: what is older than what is there, or than what cleared it, is passed over.
      `INSERT INTO ${schema}.results
         (edge, query, window_start, window_end, key, "values", revision, kind, retracted, incarnation, id)
       SELECT DISTINCT ON (query, start, edge, "end", key, revision)
         edge, query, start, "end", key, "values", revision, kind, retracted, $2::text, id
       FROM (
         SELECT edge, query, (win->>'start')::timestamptz AS start, (win->>'end')::timestamptz AS "end", key, "values",
           revision, kind, coalesce(retracted, false) AS retracted, id
         FROM (SELECT r.*, r."window" AS win FROM jsonb_to_recordset($1::text::jsonb) AS r(
           edge text, query text, "window" jsonb, key jsonb, "values" jsonb, revision bigint, kind text,
           retracted boolean, id bigint)) w
         WHERE win IS NOT NULL) n
       WHERE NOT EXISTS (SELECT 1 FROM ${schema}.cleared c WHERE c.edge = n.edge AND c.query = n.query
         AND c.incarnation = $2::text AND c.id > n.id AND n.start >= c.from_time)
       ORDER BY query, start, edge, "end", key, revision, id DESC
       ON CONFLICT (query, window_start, edge, window_end, key, revision) DO UPDATE SET
         "values" = excluded."values", kind = excluded.kind, retracted = excluded.retracted,
         incarnation = excluded.incarnation, id = excluded.id
       WHERE excluded.incarnation <> results.incarnation OR excluded.id >= results.id`,
    ],
    alerts: [
      `INSERT INTO ${schema}.alerts
         (edge, alert, since, key, episode, revision, severity, state, at, value, retracted)
       SELECT edge, alert, since, key, episode, revision, severity, state, at, value, coalesce(retracted, false)
       FROM jsonb_to_recordset($1::text::jsonb) AS r(edge text, alert text, since timestamptz, key jsonb, episode text,
         revision bigint, severity text, state text, at timestamptz, value jsonb, retracted boolean)
       ON CONFLICT DO NOTHING`,
    ],
    losses: [
      `INSERT INTO ${schema}.losses
         (edge, incarnation, id, stream, "from", "to", count, bytes, reason, at, kind, subject)
       SELECT edge, $2::text, id, stream, "from", "to", count, bytes, reason, at, kind, subject
       FROM jsonb_to_recordset($1::text::jsonb) AS r(edge text, id bigint, stream text, "from" timestamptz,
         "to" timestamptz, count bigint, bytes bigint, reason text, at timestamptz, kind text, subject text)
       ON CONFLICT DO NOTHING`,
    ],
    // The last writer wins: by the clock, then by the name of the data directory, then by the value itself.
    attributes: [
      `INSERT INTO ${schema}.attributes (edge, device, attribute, value, removed, at, ms, counter, incarnation)
       SELECT DISTINCT ON (edge, device, attribute)
         edge, device, attribute, CASE WHEN removed THEN NULL ELSE value END, removed, at, ms, counter, $2::text
       FROM jsonb_to_recordset($1::text::jsonb) AS r(edge text, device text, attribute text, value jsonb, removed boolean,
         at timestamptz, ms bigint, counter bigint)
       ORDER BY edge, device, attribute, ms DESC, counter DESC, coalesce(value::text, '') COLLATE "C" DESC
       ON CONFLICT (edge, device, attribute) DO UPDATE SET value = excluded.value, removed = excluded.removed,
         at = excluded.at, ms = excluded.ms, counter = excluded.counter, incarnation = excluded.incarnation
       WHERE (excluded.ms, excluded.counter, excluded.incarnation, coalesce(excluded.value::text, '') COLLATE "C")
         > (attributes.ms, attributes.counter, attributes.incarnation, coalesce(attributes.value::text, '') COLLATE "C")`,
    ],
  };
}
