/** Conditions that reads of results share. */

/** One of the key's values as text, as a person writes it in a URL. */
export const KEY_VALUE_TEXT = "CASE WHEN type IN ('true', 'false') THEN type ELSE CAST(value AS TEXT) END";

/** A window that ends after a time starts no earlier than this; without it the read would start at the oldest row. */
export const STARTS_NEAR =
  "start_us >= @from - coalesce((SELECT longest_us FROM query_spans WHERE query = @query), 0)";

export const IS_LATEST =
  "revision = (SELECT max(revision) FROM results n WHERE n.query = r.query AND n.start_us = r.start_us" +
  " AND n.key = r.key AND n.end_us = r.end_us)";
