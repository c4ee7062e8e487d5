import type { EdgeDetail, EdgeSummary } from "../tasks.ts";
import { cleanText } from "./clean-text.ts";
import type { Session } from "./connection.ts";

const SUMMARY =
  'SELECT e.name AS edge, us_of(first_seen)::float8 AS "firstSeenUs", us_of(last_seen)::float8 AS "lastSeenUs",' +
  ' batches::float8 AS batches, duplicates::float8 AS duplicates, wire_bytes::float8 AS "wireBytes",' +
  " (SELECT coalesce(sum(events), 0) FROM edge_streams s WHERE s.edge_id = e.id)::float8 AS events," +
  " (SELECT coalesce(sum(accepted), 0) FROM totals t JOIN incarnations i ON i.id = t.incarnation_id" +
  " WHERE i.edge_id = e.id)::float8 AS accepted," +
  " (SELECT count(*) FROM alerts a WHERE a.edge_id = e.id AND is_latest AND state <> 'resolved'" +
  ' AND NOT retracted)::float8 AS "openAlerts",' +
  " (SELECT sum(copies) FROM incarnations i WHERE i.edge_id = e.id)::float8 AS copies," +
  " (SELECT sum(conflicts) FROM incarnations i WHERE i.edge_id = e.id)::float8 AS conflicts," +
  " (SELECT kind FROM identity_cases c WHERE c.edge_id = e.id ORDER BY last_at DESC LIMIT 1) AS identity," +
  " attributes::float8 AS attributes FROM edges e";

export function listEdges(session: Session): Promise<EdgeSummary[]> {
  return session.rows(`${SUMMARY} ORDER BY e.name`);
}

export async function describeEdge(session: Session, edge: string): Promise<EdgeDetail | null> {
  const name = cleanText(edge);
  const [summary] = await session.rows<EdgeSummary>(`${SUMMARY} WHERE e.name = $1`, [name]);
  if (summary === undefined) return null;
  const incarnations = await session.rows<EdgeDetail["incarnations"][number]>(
    'SELECT i.name AS id, start_number::float8 AS starts, us_of(i.first_seen)::float8 AS "firstSeenUs",' +
      ' us_of(i.last_seen)::float8 AS "lastSeenUs", copies::float8 AS copies, conflicts::float8 AS conflicts' +
      " FROM incarnations i JOIN edges e ON e.id = i.edge_id WHERE e.name = $1 ORDER BY i.id",
    [name],
  );
  const streams = await session.rows<EdgeDetail["streams"][number]>(
    'SELECT s.name AS stream, coalesce(o.events, 0)::float8 AS events, coalesce(o.stored_bytes, 0)::float8 AS "storedBytes",' +
      ' coalesce(t.accepted, 0)::float8 AS accepted, coalesce(t.dead_lettered, 0)::float8 AS "deadLettered",' +
      ' coalesce(t.late, 0)::float8 AS late, coalesce(t.clock_skewed, 0)::float8 AS "clockSkewed",' +
      " (SELECT coalesce(sum(count), 0) FROM losses l WHERE l.edge_id = e.id AND l.stream = s.name)::float8 AS lost" +
      " FROM edges e CROSS JOIN streams s LEFT JOIN edge_streams o ON o.edge_id = e.id AND o.stream_id = s.id" +
      " LEFT JOIN (SELECT edge_id, stream_id, sum(accepted) AS accepted, sum(dead_lettered) AS dead_lettered," +
      " sum(late) AS late, sum(clock_skewed) AS clock_skewed FROM totals JOIN incarnations i ON i.id = incarnation_id" +
      " GROUP BY edge_id, stream_id) t ON t.edge_id = e.id AND t.stream_id = s.id" +
      " WHERE e.name = $1 AND (o.edge_id IS NOT NULL OR t.edge_id IS NOT NULL) ORDER BY s.name",
    [name],
  );
  const identityCases = await session.rows<EdgeDetail["identityCases"][number]>(
    'SELECT kind AS "case", i.name AS incarnation, times::float8 AS times, us_of(first_at)::float8 AS "firstUs",' +
      ' us_of(last_at)::float8 AS "lastUs" FROM identity_cases c JOIN incarnations i ON i.id = c.incarnation_id' +
      " JOIN edges e ON e.id = c.edge_id WHERE e.name = $1 ORDER BY last_at DESC, kind",
    [name],
  );
  const [refusedAttributes] = await session.rows<EdgeDetail["refusedAttributes"]>(
    'SELECT attributes_refused::float8 AS count, us_of(refused_at)::float8 AS "lastUs", refused_why AS reason' +
      " FROM edges WHERE name = $1",
    [name],
  );
  const refused = refusedAttributes ?? { count: 0, lastUs: null, reason: null };
  return { ...summary, incarnations, streams, identityCases, refusedAttributes: refused };
}
