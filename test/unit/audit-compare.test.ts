import assert from "node:assert/strict";
import { test } from "node:test";
import type { AuditSum } from "../../host/api/audit-rows.ts";
import { compareAudits } from "../../host/cli/audit-compare.ts";

const HASHES = { a: "a".repeat(32), b: "b".repeat(32) } as const;

function row(count: number, hash: string | null, hashVersion?: number): AuditSum {
  const place = {
    edge: "e",
    incarnation: "i",
    stream: "s",
    kind: "events",
    hour: "2026-01-01T00:00:00.000Z",
  };
  const sum = { ...place, kind: "events", count, hash } as const;
  return hashVersion === undefined ? sum : { ...sum, hashVersion };
}

function compared(edge: AuditSum, hub: AuditSum) {
  const { findings, counted } = compareAudits([edge], [hub], [edge]);
  return { verdicts: findings.map(({ verdict }) => verdict), counted };
}

test("hashes of one version are held against each other, those that tell none among themselves", () => {
  for (const version of [undefined, 2]) {
    assert.deepEqual(compared(row(3, HASHES.a, version), row(3, HASHES.a, version)), {
      verdicts: [],
      counted: [],
    });
    assert.deepEqual(compared(row(3, HASHES.a, version), row(3, HASHES.b, version)), {
      verdicts: ["altered"],
      counted: [],
    });
  }
  assert.deepEqual(compared(row(3, HASHES.a), row(3, HASHES.b, 1)).verdicts, ["altered"]);
});

test("hashes of different versions are not compared, and that is told; counts are", () => {
  const counted = [{ reason: "the hashes are of different versions", hours: 1, events: 3 }];
  assert.deepEqual(compared(row(3, HASHES.a), row(3, HASHES.b, 2)), { verdicts: [], counted });
  assert.deepEqual(compared(row(3, HASHES.a, 2), row(3, HASHES.b)), { verdicts: [], counted });
  assert.deepEqual(compared(row(3, HASHES.a, 2), row(2, HASHES.b)), {
    verdicts: ["missing at the hub"],
    counted: [],
  });
  assert.deepEqual(compared(row(3, HASHES.a, 2), row(4, HASHES.b)), {
    verdicts: ["unknown to the edge"],
    counted: [],
  });
});

test("a hash that one side does not know leaves the counts, and that is told", () => {
  const counted = [{ reason: "the hash is not known", hours: 1, events: 3 }];
  assert.deepEqual(compared(row(3, null, 2), row(3, HASHES.b, 2)), { verdicts: [], counted });
  assert.deepEqual(compared(row(3, HASHES.a, 2), row(3, null, 2)), { verdicts: [], counted });
  assert.deepEqual(compared(row(3, null, 2), row(2, HASHES.b, 2)).verdicts, ["missing at the hub"]);
});
