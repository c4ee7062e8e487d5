const EDGE =
  'id, hlc_ms::float8 AS ms, hlc_counter::float8 AS counter, current_incarnation AS "currentIncarnation",' +
  ' current_since_us::float8 AS "currentSinceUs", has_returned AS "hasReturned"';
const INCARNATION =
  'id, start_number::float8 AS "startNumber", start_id AS "startId", current_id AS "currentId",' +
  ' current_since_us::float8 AS "currentSinceUs", copies + conflicts > 0 AS "isForked", notice, notice_start AS "noticeStart"';

/**
 * What is written of a batch. `$n::text::json` is a JSON array of rows: one statement for all of them. Times go in as µs.
 */
export const WRITES = {
  /** An edge's batches one after the other, whichever hub has them: `$1` are numbers that stand for edges, in order. */
  lockEdges:
    "SELECT pg_advisory_xact_lock(1297239362, text::int) FROM json_array_elements_text($1::text::json) AS text",
  /** A server may be set to lose the last moments: what is answered must not be among them. */
  makeDurable:
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'",
  seeEdge: `UPDATE edges SET last_seen = at_us($2) WHERE name = $1 RETURNING ${EDGE}`,
  addEdge: `INSERT INTO edges (name, first_seen, last_seen) VALUES ($1, at_us($2), at_us($2)) RETURNING ${EDGE}`,
  seeIncarnation:
    "UPDATE incarnations SET last_seen = at_us($3) WHERE edge_id = $1 AND name = $2" +
    ` RETURNING ${INCARNATION}`,
  addIncarnation:
    "INSERT INTO incarnations (edge_id, name, first_seen, last_seen, start_number, start_id)" +
    " VALUES ($1, $2, at_us($3), at_us($3), $4, $5)" +
    ` RETURNING ${INCARNATION}`,
  addStart: "INSERT INTO starts (incarnation_id, number, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
  isNumberTaken: "SELECT 1 AS taken FROM starts WHERE incarnation_id = $1 AND number = $2 AND id <> $3",
  setStart: "UPDATE incarnations SET start_number = $2, start_id = $3 WHERE id = $1",
  setCurrentStart: "UPDATE incarnations SET current_id = $2, current_since_us = $3 WHERE id = $1",
  setCurrent:
    "UPDATE edges SET current_incarnation = $2, current_since_us = $3, has_returned = $4::text::boolean WHERE id = $1",
  notice: "UPDATE incarnations SET notice = $2, notice_start = $3 WHERE id = $1",
  countCase:
    "INSERT INTO identity_cases AS c (edge_id, incarnation_id, kind, times, first_at, last_at)" +
    " VALUES ($1, $2, $3, 1, at_us($4), at_us($4)) ON CONFLICT (edge_id, incarnation_id, kind) DO UPDATE" +
    " SET times = c.times + 1, last_at = excluded.last_at",
  noticeCopy: "UPDATE incarnations SET copies = copies + 1 WHERE id = $1",
  findStreams: "SELECT id, name FROM streams WHERE name IN (SELECT json_array_elements_text($1::text::json))",
  addStreams:
    "INSERT INTO streams (name) SELECT name FROM json_array_elements_text($1::text::json) WITH ORDINALITY AS n (name, at)" +
    " ORDER BY at ON CONFLICT DO NOTHING",
  setForms:
    "INSERT INTO edge_streams (edge_id, stream_id, time_field, key_fields)" +
    ' SELECT $1, "streamId", "timeField", "keyFields" FROM json_to_recordset($2::text::json)' +
    ' AS f ("streamId" int, "timeField" text, "keyFields" json) ON CONFLICT (edge_id, stream_id) DO UPDATE' +
    " SET time_field = excluded.time_field, key_fields = excluded.key_fields" +
    " WHERE edge_streams.time_field <> excluded.time_field OR edge_streams.key_fields::text <> excluded.key_fields::text",
  setTotals:
    "INSERT INTO totals AS t (incarnation_id, stream_id, accepted, dead_lettered, late, clock_skewed)" +
    ' SELECT $1, "streamId", accepted, "deadLettered", late, "clockSkewed" FROM json_to_recordset($2::text::json)' +
    ' AS n ("streamId" int, accepted bigint, "deadLettered" bigint, late bigint, "clockSkewed" bigint)' +
    " ON CONFLICT (incarnation_id, stream_id) DO UPDATE SET accepted = greatest(t.accepted, excluded.accepted)," +
    " dead_lettered = greatest(t.dead_lettered, excluded.dead_lettered), late = greatest(t.late, excluded.late)," +
    " clock_skewed = greatest(t.clock_skewed, excluded.clock_skewed)",
  setStartTotals:
    "INSERT INTO start_totals AS t (incarnation_id, start_id, stream_id, accepted_base, dead_lettered_base, late_base," +
    " clock_skewed_base, accepted, dead_lettered, late, clock_skewed)" +
    ' SELECT $1, $2, "streamId", (base->>0)::bigint, (base->>1)::bigint, (base->>2)::bigint, (base->>3)::bigint, accepted,' +
    ' "deadLettered", late, "clockSkewed" FROM json_to_recordset($3::text::json)' +
    ' AS n ("streamId" int, accepted bigint, "deadLettered" bigint, late bigint, "clockSkewed" bigint, base json)' +
    " WHERE base IS NOT NULL" +
    " ON CONFLICT (incarnation_id, stream_id, start_id) DO UPDATE SET accepted = greatest(t.accepted, excluded.accepted)," +
    " dead_lettered = greatest(t.dead_lettered, excluded.dead_lettered), late = greatest(t.late, excluded.late)," +
    " clock_skewed = greatest(t.clock_skewed, excluded.clock_skewed) WHERE excluded.accepted > t.accepted" +
    " OR excluded.dead_lettered > t.dead_lettered OR excluded.late > t.late OR excluded.clock_skewed > t.clock_skewed" +
    ' RETURNING stream_id AS "streamId"',
  ofStarts:
    'SELECT stream_id AS "streamId", accepted_base::float8 AS "acceptedBase", accepted::float8 AS "accepted",' +
    ' dead_lettered_base::float8 AS "deadLetteredBase", dead_lettered::float8 AS "deadLettered",' +
    ' late_base::float8 AS "lateBase", late::float8 AS "late", clock_skewed_base::float8 AS "clockSkewedBase", clock_skewed::float8 AS "clockSkewed"' +
    " FROM start_totals WHERE incarnation_id = $1 AND ($2::text::json IS NULL OR stream_id IN" +
    " (SELECT text::int FROM json_array_elements_text($2::text::json) AS text))",
  addBatch: "INSERT INTO batches (edge_id, key, at) VALUES ($1, $2, at_us($3)) ON CONFLICT DO NOTHING",
  countBatch: "UPDATE edges SET batches = batches + 1, wire_bytes = wire_bytes + $2 WHERE id = $1",
  countDuplicate: "UPDATE edges SET duplicates = duplicates + 1 WHERE id = $1",
  addBlocks:
    "INSERT INTO blocks (edge_id, incarnation_id, received_at, stream_id, seq, digest, arrived_at, count, bytes, resolution_us," +
    " is_booked)" +
    ' SELECT $1, $2, at_us($3), "streamId", seq, digest, at_us("arrivalUs"), count, bytes, "resolutionUs", true' +
    ' FROM json_to_recordset($4::text::json) AS b ("streamId" int, seq bigint, digest text, "arrivalUs" bigint, count int,' +
    ' bytes int, "resolutionUs" bigint) ON CONFLICT DO NOTHING RETURNING id::float8 AS id, seq::float8 AS seq, digest',
  noticeConflicts:
    "UPDATE incarnations SET conflicts = conflicts + n.found FROM (SELECT count(*) AS found FROM blocks b WHERE b.incarnation_id = $1" +
    " AND b.id >= $2 AND EXISTS (SELECT 1 FROM blocks o WHERE o.incarnation_id = $1 AND o.seq = b.seq AND o.id < b.id)) n" +
    " WHERE incarnations.id = $1 AND n.found > 0",
  countEvents:
    "INSERT INTO edge_streams AS s (edge_id, stream_id, events, stored_bytes)" +
    ' SELECT $1, "streamId", events, bytes FROM json_to_recordset($2::text::json) AS n ("streamId" int, events bigint, bytes bigint)' +
    " ON CONFLICT (edge_id, stream_id) DO UPDATE SET events = s.events + excluded.events," +
    " stored_bytes = s.stored_bytes + excluded.stored_bytes",
  /** Results come the newest first: what is older than what is there, or than what cleared it, is passed over. */
  setResults:
    "INSERT INTO results AS r (edge_id, incarnation_id, version, query, window_start, window_end, key, revision, kind, key_texts," +
    ' "values", retracted) SELECT $1, $2, $3::bigint, query, at_us("startUs"), at_us("endUs"), key, revision, kind,' +
    ' ARRAY(SELECT json_array_elements_text("keyTexts")), "values"::json, retracted' +
    ' FROM json_to_recordset($4::text::json) AS n (query text, "startUs" bigint, "endUs" bigint, key text, revision bigint,' +
    ' kind text, "keyTexts" json, "values" text, retracted boolean)' +
    " WHERE NOT EXISTS (SELECT 1 FROM cleared c WHERE c.edge_id = $1 AND c.incarnation_id = $2 AND c.query = n.query" +
    ' AND c.version > $3::bigint AND c.from_time <= at_us(n."startUs"))' +
    " ON CONFLICT (query, window_start, key, window_end, edge_id, revision) DO UPDATE SET kind = excluded.kind," +
    ' "values" = excluded."values", retracted = excluded.retracted, incarnation_id = excluded.incarnation_id,' +
    " version = excluded.version WHERE excluded.incarnation_id <> r.incarnation_id OR excluded.version >= r.version",
  setSpan:
    "INSERT INTO query_spans AS s (query, longest_us) VALUES ($1, $2) ON CONFLICT (query) DO UPDATE" +
    " SET longest_us = greatest(s.longest_us, excluded.longest_us)",
  clear:
    "INSERT INTO cleared AS c (edge_id, query, incarnation_id, from_time, version) VALUES ($1, $2, $3, at_us($4), $5)" +
    " ON CONFLICT (edge_id, query, incarnation_id, from_time) DO UPDATE SET version = greatest(c.version, excluded.version)",
  dropCleared:
    "DELETE FROM results WHERE edge_id = $1 AND query = $2 AND (incarnation_id <> $3 OR version < $5)" +
    " AND window_start >= at_us($4)",
  addAlerts:
    "INSERT INTO alerts (edge_id, alert, since, key, id, revision, definition, severity, state, at, key_texts, value, retracted)" +
    ' SELECT $1, alert, at_us("sinceUs"), key, id, revision, definition, severity, state, at_us("atUs"),' +
    ' ARRAY(SELECT json_array_elements_text("keyTexts")), value::json, "isRetracted"' +
    ' FROM json_to_recordset($2::text::json) AS n (alert text, "sinceUs" bigint, key text, id text, revision bigint,' +
    ' definition text, severity text, state text, "atUs" bigint, "keyTexts" json, value text, "isRetracted" boolean)' +
    " ON CONFLICT DO NOTHING",
  markLatest:
    "UPDATE alerts a SET is_latest = (a.revision = l.latest) FROM" +
    " (SELECT n.alert, n.since, n.key, n.id, max(o.revision) AS latest FROM" +
    ' (SELECT DISTINCT alert COLLATE "C" AS alert, at_us("sinceUs") AS since, key COLLATE "C" AS key, id COLLATE "C" AS id' +
    ' FROM json_to_recordset($2::text::json) AS j (alert text, "sinceUs" bigint, key text, id text)) n' +
    " JOIN alerts o ON o.edge_id = $1 AND o.alert = n.alert AND o.since = n.since AND o.key = n.key AND o.id = n.id" +
    " GROUP BY n.alert, n.since, n.key, n.id) l" +
    " WHERE a.edge_id = $1 AND a.alert = l.alert AND a.since = l.since AND a.key = l.key AND a.id = l.id" +
    " AND a.is_latest <> (a.revision = l.latest)",
  addLosses:
    "INSERT INTO losses (edge_id, incarnation_id, loss_id, stream, from_time, to_time, count, bytes, reason, at, kind, subject)" +
    ' SELECT $1, $2, $3::bigint, stream, at_us("fromUs"), at_us("toUs"), count, bytes, reason, at_us("atUs"), kind, subject' +
    ' FROM json_to_recordset($4::text::json) AS n (stream text, "fromUs" bigint, "toUs" bigint, count bigint, bytes bigint,' +
    ' reason text, "atUs" bigint, kind text, subject text) ON CONFLICT DO NOTHING',
  /** Which of them are held, and how many there are of the edge. */
  knownAttributes:
    "SELECT device, attribute FROM attributes WHERE edge_id = $1 AND (device, attribute) IN" +
    " (SELECT device, attribute FROM json_to_recordset($2::text::json) AS n (device text, attribute text))",
  countAttributes: "SELECT attributes::float8 AS count FROM edges WHERE id = $1",
  /** The greater of a total order stays, as `compareRegisters` has it. One row of each name. */
  mergeAttributes:
    "INSERT INTO attributes AS a (edge_id, device, attribute, value, ms, counter, incarnation)" +
    " SELECT $1, device, attribute, value, ms, counter, $2 FROM json_to_recordset($3::text::json)" +
    " AS n (device text, attribute text, value text, ms bigint, counter bigint)" +
    " ON CONFLICT (edge_id, device, attribute) DO UPDATE SET value = excluded.value, ms = excluded.ms," +
    " counter = excluded.counter, incarnation = excluded.incarnation" +
    " WHERE (excluded.ms, excluded.counter, excluded.incarnation, coalesce(excluded.value, ''))" +
    " > (a.ms, a.counter, a.incarnation, coalesce(a.value, ''))",
  clockAttributes:
    "UPDATE edges SET attributes = attributes + $2, hlc_ms = $3, hlc_counter = $4 WHERE id = $1",
  refuseAttributes:
    "UPDATE edges SET attributes_refused = attributes_refused + $2, refused_at = at_us($3), refused_why = $4 WHERE id = $1",
  park:
    "INSERT INTO parked (source, edge, key, code, detail, at, body)" +
    " VALUES ($1, $2, $3, $4, $5, at_us($6), decode($7, 'base64')) ON CONFLICT DO NOTHING",
  forgetBatches: "DELETE FROM batches WHERE at < at_us($1)",
} as const;
