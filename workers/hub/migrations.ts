/** The history of the hub's database: one entry a release that changed it. Never edit an entry that was released: add one. */
export const HUB_MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE edges (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    batches INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0,
    wire_bytes INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE incarnations (
    id INTEGER PRIMARY KEY,
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    name TEXT NOT NULL,
    start_number INTEGER NOT NULL,
    start_id TEXT NOT NULL,
    first_seen_us INTEGER NOT NULL,
    last_seen_us INTEGER NOT NULL,
    copies INTEGER NOT NULL DEFAULT 0,
    conflicts INTEGER NOT NULL DEFAULT 0,
    UNIQUE (edge_id, name)
  );
  CREATE TABLE starts (
    incarnation_id INTEGER NOT NULL REFERENCES incarnations(id),
    number INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (incarnation_id, number, id)
  ) WITHOUT ROWID;
  CREATE TABLE streams (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
  CREATE TABLE edge_streams (
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    time_field TEXT NOT NULL DEFAULT 'ts',
    key_fields TEXT NOT NULL DEFAULT '[]',
    events INTEGER NOT NULL DEFAULT 0,
    stored_bytes INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (edge_id, stream_id)
  ) WITHOUT ROWID;
  CREATE TABLE totals (
    incarnation_id INTEGER NOT NULL REFERENCES incarnations(id),
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    accepted INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    late INTEGER NOT NULL,
    clock_skewed INTEGER NOT NULL,
    PRIMARY KEY (incarnation_id, stream_id)
  ) WITHOUT ROWID;
  CREATE TABLE batches (
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    key TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (edge_id, key)
  ) WITHOUT ROWID;
  CREATE INDEX batches_by_age ON batches (at_us);
  CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    incarnation_id INTEGER NOT NULL REFERENCES incarnations(id),
    seq INTEGER NOT NULL,
    digest TEXT NOT NULL,
    arrival_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    min_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    codec TEXT NOT NULL,
    encoded_bytes INTEGER NOT NULL,
    resolution_us INTEGER NOT NULL,
    data BLOB NOT NULL,
    UNIQUE (incarnation_id, seq, digest)
  );
  CREATE INDEX blocks_by_time ON blocks (stream_id, min_us, max_us, count, edge_id);
  CREATE TABLE results (
    query TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    key TEXT NOT NULL,
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    retracted INTEGER NOT NULL,
    incarnation_id INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (query, start_us, key, end_us, edge_id, revision)
  ) WITHOUT ROWID;
  CREATE TABLE query_spans (query TEXT PRIMARY KEY, longest_us INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE cleared (
    edge_id INTEGER NOT NULL,
    query TEXT NOT NULL,
    incarnation_id INTEGER NOT NULL,
    from_us INTEGER NOT NULL,
    version INTEGER NOT NULL,
    PRIMARY KEY (edge_id, query, incarnation_id, from_us)
  ) WITHOUT ROWID;
  CREATE TABLE alerts (
    alert TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    definition TEXT NOT NULL,
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    value TEXT NOT NULL,
    retracted INTEGER NOT NULL,
    is_latest INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (since_us, alert, key, id, revision, edge_id)
  ) WITHOUT ROWID;
  CREATE INDEX alerts_open ON alerts (edge_id) WHERE is_latest = 1 AND state <> 'resolved';
  CREATE TABLE losses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    incarnation_id INTEGER NOT NULL,
    loss_id INTEGER NOT NULL,
    stream TEXT,
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT,
    UNIQUE (incarnation_id, loss_id, at_us)
  );
  `,
  `
  CREATE TABLE records (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (kind, name)
  ) WITHOUT ROWID;
  `,
  `
  CREATE TABLE parked (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL UNIQUE,
    edge TEXT NOT NULL,
    key TEXT NOT NULL,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    body BLOB NOT NULL
  );
  `,
  // Attributes of devices, the clock of each edge, and what is told of data directories by who speaks after whom.
  `
  ALTER TABLE edges ADD COLUMN hlc_ms INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN hlc_counter INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN attributes INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN attributes_refused INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN refused_us INTEGER;
  ALTER TABLE edges ADD COLUMN refused_why TEXT;
  ALTER TABLE edges ADD COLUMN current_incarnation TEXT;
  ALTER TABLE edges ADD COLUMN current_since_us INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE edges ADD COLUMN has_returned INTEGER NOT NULL DEFAULT 0;
  UPDATE edges SET current_incarnation =
    (SELECT i.name FROM incarnations i WHERE i.edge_id = edges.id ORDER BY i.last_seen_us DESC, i.id DESC LIMIT 1);
  ALTER TABLE incarnations ADD COLUMN current_id TEXT NOT NULL DEFAULT '';
  ALTER TABLE incarnations ADD COLUMN current_since_us INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE incarnations ADD COLUMN notice TEXT;
  ALTER TABLE incarnations ADD COLUMN notice_start TEXT;
  UPDATE incarnations SET current_id = start_id;
  CREATE TABLE identity_cases (
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    incarnation_id INTEGER NOT NULL REFERENCES incarnations(id),
    kind TEXT NOT NULL,
    times INTEGER NOT NULL,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    PRIMARY KEY (edge_id, incarnation_id, kind)
  ) WITHOUT ROWID;
  CREATE TABLE attributes (
    edge_id INTEGER NOT NULL REFERENCES edges(id),
    device TEXT NOT NULL,
    attribute TEXT NOT NULL,
    value TEXT,
    ms INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    incarnation TEXT NOT NULL,
    PRIMARY KEY (edge_id, device, attribute)
  ) WITHOUT ROWID;
  CREATE TABLE start_totals (
    incarnation_id INTEGER NOT NULL REFERENCES incarnations(id),
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    start_id TEXT NOT NULL,
    accepted_base INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    dead_lettered_base INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    late_base INTEGER NOT NULL,
    late INTEGER NOT NULL,
    clock_skewed_base INTEGER NOT NULL,
    clock_skewed INTEGER NOT NULL,
    PRIMARY KEY (incarnation_id, stream_id, start_id)
  ) WITHOUT ROWID;
  `,
  // What goes by retention or is merged: its name, and what it came to. The bytes are read from the row's head alone.
  `
  ALTER TABLE blocks ADD COLUMN stored_bytes INTEGER GENERATED ALWAYS AS (length(data)) VIRTUAL;
  CREATE INDEX blocks_by_age ON blocks (stream_id, max(max_us, received_us), stored_bytes);
  CREATE INDEX blocks_small ON blocks (incarnation_id, stream_id, resolution_us, id, received_us, stored_bytes)
    WHERE stored_bytes < 65536;
  CREATE TABLE gone_blocks (
    incarnation_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (incarnation_id, seq, digest)
  ) WITHOUT ROWID;
  CREATE TABLE expired_sums (
    incarnation_id INTEGER NOT NULL REFERENCES incarnations(id),
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    resolution_us INTEGER NOT NULL,
    hour_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (incarnation_id, stream_id, resolution_us, hour_us)
  ) WITHOUT ROWID;
  `,
  // The version of the function that an hour's hash was made by, or begun by.
  "ALTER TABLE expired_sums ADD COLUMN version INTEGER NOT NULL DEFAULT 1",
];
