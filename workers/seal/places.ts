import type { AlertRow, ResultRow } from "../messages.ts";
import type { Stored } from "./seal.ts";

/**
 * The places that values are bound to: what the row says in the plain is part of them, so that a row which is changed,
 * or takes the value of another, does not open.
 */

export function blockPlace(streamId: number, seq: number): string {
  return `blocks/${streamId}/${seq}`;
}

export function blockSumsPlace(seq: number): string {
  return `blocks/${seq}/sums`;
}

export function latePlace(streamId: number, sourceSeq: number, reason: string): string {
  return `late/${streamId}/${sourceSeq}/${reason}`;
}

/** Of a damaged block that was not sealed when it was set aside; `id` as the row of `corrupt_blocks` has it. */
export function corruptPlace(place: string, id: number): string {
  return `corrupt_blocks/${place}/${id}`;
}

/** `key` as the column has it. Names of queries have no slash. */
export function resultPlace(
  row: Pick<ResultRow, "query" | "startUs" | "endUs" | "revision" | "kind">,
  key: Stored,
  isRetracted: boolean,
): string {
  const { query, startUs, endUs, revision, kind } = row;
  return `results/${query}/${startUs}/${endUs}/${revision}/${kind}/${Number(isRetracted)}/${digits(key)}`;
}

/** `id` as the column has it: it stands for the alert's definition, key and beginning. */
export function alertPlace(
  row: Pick<AlertRow, "alert" | "sinceUs" | "atUs" | "revision" | "severity" | "state" | "isRetracted">,
  id: Stored,
): string {
  const { alert, sinceUs, atUs, revision, severity, state, isRetracted } = row;
  return `alerts/${alert}/${sinceUs}/${atUs}/${revision}/${severity}/${state}/${Number(isRetracted)}/${digits(id)}`;
}

export function deadLetterPlace(streamId: number, atUs: number, line: number, code: string): string {
  return `dead_letters/${streamId}/${atUs}/${line}/${code}`;
}

/** Both as the columns have them. */
export function webhookPlace(alert: string, url: Stored, idempotencyKey: Stored): string {
  return `webhooks/${alert}/${digits(url)}/${digits(idempotencyKey)}`;
}

export function checkpointPlace(seq: number): string {
  return `checkpoints/${seq}`;
}

export function piecePlace({ segment, number }: { segment: number; number: number }): string {
  return `checkpoint_pieces/${segment}/${number}`;
}

export function tablePlace(digest: string): string {
  return `reference_tables/${digest}`;
}

export function outboxPlace(kind: "results" | "alerts", id: number): string {
  return `outbox/${kind}/${id}`;
}

export function relayPlace({ id, edge, key }: { id: number; edge: string; key: string }): string {
  return `relayed/${id}/${edge}/${key}`;
}

export function documentPlace(kind: string, name: string): string {
  return `node_documents/${kind}/${name}`;
}

/** Of one node no two have one time. */
export function attributePlace({ ms, counter }: { ms: number; counter: number }): string {
  return `device_attributes/${ms}/${counter}`;
}

export function keyFieldsPlace(seq: number): string {
  return `block_keys/${seq}/fields`;
}

export function keyFilterPlace(seq: number): string {
  return `block_keys/${seq}/filter`;
}

export function configPlace(seq: number): string {
  return `configs/${seq}`;
}

export function schemaPlace(streamId: number, version: number): string {
  return `schemas/${streamId}/${version}`;
}

export function timeSourcesPlace(streamId: number): string {
  return `streams/${streamId}/time_sources`;
}

function digits(value: Stored): string {
  return typeof value === "string" ? value : Buffer.from(value).toString("hex");
}
