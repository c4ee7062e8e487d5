import { createHash } from "node:crypto";
import type { AlertPlan, AlertRow } from "../messages.ts";
import type { Told } from "./key-history.ts";
import { TOLD_ID } from "./machine.ts";

/** Hex digits of an alert's id: 96 bits. */
const ID_DIGITS = 24;

/** A step as it is stored. Its id depends on the definition, the key and where it began: a replay gives the same. */
export function alertRow(plan: AlertPlan, key: string, told: Told): AlertRow {
  const { episode, revision, isRetracted, hasFired } = told;
  const { sinceUs, origin, state, atUs, value } = episode;
  return {
    alert: plan.name,
    severity: plan.severity,
    definition: plan.definition,
    key,
    state,
    sinceUs,
    atUs,
    value,
    id: origin.startsWith(TOLD_ID)
      ? origin.slice(TOLD_ID.length)
      : idOf([plan.definition, key, sinceUs, origin]),
    revision,
    isRetracted,
    isTold: hasFired,
  };
}

function idOf(named: readonly (string | number)[]): string {
  return createHash("sha256").update(JSON.stringify(named)).digest("hex").slice(0, ID_DIGITS);
}
