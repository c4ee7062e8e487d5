/**
 * The database's history, one entry a release that changed it. Never edit an entry that was released: add one.
 * `PRAGMA user_version` says how many were applied.
 */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    schema_version INTEGER NOT NULL DEFAULT 0,
    schema TEXT NOT NULL DEFAULT '[]',
    accepted INTEGER NOT NULL DEFAULT 0,
    dead_lettered INTEGER NOT NULL DEFAULT 0,
    late INTEGER NOT NULL DEFAULT 0,
    clock_skewed INTEGER NOT NULL DEFAULT 0
  );
  CREATE TABLE schemas (
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    version INTEGER NOT NULL,
    fields TEXT NOT NULL,
    since_seq INTEGER NOT NULL,
    PRIMARY KEY (stream_id, version)
  ) WITHOUT ROWID;
  CREATE TABLE counters (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    next_seq INTEGER NOT NULL,
    dead_letters INTEGER NOT NULL,
    idempotency_keys INTEGER NOT NULL
  );
  INSERT INTO counters VALUES (1, 1, 0, 0);
  CREATE TABLE blocks (
    seq INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    arrival_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    min_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    codec TEXT NOT NULL,
    encoded_bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    data BLOB NOT NULL
  );
  CREATE INDEX blocks_by_time ON blocks (stream_id, min_us, max_us, count, stored_bytes);
  CREATE TABLE watermarks (
    seq INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    time_us INTEGER
  );
  CREATE TABLE idempotency (
    stream_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    accepted INTEGER NOT NULL,
    dead_lettered INTEGER NOT NULL,
    PRIMARY KEY (stream_id, key)
  ) WITHOUT ROWID;
  CREATE INDEX idempotency_by_age ON idempotency (at_us);
  CREATE TABLE results (
    query TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    end_us INTEGER NOT NULL,
    key TEXT NOT NULL,
    revision INTEGER NOT NULL,
    kind TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (query, start_us, key, end_us, revision)
  ) WITHOUT ROWID;
  CREATE TABLE query_spans (query TEXT PRIMARY KEY, longest_us INTEGER NOT NULL) WITHOUT ROWID;
  CREATE TABLE late (
    source_seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    at_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    codec TEXT NOT NULL,
    encoded_bytes INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (source_seq, reason)
  );
  CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    at_us INTEGER NOT NULL,
    line INTEGER NOT NULL,
    path TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    text TEXT NOT NULL
  );
  CREATE TABLE losses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_us INTEGER NOT NULL
  );
  CREATE TABLE checkpoints (seq INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, state BLOB NOT NULL);
  `,
  // A window that was shown and is no more: sessions grow together.
  "ALTER TABLE results ADD COLUMN retracted INTEGER NOT NULL DEFAULT 0",
  `
  CREATE TABLE ticks (
    seq INTEGER PRIMARY KEY,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    at_us INTEGER NOT NULL,
    is_resume INTEGER NOT NULL
  );
  ALTER TABLE late RENAME TO late_before;
  CREATE TABLE late (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source_seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    at_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    min_us INTEGER,
    max_us INTEGER,
    codec TEXT NOT NULL,
    encoded_bytes INTEGER NOT NULL,
    data BLOB NOT NULL,
    applied_us INTEGER,
    UNIQUE (source_seq, reason)
  );
  INSERT INTO late (source_seq, reason, stream_id, at_us, count, codec, encoded_bytes, data)
    SELECT source_seq, reason, stream_id, at_us, count, codec, encoded_bytes, data FROM late_before ORDER BY rowid;
  DROP TABLE late_before;
  CREATE INDEX late_by_stream ON late (stream_id, id);
  ALTER TABLE streams ADD COLUMN time_sources TEXT NOT NULL DEFAULT '[]';
  CREATE INDEX late_unapplied ON late (stream_id, id) WHERE applied_us IS NULL;
  `,
  // Steps of alerts, and the outbox of what is posted of them.
  `
  CREATE TABLE alerts (
    alert TEXT NOT NULL,
    since_us INTEGER NOT NULL,
    key TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    definition TEXT NOT NULL,
    severity TEXT NOT NULL,
    state TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    value TEXT NOT NULL,
    retracted INTEGER NOT NULL,
    is_latest INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (since_us, alert, key, id, revision)
  ) WITHOUT ROWID;
  CREATE INDEX alerts_open ON alerts (definition) WHERE is_latest = 1 AND state <> 'resolved';
  CREATE TABLE webhooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    alert TEXT NOT NULL,
    url TEXT NOT NULL,
    episode TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at_us INTEGER NOT NULL,
    is_set_aside INTEGER NOT NULL DEFAULT 0,
    last_error TEXT,
    UNIQUE (url, idempotency_key)
  );
  CREATE INDEX webhooks_by_episode ON webhooks (url, episode, id) WHERE is_set_aside = 0;
  CREATE INDEX webhooks_by_url ON webhooks (url, next_at_us, id) WHERE is_set_aside = 0;
  CREATE INDEX webhooks_due ON webhooks (next_at_us) WHERE is_set_aside = 0;
  `,
  // The sets of queries that were in force, each from its place in the log on.
  "CREATE TABLE configs (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)",
  // The balance of events, and blocks of aggregates. What the ledger held so far were dead letters alone.
  `
  ALTER TABLE streams ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE streams ADD COLUMN evicted INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE streams ADD COLUMN downsampled INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE streams ADD COLUMN given_up INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE streams ADD COLUMN expired INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE streams ADD COLUMN corrupt INTEGER NOT NULL DEFAULT 0;
  UPDATE streams SET held = (SELECT coalesce(sum(count), 0) FROM blocks WHERE stream_id = streams.id);
  ALTER TABLE blocks ADD COLUMN resolution_us INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX blocks_by_state ON blocks (state, resolution_us, stream_id, seq);
  ALTER TABLE losses RENAME TO losses_before;
  CREATE TABLE losses (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    stream_id INTEGER REFERENCES streams(id),
    from_us INTEGER NOT NULL,
    to_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    kind TEXT NOT NULL DEFAULT 'events',
    subject TEXT
  );
  INSERT INTO losses (id, stream_id, from_us, to_us, count, bytes, reason, at_us, kind)
    SELECT id, stream_id, from_us, to_us, count, bytes, reason, at_us, 'dead-letters' FROM losses_before ORDER BY id;
  DROP TABLE losses_before;
  `,
  // Rows of reference tables, and which entry of the log has them in force.
  `
  CREATE TABLE reference_tables (digest TEXT PRIMARY KEY, body TEXT NOT NULL);
  CREATE TABLE config_tables (
    seq INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (seq, digest)
  ) WITHOUT ROWID;
  `,
  // Which keys a block may hold; not every block has such a row.
  `
  CREATE TABLE block_keys (
    seq INTEGER PRIMARY KEY REFERENCES blocks(seq) ON DELETE CASCADE,
    fields TEXT NOT NULL,
    filter BLOB NOT NULL
  );
  `,
  // Checkpoints in pieces: what one checkpoint has written is a segment, and needs those from its first on.
  `
  CREATE TABLE checkpoint_pieces (
    segment INTEGER NOT NULL,
    number INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (segment, number)
  );
  ALTER TABLE checkpoints ADD COLUMN first_segment INTEGER;
  ALTER TABLE checkpoints ADD COLUMN last_segment INTEGER;
  ALTER TABLE checkpoints ADD COLUMN pieces INTEGER;
  `,
  // Keys of sealed values, wrapped; and how far what was stored before there were any is sealed.
  `
  CREATE TABLE seal_keys (
    id INTEGER PRIMARY KEY,
    purpose TEXT NOT NULL,
    master TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    uses INTEGER NOT NULL
  );
  CREATE TABLE seal_progress (kind TEXT PRIMARY KEY, after_id INTEGER NOT NULL, last_id INTEGER NOT NULL) WITHOUT ROWID;
  `,
  // The newest event that is not held any more as it came; null: all are.
  "ALTER TABLE streams ADD COLUMN gone_us INTEGER",
  // What sinks are still to get, and the batches it is sent in.
  `
  CREATE TABLE sync_node (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    incarnation TEXT NOT NULL,
    starts INTEGER NOT NULL
  );
  INSERT INTO sync_node VALUES (1, lower(hex(randomblob(16))), 0);
  CREATE TABLE sync_sinks (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE);
  CREATE TABLE sync_positions (
    sink INTEGER NOT NULL,
    flow TEXT NOT NULL,
    after_id INTEGER NOT NULL,
    PRIMARY KEY (sink, flow)
  ) WITHOUT ROWID;
  CREATE TABLE sync_batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sink INTEGER NOT NULL,
    class TEXT NOT NULL,
    items INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    strikes INTEGER NOT NULL DEFAULT 0,
    next_at_us INTEGER NOT NULL DEFAULT 0,
    reason TEXT,
    parked_us INTEGER
  );
  CREATE TABLE sync_items (
    batch INTEGER NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (batch, id)
  ) WITHOUT ROWID;
  CREATE TABLE sync_delivered (
    seq INTEGER NOT NULL,
    sink INTEGER NOT NULL,
    PRIMARY KEY (seq, sink)
  ) WITHOUT ROWID;
  CREATE TABLE outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    class TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    codec TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    left_sinks INTEGER NOT NULL,
    is_sealed INTEGER NOT NULL,
    data BLOB NOT NULL
  );
  CREATE TABLE outbox_queue (
    sink INTEGER NOT NULL,
    class TEXT NOT NULL,
    id INTEGER NOT NULL,
    PRIMARY KEY (sink, class, id)
  ) WITHOUT ROWID;
  `,
  // Blocks that could not be read, kept for a look at them.
  `
  CREATE TABLE corrupt_blocks (
    place TEXT NOT NULL,
    seq INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    arrival_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    min_us INTEGER NOT NULL,
    max_us INTEGER NOT NULL,
    codec TEXT NOT NULL,
    encoded_bytes INTEGER NOT NULL,
    stored_bytes INTEGER NOT NULL,
    data BLOB NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (place, seq)
  );
  `,
  // The wrapped keys once more, in another page: without them nothing that is sealed can be read.
  `
  CREATE TABLE seal_keys_spare (
    id INTEGER PRIMARY KEY,
    purpose TEXT NOT NULL,
    master TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    uses INTEGER NOT NULL
  );
  INSERT INTO seal_keys_spare SELECT id, purpose, master, wrapped, uses FROM seal_keys;
  `,
  // A block's late events may come in several sets: a query that is backfilled finds others than the live ones did.
  `
  ALTER TABLE late RENAME TO late_once;
  CREATE TABLE late (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source_seq INTEGER NOT NULL,
    reason TEXT NOT NULL,
    stream_id INTEGER NOT NULL REFERENCES streams(id),
    at_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    min_us INTEGER,
    max_us INTEGER,
    codec TEXT NOT NULL,
    encoded_bytes INTEGER NOT NULL,
    data BLOB NOT NULL,
    applied_us INTEGER,
    source_rows BLOB
  );
  INSERT INTO late (id, source_seq, reason, stream_id, at_us, count, min_us, max_us, codec, encoded_bytes, data, applied_us)
    SELECT id, source_seq, reason, stream_id, at_us, count, min_us, max_us, codec, encoded_bytes, data, applied_us
    FROM late_once ORDER BY id;
  DELETE FROM sqlite_sequence WHERE name = 'late';
  INSERT INTO sqlite_sequence (name, seq) SELECT 'late', seq FROM sqlite_sequence WHERE name = 'late_once';
  DROP TABLE late_once;
  CREATE INDEX late_by_stream ON late (stream_id, id);
  CREATE INDEX late_unapplied ON late (stream_id, id) WHERE applied_us IS NULL;
  CREATE INDEX late_by_source ON late (source_seq, reason);
  `,
  // Batches of other edges on their way to the hub, and documents beside the log.
  `
  CREATE TABLE relayed (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    edge TEXT NOT NULL,
    key TEXT NOT NULL,
    class TEXT NOT NULL,
    hops TEXT NOT NULL,
    rows INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    at_us INTEGER NOT NULL,
    reason TEXT,
    is_sealed INTEGER NOT NULL,
    body BLOB NOT NULL
  );
  CREATE INDEX relayed_by_class ON relayed (class, id) WHERE reason IS NULL;
  CREATE INDEX relayed_by_edge ON relayed (edge, reason, bytes, at_us);
  CREATE TABLE relayed_keys (
    edge TEXT NOT NULL,
    key TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    PRIMARY KEY (edge, key)
  ) WITHOUT ROWID;
  CREATE INDEX relayed_keys_by_age ON relayed_keys (at_us);
  CREATE TABLE relayed_edges (
    edge TEXT PRIMARY KEY,
    received INTEGER NOT NULL DEFAULT 0,
    received_rows INTEGER NOT NULL DEFAULT 0,
    forwarded INTEGER NOT NULL DEFAULT 0,
    forwarded_rows INTEGER NOT NULL DEFAULT 0,
    duplicates INTEGER NOT NULL DEFAULT 0
  ) WITHOUT ROWID;
  CREATE TABLE node_documents (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (kind, name)
  ) WITHOUT ROWID;
  `,
  // What sinks have of each hour of event time, to be held against what they say they have.
  `
  CREATE TABLE audit_sums (
    sink TEXT NOT NULL,
    stream TEXT NOT NULL,
    resolution_us INTEGER NOT NULL,
    hour_us INTEGER NOT NULL,
    count INTEGER NOT NULL,
    hash TEXT NOT NULL,
    PRIMARY KEY (sink, stream, resolution_us, hour_us)
  ) WITHOUT ROWID;
  `,
  // The entry of the log that a step of an alert came of; null: it is not known.
  `
  ALTER TABLE alerts ADD COLUMN seq INTEGER;
  `,
  // The greatest seq of each stream's blocks, in the row that a block's commit writes anyway.
  "ALTER TABLE streams ADD COLUMN last_seq INTEGER NOT NULL DEFAULT 0",
  // Attributes of devices, and the hybrid clock that they are stamped by.
  `
  CREATE TABLE device_attributes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    device TEXT NOT NULL,
    attribute TEXT NOT NULL,
    ms INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    is_removed INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (device, attribute)
  );
  CREATE INDEX device_attributes_by_time ON device_attributes (ms, counter);
  CREATE TABLE attribute_clock (ms INTEGER NOT NULL, counter INTEGER NOT NULL, has_heard INTEGER NOT NULL);
  INSERT INTO attribute_clock VALUES (0, 0, 0);
  `,
  // How far what was stored before a sink was there has come on its way to it.
  `
  CREATE TABLE sync_backfills (
    sink INTEGER NOT NULL,
    class TEXT NOT NULL,
    query TEXT NOT NULL,
    start_us INTEGER NOT NULL,
    rest TEXT NOT NULL,
    PRIMARY KEY (sink, class, query)
  ) WITHOUT ROWID;
  `,
  // Places of the log up to which windows were made anew without a checkpoint: their results may have other revisions.
  `
  CREATE TABLE rebuilds (seq INTEGER PRIMARY KEY);
  `,
  // What a block's events come to by hours, so that it need not be read again for an audit's books; null: it must be.
  "ALTER TABLE blocks ADD COLUMN sums BLOB",
  // What sync has made of blocks, in rows that lie close together: a block's own row has a page to itself, which was written
  // twice for two words. Before its first claim a block has none; what an earlier release has written stands in `blocks.state`.
  `
  CREATE TABLE block_states (
    seq INTEGER PRIMARY KEY,
    state TEXT NOT NULL
  );
  CREATE TRIGGER blocks_forget_state AFTER DELETE ON blocks
  BEGIN
    DELETE FROM block_states WHERE seq = old.seq;
  END;
  `,
  // The version of the function that an hour's hash was made by, or begun by.
  "ALTER TABLE audit_sums ADD COLUMN version INTEGER NOT NULL DEFAULT 1",
  // What all sinks have, which goes first: while one of several is away, nearly all states are of what it has not got.
  "CREATE INDEX block_states_synced ON block_states (seq) WHERE state = 'synced'",
];
