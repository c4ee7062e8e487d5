import assert from "node:assert/strict";
import { test } from "node:test";
import { MachineLoad } from "../../workers/sync/machine-load.ts";

test("a machine is busy by its last minute, or by what the process has used since the last question", () => {
  const now = { atUs: 0, usedUs: 0, load: 0, cores: 4 };
  const machine = new MachineLoad(() => ({ ...now }));
  /** What the process uses in a second, of one core, and the machine's load. */
  const after = (used: number, load: number): boolean => {
    now.atUs += 1_000_000;
    now.usedUs += used * 1_000_000;
    now.load = load;
    return machine.isBusy();
  };
  assert.equal(after(0.1, 0.2), false);
  assert.equal(after(1.3, 0.2), true, "ingest has begun, and the last minute does not know it yet");
  assert.equal(after(1.1, 0.2), false);
  assert.equal(after(0.1, 2.9), true, "others use it");
  assert.equal(after(0.1, 2.7), false);
  assert.equal(machine.isBusy(), false, "asked twice in a moment");
});
