import { addHashes } from "../../workers/core/event-sums.ts";
import type { HubSum } from "../../workers/hub/audit.ts";
import { compareSums } from "../../workers/sync/audit-sums.ts";

/** Sums of the same edge, data directory, stream, kind and hour become one; in the order of these. */
export function addSums(a: readonly HubSum[], b: readonly HubSum[]): readonly HubSum[] {
  const sums = new Map<string, HubSum>();
  for (const sum of [...a, ...b]) {
    const known = sums.get(nameOf(sum));
    if (known === undefined) {
      sums.set(nameOf(sum), sum);
      continue;
    }
    const expired = (known.expired ?? 0) + (sum.expired ?? 0);
    sums.set(nameOf(sum), {
      ...sum,
      count: known.count + sum.count,
      hash: known.hash === null || sum.hash === null ? null : addHashes(known.hash, sum.hash),
      ...(expired > 0 ? { expired } : {}),
    });
  }
  return [...sums.values()].sort(compare);
}

function nameOf({ edge, incarnation, stream, resolutionUs, hourUs }: HubSum): string {
  return `${edge} ${incarnation} ${stream} ${resolutionUs} ${hourUs}`;
}

function compare(a: HubSum, b: HubSum): number {
  const [left, right] = [a, b].map(({ edge, incarnation }) => `${edge} ${incarnation}`);
  if (left !== right) return left! < right! ? -1 : 1;
  return compareSums(a, b);
}
