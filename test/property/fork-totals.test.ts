import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type CountSpan, totalOf } from "../../workers/hub/fork-totals.ts";

const RUNS = Number(process.env.MILLRACE_RUNS ?? 500);

/** A node on a data directory: where it stood when it began, where it stands, and what it last told. */
interface Life {
  readonly base: number;
  count: number;
  told: number | null;
}

const step = fc.record({
  kind: fc.constantFrom("take", "take", "tell", "restart", "copy", "restore"),
  pick: fc.nat(),
  n: fc.integer({ min: 1, max: 9 }),
});

test("counts of copies and of backups put back add up, whoever is heard of when, and never to too much", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const lives: Life[] = [{ base: 0, count: 0, told: null }];
      const running = [lives[0]!];
      const backups = [0];
      let taken = 0;
      let before = 0;
      const begin = (count: number): Life => {
        const life = { base: count, count, told: null };
        lives.push(life);
        return life;
      };
      const totalTold = (): number =>
        totalOf(
          lives.flatMap(({ base, told }): CountSpan[] => (told === null ? [] : [{ base, last: told }])),
        );
      for (const { kind, pick, n } of steps) {
        const at = pick % running.length;
        const life = running[at]!;
        if (kind === "take") {
          life.count += n;
          taken += n;
        } else if (kind === "tell") life.told = life.count;
        else if (kind === "restart") running[at] = begin(life.count);
        else if (kind === "copy") {
          backups.push(life.count);
          running.push(begin(life.count));
        } else running[at] = begin(backups[pick % backups.length]!);
        const total = totalTold();
        assert.ok(total <= taken, `${total} of ${taken}`);
        assert.ok(total >= before, "it only grows");
        before = total;
      }
      for (const life of lives) life.told = life.count;
      assert.equal(totalTold(), taken);
    }),
    { numRuns: RUNS },
  );
});

test("what no start told of counts once", () => {
  assert.equal(totalOf([]), 0);
  assert.equal(totalOf([{ base: 30, last: 50 }]), 50);
  assert.equal(
    totalOf([
      { base: 30, last: 50 },
      { base: 60, last: 61 },
      { base: 30, last: 35 },
    ]),
    66,
  );
});
