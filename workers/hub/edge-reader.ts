import type { Connection } from "../store/database.ts";
import type { EdgeDetail, EdgeSummary } from "./tasks.ts";

const SUMMARY =
  "SELECT e.name AS edge, first_seen_us AS firstSeenUs, last_seen_us AS lastSeenUs, batches, duplicates," +
  " wire_bytes AS wireBytes," +
  " (SELECT coalesce(sum(events), 0) FROM edge_streams s WHERE s.edge_id = e.id) AS events," +
  " (SELECT coalesce(sum(accepted), 0) FROM totals t JOIN incarnations i ON i.id = t.incarnation_id" +
  " WHERE i.edge_id = e.id) AS accepted," +
  " (SELECT count(*) FROM alerts a WHERE a.edge_id = e.id AND is_latest = 1 AND state <> 'resolved'" +
  " AND retracted = 0) AS openAlerts," +
  " (SELECT sum(copies) FROM incarnations i WHERE i.edge_id = e.id) AS copies," +
  " (SELECT sum(conflicts) FROM incarnations i WHERE i.edge_id = e.id) AS conflicts," +
  " (SELECT kind FROM identity_cases c WHERE c.edge_id = e.id ORDER BY last_us DESC LIMIT 1) AS identity, attributes" +
  " FROM edges e";

export function listEdges(db: Connection): EdgeSummary[] {
  return db.prepare(`${SUMMARY} ORDER BY e.name`).all() as EdgeSummary[];
}

export function describeEdge(db: Connection, name: string): EdgeDetail | null {
  const summary = db.prepare(`${SUMMARY} WHERE e.name = ?`).get(name) as EdgeSummary | undefined;
  if (summary === undefined) return null;
  const incarnations = db
    .prepare(
      "SELECT i.name AS id, start_number AS starts, i.first_seen_us AS firstSeenUs, i.last_seen_us AS lastSeenUs, copies," +
        " conflicts FROM incarnations i JOIN edges e ON e.id = i.edge_id WHERE e.name = ? ORDER BY i.id",
    )
    .all(name) as EdgeDetail["incarnations"];
  const streams = db
    .prepare(
      "SELECT s.name AS stream, coalesce(o.events, 0) AS events, coalesce(o.stored_bytes, 0) AS storedBytes," +
        " coalesce(t.accepted, 0) AS accepted, coalesce(t.dead_lettered, 0) AS deadLettered, coalesce(t.late, 0) AS late," +
        " coalesce(t.clock_skewed, 0) AS clockSkewed," +
        " (SELECT coalesce(sum(count), 0) FROM losses l WHERE l.edge_id = e.id AND l.stream = s.name) AS lost" +
        " FROM edges e JOIN streams s LEFT JOIN edge_streams o ON o.edge_id = e.id AND o.stream_id = s.id" +
        " LEFT JOIN (SELECT edge_id, stream_id, sum(accepted) AS accepted, sum(dead_lettered) AS dead_lettered," +
        " sum(late) AS late, sum(clock_skewed) AS clock_skewed FROM totals JOIN incarnations i ON i.id = incarnation_id" +
        " GROUP BY edge_id, stream_id) t ON t.edge_id = e.id AND t.stream_id = s.id" +
        " WHERE e.name = ? AND (o.edge_id IS NOT NULL OR t.edge_id IS NOT NULL) ORDER BY s.name",
    )
    .all(name) as EdgeDetail["streams"];
  const identityCases = db
    .prepare(
      "SELECT kind AS 'case', i.name AS incarnation, times, first_us AS firstUs, last_us AS lastUs FROM identity_cases c" +
        " JOIN incarnations i ON i.id = c.incarnation_id JOIN edges e ON e.id = c.edge_id WHERE e.name = ?" +
        " ORDER BY last_us DESC, kind",
    )
    .all(name) as EdgeDetail["identityCases"];
  const refusedAttributes = db
    .prepare(
      "SELECT attributes_refused AS count, refused_us AS lastUs, refused_why AS reason FROM edges WHERE name = ?",
    )
    .get(name) as EdgeDetail["refusedAttributes"];
  return { ...summary, incarnations, streams, identityCases, refusedAttributes };
}
