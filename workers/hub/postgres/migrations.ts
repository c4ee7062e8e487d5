/**
 * The history of the hub's schema in PostgreSQL, which is named `millrace`: one entry a release that changed it. Never edit an
 * entry that was released: add one. Texts that pages are ordered by are compared byte by byte (COLLATE "C"), as SQLite does.
 */
export const POSTGRES_MIGRATIONS: readonly string[] = [
  `
  CREATE FUNCTION at_us(us bigint) RETURNS timestamptz LANGUAGE sql STABLE AS
    $$ SELECT timestamptz 'epoch' + us * interval '1 microsecond' $$;
  CREATE FUNCTION us_of(at timestamptz) RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT (extract(epoch FROM at) * 1000000)::bigint $$;

  CREATE TABLE edges (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    batches bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    wire_bytes bigint NOT NULL DEFAULT 0
  );
  CREATE TABLE incarnations (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    edge_id integer NOT NULL REFERENCES edges,
    name text COLLATE "C" NOT NULL,
    start_number bigint NOT NULL,
    start_id text NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    copies bigint NOT NULL DEFAULT 0,
    conflicts bigint NOT NULL DEFAULT 0,
    UNIQUE (edge_id, name)
  );
  CREATE TABLE starts (
    incarnation_id integer NOT NULL REFERENCES incarnations,
    number bigint NOT NULL,
    id text NOT NULL,
    PRIMARY KEY (incarnation_id, number, id)
  );
  CREATE TABLE streams (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE
  );
  CREATE TABLE edge_streams (
    edge_id integer NOT NULL REFERENCES edges,
    stream_id integer NOT NULL REFERENCES streams,
    time_field text NOT NULL DEFAULT 'ts',
    key_fields json NOT NULL DEFAULT '[]',
    events bigint NOT NULL DEFAULT 0,
    stored_bytes bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (edge_id, stream_id)
  );
  CREATE TABLE totals (
    incarnation_id integer NOT NULL REFERENCES incarnations,
    stream_id integer NOT NULL REFERENCES streams,
    accepted bigint NOT NULL,
    dead_lettered bigint NOT NULL,
    late bigint NOT NULL,
    clock_skewed bigint NOT NULL,
    PRIMARY KEY (incarnation_id, stream_id)
  );
  CREATE TABLE batches (
    edge_id integer NOT NULL REFERENCES edges,
    key text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (edge_id, key)
  );
  CREATE INDEX batches_by_age ON batches (at);
  CREATE TABLE blocks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    edge_id integer NOT NULL REFERENCES edges,
    stream_id integer NOT NULL REFERENCES streams,
    incarnation_id integer NOT NULL REFERENCES incarnations,
    seq bigint NOT NULL,
    digest text NOT NULL,
    arrived_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    count integer NOT NULL,
    bytes integer NOT NULL,
    resolution_us bigint NOT NULL,
    UNIQUE (incarnation_id, seq, digest)
  );
  CREATE TABLE event_rows (
    time timestamptz NOT NULL,
    block_id bigint NOT NULL,
    stream_id integer NOT NULL,
    edge_id integer NOT NULL,
    "row" integer NOT NULL,
    key text COLLATE "C",
    other_keys text[],
    event json NOT NULL
  ) PARTITION BY RANGE (time);
  CREATE INDEX event_rows_by_time ON event_rows (stream_id, time, block_id, "row");
  CREATE TABLE event_rows_other PARTITION OF event_rows DEFAULT;
  CREATE TABLE results (
    query text COLLATE "C" NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL,
    key text COLLATE "C" NOT NULL,
    edge_id integer NOT NULL REFERENCES edges,
    revision bigint NOT NULL,
    kind text NOT NULL,
    key_texts text[] NOT NULL,
    "values" json NOT NULL,
    retracted boolean NOT NULL,
    incarnation_id integer NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (query, window_start, key, window_end, edge_id, revision)
  );
  CREATE TABLE query_spans (query text COLLATE "C" PRIMARY KEY, longest_us bigint NOT NULL);
  CREATE TABLE cleared (
    edge_id integer NOT NULL,
    query text COLLATE "C" NOT NULL,
    incarnation_id integer NOT NULL,
    from_time timestamptz NOT NULL,
    version bigint NOT NULL,
    PRIMARY KEY (edge_id, query, incarnation_id, from_time)
  );
  CREATE TABLE alerts (
    alert text COLLATE "C" NOT NULL,
    since timestamptz NOT NULL,
    key text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    edge_id integer NOT NULL REFERENCES edges,
    definition text NOT NULL,
    severity text NOT NULL,
    state text NOT NULL,
    at timestamptz NOT NULL,
    key_texts text[] NOT NULL,
    value json NOT NULL,
    retracted boolean NOT NULL,
    is_latest boolean NOT NULL DEFAULT true,
    PRIMARY KEY (since, alert, key, id, revision, edge_id)
  );
  CREATE INDEX alerts_steps ON alerts (alert, since, key, id, edge_id, revision);
  CREATE INDEX alerts_open ON alerts (edge_id) WHERE is_latest AND state <> 'resolved';
  CREATE TABLE losses (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    edge_id integer NOT NULL REFERENCES edges,
    incarnation_id integer NOT NULL,
    loss_id bigint NOT NULL,
    stream text COLLATE "C",
    from_time timestamptz NOT NULL,
    to_time timestamptz NOT NULL,
    count bigint NOT NULL,
    bytes bigint NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    subject text,
    UNIQUE (incarnation_id, loss_id, at)
  );
  CREATE INDEX losses_by_stream ON losses (edge_id, stream);

  CREATE VIEW events AS
    SELECT e.name AS edge, s.name AS stream, r.time, r.key, r.event
    FROM event_rows r JOIN edges e ON e.id = r.edge_id JOIN streams s ON s.id = r.stream_id;
  CREATE VIEW latest_results AS
    SELECT e.name AS edge, r.query, r.window_start, r.window_end, r.key::jsonb AS key, r."values"::jsonb AS "values", r.revision, r.kind
    FROM results r JOIN edges e ON e.id = r.edge_id
    WHERE NOT r.retracted AND r.revision = (SELECT max(n.revision) FROM results n WHERE n.query = r.query
      AND n.window_start = r.window_start AND n.key = r.key AND n.window_end = r.window_end AND n.edge_id = r.edge_id);
  CREATE VIEW latest_alerts AS
    SELECT e.name AS edge, a.alert, a.severity, a.state, a.key::jsonb AS key, a.since, a.at, a.value
    FROM alerts a JOIN edges e ON e.id = a.edge_id WHERE a.is_latest AND NOT a.retracted;
  `,
  `
  CREATE TABLE records (
    kind text NOT NULL,
    name text NOT NULL,
    revision integer NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (kind, name)
  );
  `,
  `
  CREATE TABLE parked (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL UNIQUE,
    edge text NOT NULL,
    key text NOT NULL,
    code text NOT NULL,
    detail text NOT NULL,
    at timestamptz NOT NULL,
    body bytea NOT NULL
  );
  `,
  // `event` is as SQL can read it; `original` is what came, where that differs.
  "ALTER TABLE event_rows ADD COLUMN original text;",
  // A text that PostgreSQL cannot make of one row's JSON must not fail a query of all.
  `
  CREATE OR REPLACE VIEW latest_results AS
    SELECT e.name AS edge, r.query, r.window_start, r.window_end, replace(r.key, '\\u0000', '\\ufffd')::jsonb AS key,
      replace(r."values"::text, '\\u0000', '\\ufffd')::jsonb AS "values", r.revision, r.kind
    FROM results r JOIN edges e ON e.id = r.edge_id
    WHERE NOT r.retracted AND r.revision = (SELECT max(n.revision) FROM results n WHERE n.query = r.query
      AND n.window_start = r.window_start AND n.key = r.key AND n.window_end = r.window_end AND n.edge_id = r.edge_id);
  CREATE OR REPLACE VIEW latest_alerts AS
    SELECT e.name AS edge, a.alert, a.severity, a.state, replace(a.key, '\\u0000', '\\ufffd')::jsonb AS key, a.since, a.at,
      replace(a.value::text, '\\u0000', '\\ufffd')::json AS value
    FROM alerts a JOIN edges e ON e.id = a.edge_id WHERE a.is_latest AND NOT a.retracted;
  `,
  // Attributes of devices, the clock of each edge, and what is told of data directories by who speaks after whom.
  `
  ALTER TABLE edges ADD COLUMN hlc_ms bigint NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN hlc_counter bigint NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN attributes bigint NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN attributes_refused bigint NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN refused_at timestamptz;
  ALTER TABLE edges ADD COLUMN refused_why text;
  ALTER TABLE edges ADD COLUMN current_incarnation text;
  ALTER TABLE edges ADD COLUMN current_since_us bigint NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN has_returned boolean NOT NULL DEFAULT false;
  UPDATE edges SET current_incarnation =
    (SELECT i.name FROM incarnations i WHERE i.edge_id = edges.id ORDER BY i.last_seen DESC, i.id DESC LIMIT 1);
  ALTER TABLE incarnations ADD COLUMN current_id text NOT NULL DEFAULT '';
  ALTER TABLE incarnations ADD COLUMN current_since_us bigint NOT NULL DEFAULT 0;
  ALTER TABLE incarnations ADD COLUMN notice text;
  ALTER TABLE incarnations ADD COLUMN notice_start text;
  UPDATE incarnations SET current_id = start_id;
  CREATE TABLE identity_cases (
    edge_id integer NOT NULL REFERENCES edges,
    incarnation_id integer NOT NULL REFERENCES incarnations,
    kind text NOT NULL,
    times bigint NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (edge_id, incarnation_id, kind)
  );
  CREATE TABLE attributes (
    edge_id integer NOT NULL REFERENCES edges,
    device text COLLATE "C" NOT NULL,
    attribute text COLLATE "C" NOT NULL,
    value text COLLATE "C",
    ms bigint NOT NULL,
    counter bigint NOT NULL,
    incarnation text COLLATE "C" NOT NULL,
    PRIMARY KEY (edge_id, device, attribute)
  );
  CREATE TABLE start_totals (
    incarnation_id integer NOT NULL REFERENCES incarnations,
    stream_id integer NOT NULL REFERENCES streams,
    start_id text NOT NULL,
    accepted_base bigint NOT NULL,
    accepted bigint NOT NULL,
    dead_lettered_base bigint NOT NULL,
    dead_lettered bigint NOT NULL,
    late_base bigint NOT NULL,
    late bigint NOT NULL,
    clock_skewed_base bigint NOT NULL,
    clock_skewed bigint NOT NULL,
    PRIMARY KEY (incarnation_id, stream_id, start_id)
  );
  CREATE VIEW device_attributes AS
    SELECT e.name AS edge, a.device, a.attribute, replace(a.value, '\\u0000', '\\ufffd')::jsonb AS value, at_us(a.ms * 1000) AS at
    FROM attributes a JOIN edges e ON e.id = a.edge_id WHERE a.value IS NOT NULL;
  `,
  // Books for audits. What was taken before is counted there, but not hashed.
  `
  ALTER TABLE blocks ADD COLUMN is_booked boolean NOT NULL DEFAULT false;
  CREATE TABLE audit_sums (
    incarnation_id integer NOT NULL REFERENCES incarnations,
    stream_id integer NOT NULL REFERENCES streams,
    resolution_us bigint NOT NULL,
    hour timestamptz NOT NULL,
    count bigint NOT NULL,
    high numeric(20) NOT NULL,
    low numeric(20) NOT NULL,
    PRIMARY KEY (incarnation_id, stream_id, resolution_us, hour)
  );
  CREATE INDEX audit_sums_by_hour ON audit_sums (hour);
  CREATE TABLE expired (id boolean PRIMARY KEY DEFAULT true CHECK (id), before timestamptz NOT NULL);
  `,
  // Hashes by the second version of the function, of so many of the events. A hub of an earlier release that is still at work adds
  // to the count and the first version's lanes alone.
  `
  ALTER TABLE audit_sums ADD COLUMN hashed bigint NOT NULL DEFAULT 0;
  ALTER TABLE audit_sums ADD COLUMN high_2 numeric(20) NOT NULL DEFAULT 0;
  ALTER TABLE audit_sums ADD COLUMN low_2 numeric(20) NOT NULL DEFAULT 0;
  `,
];
